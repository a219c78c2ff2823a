// Store: the LMDB environment of a ledger, its databases, and who may write to it.
//
// `overlappingSync: false`: a put's promise means that it is on disk, nothing is seen before
// it is, and a commit that fails leaves no trace; `eventTurnBatching: false`: no promise is
// made that nobody can catch. (Both were tried; the defaults promise less.)
//
// | database  | key                       | value                                         |
// | meta      | 'epoch', 'schema', 'id'   | number; number; text                          |
// | batches   | sequence of its first task | the submission: when, key, batch, tasks       |
// | states    | sequence of the task      | attempt, failures, losses, hand-outs, outcome; 0: forgotten |
// | labels    | batch                     | how many of its closed tasks are forgotten    |
//
// No state: the task waits for its first attempt, so that a submission of any size is one
// record. Sequences are given out in order of submission, so keys are appended.

import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { type Database, open, type RootDatabase } from 'lmdb'

export const SCHEMA = 1
const MAP_DATABASES = 8
const PAGE_BYTES = 4096

export interface Store {
  readonly root: RootDatabase
  readonly meta: Database<unknown, string>
  readonly batches: Database<Buffer, number>
  readonly states: Database<Buffer, number>
  readonly labels: Database<Buffer, string>
}

/** Opens the environment in a directory. What is damaged may end this process: guard.ts looks first. */
export const openStore = (directory: string, readOnly = false): Store => {
  const root = open({
    path: directory,
    maxDbs: MAP_DATABASES,
    pageSize: PAGE_BYTES,
    overlappingSync: false,
    eventTurnBatching: false,
    readOnly,
    noSubdir: false,
  })
  // The library makes them as the process's mask allows.
  if (!readOnly)
    for (const name of ['data.mdb', 'lock.mdb']) chmodSync(join(directory, name), 0o600)
  const numbered = (name: string): Database<Buffer, number> =>
    root.openDB({ name, keyEncoding: 'uint32', encoding: 'binary' })
  const named = (name: string): Database<Buffer, string> =>
    root.openDB({ name, encoding: 'binary' })
  return {
    root,
    meta: root.openDB({ name: 'meta', encoding: 'msgpack', useVersions: true }),
    batches: numbered('batches'),
    states: numbered('states'),
    labels: named('labels'),
  }
}

/** Takes a higher epoch than ever before: the commits of any earlier holder fail from now on. */
export const takeOver = ({ meta }: Store): number =>
  meta.transactionSync(() => {
    const epoch = Number(meta.get('epoch') ?? 0) + 1
    meta.putSync('epoch', epoch, epoch)
    meta.putSync('schema', SCHEMA)
    return epoch
  })
