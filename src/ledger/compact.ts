// Compacting: LMDB gives no page back to the disk. A file of which most is free is written
// anew at a start, beside the old one, and takes its place in one step when it is on disk.

import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { DATA_FILE } from './inspect.ts'
import { openStore, type Store } from './store.ts'

/** Less than this is not worth a start that takes longer. */
const WASTE_BYTES = 64 * 1024 * 1024

interface Pages {
  readonly pageSize: number
  readonly treeBranchPageCount: number
  readonly treeLeafPageCount: number
  readonly overflowPages: number
}

const pagesOf = (its: Pages): number =>
  its.treeBranchPageCount + its.treeLeafPageCount + its.overflowPages

/** Bytes of the file, and of them those that hold something. */
export const usageOf = ({ root, meta, batches, states, labels }: Store) => {
  const stats = root.getStats() as Pages & { readonly lastPageNumber: number }
  const held = [meta, batches, states, labels].map((db) => db.getStats() as Pages)
  // The two pages with which each file begins.
  const used = 2 + pagesOf(stats) + held.reduce((sum, its) => sum + pagesOf(its), 0)
  const { pageSize, lastPageNumber } = stats
  return { fileBytes: (lastPageNumber + 1) * pageSize, usedBytes: used * pageSize }
}

/** The store, its file written anew if most of it is free. Where that fails the old one serves on, and `failed` is told why. */
export const compacted = async (
  directory: string,
  store: Store,
  failed: (reason: string) => void,
  wasteBytes: number = WASTE_BYTES,
): Promise<Store> => {
  const place = join(directory, 'compact')
  // Of a start that was killed at it.
  rmSync(place, { recursive: true, force: true })
  const { fileBytes, usedBytes } = usageOf(store)
  const freeBytes = fileBytes - usedBytes
  if (freeBytes < wasteBytes || freeBytes < usedBytes) return store
  mkdirSync(place, { mode: 0o700 })
  try {
    await store.root.backup(place, true)
  } catch (error) {
    rmSync(place, { recursive: true, force: true })
    failed(error instanceof Error ? error.message : String(error))
    return store
  }
  await store.root.close()
  const fresh = join(place, DATA_FILE)
  sync(fresh)
  renameSync(fresh, join(directory, DATA_FILE))
  sync(directory)
  rmSync(place, { recursive: true })
  return openStore(directory)
}

const sync = (path: string): void => {
  const fd = openSync(path, 'r')
  fsyncSync(fd)
  closeSync(fd)
}
