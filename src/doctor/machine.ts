// What the machine gives a node: Node.js, descriptors, the programs that the runner needs.

import { accessSync, constants, readFileSync } from 'node:fs'
import { bestRung, type Rung } from '../runner/rung.ts'
import { type Finding, fail, ok, warn } from './finding.ts'

/** As package.json has it. */
const NEEDED = [20, 19] as const
/** A connection is one, a running task four. */
const FEW_DESCRIPTORS = 4096

export const checkNode = (version: string): Finding => {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const isGood = major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1])
  return isGood
    ? ok('Node.js', version)
    : fail(
        'Node.js',
        `${version} is too old`,
        `install Node.js ${NEEDED.join('.')} or later`,
      )
}

/** `limits`: the text of /proc/self/limits; undefined where there is none. */
export const checkDescriptors = (limits: string | undefined): Finding => {
  const soft = /^Max open files\s+(\S+)/m.exec(limits ?? '')?.[1]
  if (soft === undefined)
    return warn('open files', 'the limit is not known here', 'see: ulimit -n')
  if (soft === 'unlimited' || Number(soft) >= FEW_DESCRIPTORS)
    return ok('open files', `${soft} at once`)
  return warn(
    'open files',
    `only ${soft} at once: a connection takes one, a running task four`,
    `before the node is started: ulimit -n 65536; with systemd: LimitNOFILE=65536`,
  )
}

export const readLimits = (): string | undefined => {
  try {
    return readFileSync('/proc/self/limits', 'latin1')
  } catch {
    return undefined
  }
}

/** Where the launchers look, whatever PATH the node has. */
const PLACES = ['/usr/bin', '/bin']

export const checkPrograms = (): readonly Finding[] => [
  hasProgram('mkfifo')
    ? ok('output of programs', 'through FIFOs (mkfifo)')
    : fail(
        'output of programs',
        `there is no mkfifo in ${PLACES.join(' or ')}: no task can write`,
        'install coreutils',
      ),
  hasProgram('setpriv')
    ? ok('other users', 'their programs cannot gain privileges (setpriv)')
    : ok(
        'other users',
        'there is no setpriv: with --user, set-user-ID programs still gain privileges. Better: install util-linux',
      ),
  checkTrees(bestRung()),
]

/** What a machine does not have is no fault of it: said, and what would be better. */
export const checkTrees = ({ says, remedy }: Rung): Finding =>
  ok('process trees', remedy === undefined ? says : `${says}. Better: ${remedy}`)

const hasProgram = (name: string): boolean =>
  PLACES.some((place) => {
    try {
      accessSync(`${place}/${name}`, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
