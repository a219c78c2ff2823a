// Opens the embedded ledger of a manager, or begins it: what is there is looked at first, by
// a process that may die of it, for a damaged database does not fail, it kills.

import { existsSync, mkdirSync, readFileSync, rmSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import type { LedgerId } from '../../protocol/index.ts'
import { replaceFile } from '../files.ts'
import type { Ledger } from '../ports.ts'
import { compacted } from './compact.ts'
import { createEmbeddedLedger, type EmbeddedOptions } from './embedded.ts'
import { DATA_FILE, inspect } from './inspect.ts'
import { openStore, SCHEMA, takeOver } from './store.ts'
import { DamagedRecordError } from './values.ts'

export interface OpenOptions extends Pick<EmbeddedOptions, 'hasRoom'> {
  /** The manager's own folder, which nobody else writes to. */
  readonly directory: string
  /** Of a ledger that begins. */
  readonly newId: () => LedgerId
  /** Told why a file that is mostly free was not written anew: no room, mostly. */
  readonly notCompacted?: (reason: string) => void
}

/** Says that there is a ledger: without it, a database that is gone would be an empty one. */
const ID_FILE = 'id'
/** Its last holder closed it in good order. */
const CLEAN_FILE = 'clean'

/** Network file systems: what is written there in one order may come in another. */
const NETWORK: Readonly<Record<number, string>> = {
  26985: 'NFS',
  20859: 'SMB',
  4283649346: 'CIFS',
  4266872130: 'SMB2',
}

/** Left: what is wrong with it, with the remedy. Throws what the system says of a disk. */
export const openEmbeddedLedger = async ({
  directory,
  newId,
  hasRoom,
  notCompacted = () => undefined,
}: OpenOptions): Promise<Either<string, Ledger>> => {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const network = NETWORK[statfsSync(directory).type]
  if (network !== undefined)
    return E.left(
      `${directory} is on ${network}, where a database is not safe; give a --state on a disk of this machine, or keep the tasks in memory: --ledger memory`,
    )
  const id = idIn(directory)
  const fault = id === undefined ? undefined : await faultOf(directory)
  if (fault !== undefined) return E.left(fault)
  const clean = join(directory, CLEAN_FILE)
  rmSync(clean, { force: true })
  const its = id ?? newId()
  if (id === undefined) clear(directory)
  let store = openStore(directory)
  const schema = Number(store.meta.get('schema') ?? SCHEMA)
  if (schema > SCHEMA) {
    await store.root.close()
    return E.left(
      `${directory} was written by a newer version (schema ${schema}, this one knows ${SCHEMA}); start that one`,
    )
  }
  store = await compacted(directory, store, notCompacted)
  try {
    const epoch = takeOver(store)
    // Last of all that makes a ledger: a start that is killed before begins again.
    if (id === undefined) replaceFile(join(directory, ID_FILE), `${its}\n`)
    return E.right(
      createEmbeddedLedger({
        ...{ store, id: its, epoch, directory },
        ...(hasRoom && { hasRoom }),
        onClosed: () => replaceFile(clean, ''),
      }),
    )
  } catch (error) {
    await store.root.close()
    if (error instanceof DamagedRecordError)
      return E.left(damaged(directory, error.message))
    throw error
  }
}

const idIn = (directory: string): LedgerId | undefined => {
  const path = join(directory, ID_FILE)
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined
}

/** What a start has left that was killed before there was a ledger. */
const clear = (directory: string): void => {
  for (const name of [DATA_FILE, 'lock.mdb'])
    rmSync(join(directory, name), { force: true })
}

const faultOf = async (directory: string): Promise<string | undefined> => {
  const isClean = existsSync(join(directory, CLEAN_FILE))
  const fault = await inspect(directory, isClean)
  return fault === undefined ? undefined : damaged(directory, fault)
}

const damaged = (directory: string, what: string): string =>
  `the ledger in ${directory} cannot be read: ${what}; put back a copy of that folder, or move it away to begin with an empty one: the tasks in it are lost then`
