// What commands do to the membership by themselves, where the authority's key is, in the
// audit log of commands.

import { userInfo } from 'node:os'
import { recordOnce } from '../audit/record-once.ts'
import { type Io, Sink } from './io.ts'

export type Recorded = Parameters<typeof recordOnce>[3]

/** Records it, and returns when it is on disk. Where it cannot be, that is said, and nothing fails. */
export const recordCommand = async (
  io: Io,
  stateDirectory: string,
  event: string,
  fields: Recorded,
): Promise<void> => {
  const its = { user: userInfo().username, ...fields }
  const failure = await recordOnce(stateDirectory, 'commands', event, its)
  if (failure === undefined) return
  await new Sink(io.stderr).line(`manyhands: not in the audit log: ${event} (${failure})`)
}
