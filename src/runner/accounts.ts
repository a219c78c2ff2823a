// Accounts: the users of this machine, by the system's own word.

import { execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { userInfo } from 'node:os'
import type { Account } from '../records.ts'

/** NAME:password:UID:GID:comment:HOME:shell (passwd(5)); undefined if there is no such user. */
export const findAccount = (name: string): Account | undefined => {
  const line = lineIn(passwd(), name) ?? lineIn(database(name), name)
  const [, , uid = '', gid = '', , home = ''] = line?.split(':') ?? []
  if (!/^\d+$/.test(uid) || !/^\d+$/.test(gid)) return undefined
  return { name, uid: Number(uid), gid: Number(gid), home: isFolder(home) ? home : '/' }
}

const lineIn = (text: string, name: string): string | undefined =>
  text.split('\n').find((line) => line.split(':')[0] === name)

const passwd = (): string => {
  try {
    return readFileSync('/etc/passwd', 'utf8')
  } catch {
    return ''
  }
}

/** Users of a directory service are not in the file. */
const database = (name: string): string => {
  try {
    return execFileSync('getent', ['passwd', '--', name], {
      env: { PATH: '/usr/bin:/bin' },
      encoding: 'utf8',
      timeout: 10_000,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
  } catch {
    return '' // it knows nobody of that name, or is not there
  }
}

const isFolder = (path: string): boolean => {
  try {
    return path.startsWith('/') && statSync(path).isDirectory()
  } catch {
    return false
  }
}

/** The name of the user that this process runs as; undefined: he has none. */
export const ownName = (): string | undefined => {
  try {
    return userInfo().username
  } catch {
    return undefined
  }
}

/** Only root can become somebody else. */
export const mayChangeUser = (): boolean => process.getuid?.() === 0
