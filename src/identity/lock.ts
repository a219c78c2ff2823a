// A lock on a directory that its holder's death releases, kill -9 included.
//
// A claim is an empty file whose name says whose it is: process id, that process's start
// time, the machine's boot, and the directory's inode. A claim whose process is gone (or
// that came here by copying the directory) counts for nothing and is swept away.
//
// Why two can never hold it: everybody makes a claim *before* looking, and holds only if
// the look shows no other live claim. If A saw no B, then B claimed after A looked, hence
// after A claimed, so B sees A. Both may see each other; then both step back, and try
// again after a random pause. A second file beside the claim says that it is held, so that
// others need not wait for one who holds. (Renaming the claim would not do: a directory
// listing may miss a file that is being renamed.)

import { randomBytes } from 'node:crypto'
import { closeSync, openSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'

const PREFIX = 'lock.'
const HELD = 'held.'
/** Tries when several claim at the same moment; each pause is random up to the limit. */
const TRIES = 20
const PAUSE_MS = 15

/** A held lock. */
export interface DirectoryLock {
  /** Gives it back; twice does nothing. */
  release(): void
}

/** Who holds a lock. */
export interface LockHolder {
  readonly pid: number
}

/** Which start of the machine this is; undefined where the system does not say. */
export const machineBoot = (): string | undefined => {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').slice(0, 8)
  } catch {
    return undefined
  }
}

/**
 * Start time in clock ticks since boot (proc(5), stat field 22); '0' where there is no
 * /proc. A zombie is dead: it waits for a parent that may never look.
 */
const startOf = (pid: number): string | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in parentheses may itself contain spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? undefined : fields[19]
  } catch {
    return isSignallable(pid) ? '0' : undefined
  }
}

const isSignallable = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

interface Claim {
  readonly name: string
  readonly pid: number
  readonly isLive: boolean
  readonly isHeld: boolean
}

const readClaim = (name: string, inode: string, names: readonly string[]): Claim => {
  const owner = name.slice(PREFIX.length)
  const [pidText = '', start, boot, claimedInode] = owner.split('.')
  const pid = Number(pidText)
  const isLive =
    Number.isSafeInteger(pid) &&
    pid > 0 &&
    claimedInode === inode &&
    boot === (machineBoot() ?? '0') &&
    startOf(pid) === start
  return { name, pid, isLive, isHeld: names.includes(HELD + owner) }
}

const inodeOf = (directory: string): string => String(statSync(directory).ino)

const claimsIn = (directory: string): readonly Claim[] => {
  const inode = inodeOf(directory)
  const names = readdirSync(directory)
  return names
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => readClaim(name, inode, names))
}

const removeClaim = (directory: string, name: string): void => {
  rmSync(join(directory, HELD + name.slice(PREFIX.length)), { force: true })
  rmSync(join(directory, name), { force: true })
}

const createEmpty = (path: string): void => closeSync(openSync(path, 'wx', 0o600))

/** Who holds the directory's lock now; undefined when nobody does. */
export const lockHolder = (directory: string): LockHolder | undefined => {
  try {
    return claimsIn(directory).find((claim) => claim.isLive)
  } catch {
    return undefined
  }
}

/** Takes the lock, or says who holds it. Left-overs of the dead are removed on the way. */
export const takeLock = async (
  directory: string,
): Promise<DirectoryLock | LockHolder> => {
  for (let tries = 1; ; tries++) {
    const outcome = claimOnce(directory)
    if ('release' in outcome) return outcome
    if (outcome.isHeld || tries === TRIES) return { pid: outcome.pid }
    await new Promise((resolve) => setTimeout(resolve, 1 + Math.random() * PAUSE_MS))
  }
}

const claimOnce = (directory: string): DirectoryLock | Claim => {
  const token = randomBytes(4).toString('hex')
  const start = startOf(process.pid) ?? '0'
  const owner = `${process.pid}.${start}.${machineBoot() ?? '0'}.${inodeOf(directory)}.${token}`
  const mine = PREFIX + owner
  createEmpty(join(directory, mine))
  const release = () => removeClaim(directory, mine)
  const others = claimsIn(directory).filter((claim) => claim.name !== mine)
  for (const claim of others) if (!claim.isLive) removeClaim(directory, claim.name)
  const living = others.filter((claim) => claim.isLive)
  const first = living.find((claim) => claim.isHeld) ?? living[0]
  if (first !== undefined) {
    release()
    return first
  }
  createEmpty(join(directory, HELD + owner))
  return { release }
}
