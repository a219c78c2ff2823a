// cgroup: the kernel's own account of who descends from whom (cgroup v2, cgroups(7)). What
// is started in one stays in it, whatever it does to its group, session or environment,
// and one write to `cgroup.kill` (Linux 5.14) ends all of it. One for each launcher, which
// costs a start nothing: one for each program took a quarter more of processor time.

import {
  accessSync,
  constants,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs'
import { join, relative } from 'node:path'

/** The folder of this process's own cgroup, in which others can be made; or why not. */
export type CgroupPlace = { readonly place: string } | { readonly fault: string }

/** Looks, and tries it out with this very process. */
export const findCgroup = (): CgroupPlace => {
  const place = ownCgroup()
  if (place === undefined) return { fault: 'no cgroup v2 is mounted' }
  const trial = join(place, `manyhands-trial-${process.pid}`)
  try {
    accessSync(join(place, 'cgroup.procs'), constants.W_OK)
    mkdirSync(trial)
  } catch (error) {
    return { fault: `${place} is not ours to divide (${codeOf(error)})` }
  }
  try {
    accessSync(join(trial, 'cgroup.kill'), constants.W_OK)
    move(trial)
    move(place)
    return { place }
  } catch (error) {
    return { fault: `${place} cannot be divided (${codeOf(error)})` }
  } finally {
    removeSoon(trial)
  }
}

/** By the mount table and /proc/self/cgroup, whose line `0::` is version 2's. */
const ownCgroup = (): string | undefined => {
  try {
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
    const mount = mounts.find((line) => line.includes(' - cgroup2 '))?.split(' ')
    const own = /^0::(\/.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1]
    const [, , , root, point] = mount ?? []
    if (own === undefined || root === undefined || point === undefined) return undefined
    const below = relative(root, own)
    return below.startsWith('..') ? undefined : join(point, below)
  } catch {
    return undefined
  }
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : 'unknown'

/** Moves this process, with all its threads. */
const move = (cgroup: string): void => writeFileSync(join(cgroup, 'cgroup.procs'), '0')

const write = (cgroup: string, file: string, text: string): void => {
  try {
    writeFileSync(join(cgroup, file), text)
  } catch {
    // It has gone already.
  }
}

const isRemoved = (cgroup: string): boolean => {
  try {
    rmdirSync(cgroup)
    return true
  } catch (error) {
    return codeOf(error) === 'ENOENT'
  }
}

const RETRY_MS = 20
const MOST_RETRIES = 100

/** Those who were killed may still be on their way out. */
const removeSoon = (cgroup: string, retries = MOST_RETRIES): void => {
  if (isRemoved(cgroup) || retries === 0) return
  setTimeout(removeSoon, RETRY_MS, cgroup, retries - 1).unref()
}

const PREFIX = 'manyhands-run-'

/** For who ends, and for who begins: they are gone then, and no folder is left. */
const MOST_WAIT_MS = 500
const WAIT_MS = 5

/**
 * Kills all in the cgroups that were made under names that are ours, and waits a moment for
 * their end. Answers how many processes there were.
 */
export const killCgroups = (place: string, isOurs: (name: string) => boolean): number => {
  const paths = namesIn(place)
    .filter((name) => name.startsWith(PREFIX) && isOurs(name.slice(PREFIX.length)))
    .map((name) => join(place, name))
  const count = paths.reduce((sum, path) => sum + membersOf(path).length, 0)
  for (const path of paths) write(path, 'cgroup.kill', '1')
  let left = paths
  for (let waited = 0; left.length > 0 && waited < MOST_WAIT_MS; waited += WAIT_MS) {
    if (waited > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, WAIT_MS)
    left = left.filter((path) => !isRemoved(path))
  }
  return count
}

const namesIn = (folder: string): readonly string[] => {
  try {
    return readdirSync(folder)
  } catch {
    return [] // the cgroup is gone, and all that was in it
  }
}

/** Pids; those that nobody has waited for yet do not count. */
const membersOf = (cgroup: string): readonly string[] => {
  try {
    const text = readFileSync(join(cgroup, 'cgroup.procs'), 'latin1')
    return text.split('\n').filter((pid) => pid !== '')
  } catch {
    return []
  }
}

/** Where this process is now, and all that it starts from now on; `leave` ends them. */
export interface Cgroup {
  /** Pids of all in it, this process too. */
  members(): readonly number[]
  /** Goes back to where it came from, and kills all whom it leaves behind. */
  leave(): void
}

/** Throws if it cannot be made. */
export const enterCgroup = (place: string, name: string): Cgroup => {
  const path = join(place, PREFIX + name)
  mkdirSync(path)
  move(path)
  return {
    members: () => membersOf(path).map(Number),
    leave: () => {
      move(place)
      killCgroups(place, (one) => one === name)
    },
  }
}
