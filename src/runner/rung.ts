// Rung: how surely a node ends what its programs have started, by what the machine gives.

import { existsSync } from 'node:fs'
import { findCgroup } from './cgroup.ts'

/** `group`: its group. `marker`: that, and who bears its marker. `cgroup`: those, and everybody else. */
export interface Rung {
  readonly kind: 'cgroup' | 'marker' | 'group'
  /** The cgroup that this process can divide. */
  readonly place?: string
  /** What it does, and what it leaves. */
  readonly says: string
  /** What a better one would take. */
  readonly remedy?: string
}

const WITH_ITS = 'is killed with it, with its node and with its launcher'

const GROUP = `each program leads a process group, which ${WITH_ITS}`
const MARKED =
  'those who left the group (setsid) are found by a variable of their environment, 2 s after the program has ended, and when a node starts again'

/** `mayDivide`: cgroups are tried. A look costs about a millisecond. */
export const bestRung = ({ mayDivide = true } = {}): Rung => {
  const found = mayDivide ? findCgroup() : { fault: 'cgroups are not to be used' }
  if ('place' in found) {
    const says = `${GROUP}; ${MARKED}. Who wipes its environment is found too, by the cgroup of its launcher (below ${found.place}): when nothing else runs there, or launcher or node end`
    return { kind: 'cgroup', place: found.place, says }
  }
  if (!existsSync('/proc/self/environ'))
    return {
      kind: 'group',
      says: `${GROUP}. Not found on this system, which has no /proc: who leaves the group (setsid)`,
    }
  return {
    kind: 'marker',
    says: `${GROUP}; ${MARKED}. Not found: who leaves the group and also wipes its environment`,
    remedy: `${found.fault}; to lose nobody, start the node where it may divide its cgroup: in a systemd unit with Delegate=yes, or systemd-run --user --scope -p Delegate=yes manyhands start …`,
  }
}
