// One line in a log that several programs write to, one after the other: the commands.

import { systemClock } from '../clock.ts'
import { codeOf, makePrivateDirectory } from '../identity/files.ts'
import { takeLock } from '../identity/lock.ts'
import type { AuditFields, Log } from '../ports.ts'
import { AuditFile } from './file.ts'
import { auditDirectory } from './logs.ts'

/** Another one has the log for some milliseconds. */
const WAIT_MS = 5_000
const PAUSE_MS = 20

/** Records it; resolves when it is on disk, or with the reason why it is not. */
export const recordOnce = async (
  stateDirectory: string,
  name: string,
  event: string,
  fields: AuditFields,
): Promise<string | undefined> => {
  try {
    const directory = auditDirectory(stateDirectory)
    makePrivateDirectory(directory)
    const lock = await lockOf(directory)
    if (lock === undefined) return 'another command keeps the log'
    try {
      return await record(directory, name, event, fields)
    } finally {
      lock.release()
    }
  } catch (error) {
    return codeOf(error)
  }
}

const record = async (
  directory: string,
  name: string,
  event: string,
  fields: AuditFields,
): Promise<string | undefined> => {
  let failure: string | undefined
  const log: Log = {
    info: () => undefined,
    warn: () => undefined,
    debug: () => undefined,
    error: (what, { reason = what } = {}) => {
      failure = String(reason)
    },
  }
  const audit = new AuditFile({ directory, name, clock: systemClock, log })
  audit.record(event, fields)
  await audit.close()
  return failure
}

const lockOf = async (directory: string) => {
  const untilMs = performance.now() + WAIT_MS
  for (;;) {
    const lock = await takeLock(directory)
    if ('release' in lock) return lock
    if (performance.now() > untilMs) return undefined
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
}
