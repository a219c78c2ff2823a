// Node lines: what a node tells the person who started it, once it serves: who it is, where
// it is reached, by whom, and what of that he should know.

import { networkInterfaces } from 'node:os'
import { hostInUrl, isLoopback, isWildcard } from './mesh/transport.ts'
import type { NodeOptions } from './options.ts'

export interface StartLines {
  readonly options: NodeOptions
  readonly hostName: string
  readonly stateDirectory: string
  readonly url: string
  readonly port: number
  /** What its role brings. */
  readonly about: string
  readonly faces: readonly string[]
  /** Of the user that runs it; undefined: the system has none. */
  readonly uid: number | undefined
}

/** What a role's line is called. */
const SAYS: Readonly<Record<NodeOptions['role'], string>> = {
  manager: 'keeping  ',
  worker: 'offering ',
  hub: 'reaching ',
}

export const startLines = (its: StartLines): readonly string[] => {
  const { options, hostName, stateDirectory, url, about, faces } = its
  const { role } = options
  return [
    `${role} ${hostName} is up (pid ${process.pid})`,
    `  listening  ${url}`,
    `  ${SAYS[role]}  ${about}`,
    `  state      ${stateDirectory}`,
    ...(role === 'manager' ? [`  join with  manyhands --role worker --join ${url}`] : []),
    ...faces,
    ...warnings(its),
  ]
}

/** Who can reach it, and as whom it runs programs. */
const warnings = ({ options, port, uid }: StartLines): readonly string[] => {
  const { listen, role, processes, runAs } = options
  const open = addressesOf(listen).map((host) => `${hostInUrl(host)}:${port}`)
  const runsPrograms = role === 'worker' || processes === true
  return [
    ...(open.length === 0
      ? []
      : [
          `  open       to other machines at ${open.join(', ')}; members of this mesh alone get in`,
        ]),
    ...(uid === 0 && runsPrograms && runAs === undefined
      ? [
          '  warning    this is root: whatever tasks run, runs as root; --run-as NAME changes that',
        ]
      : []),
  ]
}

/** The addresses at which other machines reach it. */
const addressesOf = (listen: string): readonly string[] => {
  if (isLoopback(listen)) return []
  if (!isWildcard(listen)) return [listen]
  return Object.values(networkInterfaces()).flatMap((addresses = []) =>
    addresses
      .filter(({ internal, family }) => !internal && family === 'IPv4')
      .map(({ address }) => address),
  )
}
