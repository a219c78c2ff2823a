// Open invitations on the network: announced by whoever has one open, found by who has
// its token. What is announced is a hint, as always: the token's secret decides.

import { randomBytes } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import type { NodeType } from '../../protocol/index.ts'
import { systemClock } from '../clock.ts'
import { type Mdns, startMdns } from '../discovery/mdns.ts'
import { isNear } from '../mesh/near.ts'
import type { Log } from '../ports.ts'

/** The service type: `_manyhands-join._tcp`. */
const SERVICE = 'manyhands-join'

const nothing = () => undefined
const silent: Log = { info: nothing, warn: nothing, error: nothing, debug: nothing }

interface Announced {
  readonly meshId: string
  readonly role: NodeType
  readonly port: number
  readonly service?: string
}

/** Says that an invitation is open here. */
export const announceInvite = (invite: Announced): Promise<Mdns> =>
  startMdns({
    ...about(invite),
    port: invite.port,
    isSeeking: () => false,
    onFound: nothing,
  })

export interface FindOptions {
  readonly meshId: string
  readonly role: NodeType
  readonly limitMs: number
  readonly service?: string
}

/** Where an invitation to the mesh is open; undefined if none was heard of in time. */
export const findInvite = async (
  options: FindOptions,
): Promise<{ readonly host: string; readonly port: number } | undefined> => {
  let hear: (at: { host: string; port: number } | undefined) => void = nothing
  const heard = new Promise<{ host: string; port: number } | undefined>((resolve) => {
    hear = resolve
  })
  const timer = setTimeout(() => hear(undefined), options.limitMs)
  const mdns = await startMdns({
    ...about(options),
    port: undefined,
    onFound: ({ meshId, address: host, port }) => {
      if (meshId === options.meshId && (isNear(host) || isOwn(host))) hear({ host, port })
    },
  })
  try {
    return await heard
  } finally {
    clearTimeout(timer)
    await mdns.close()
  }
}

const about = ({ meshId, role, service = SERVICE }: Omit<Announced, 'port'>) => ({
  service,
  meshId,
  nodeId: randomBytes(16).toString('hex'),
  role,
  hostName: 'invitation',
  clock: systemClock,
  log: silent,
})

const isOwn = (host: string): boolean =>
  Object.values(networkInterfaces()).some((addresses = []) =>
    addresses.some(({ address }) => address === host),
  )
