// Discovering: managers of a mesh that announce themselves on the network, for a client
// whose state directory knows of none. What is heard is a hint: the dial proves it.

import type { Introduction } from '../../protocol/index.ts'
import { systemClock } from '../clock.ts'
import { startMdns } from '../discovery/mdns.ts'
import type { Log } from '../ports.ts'

export interface DiscoverOptions {
  readonly meshId: string
  readonly self: Introduction
  readonly limitMs: number
  readonly signal?: AbortSignal | undefined
  /** The mDNS service type; tests use one of their own. */
  readonly service?: string
}

const HUB_MS = 100

/** The address of the first manager heard, else of a hub; undefined if none within the limit. Never rejects. */
export const discoverManager = async (
  options: DiscoverOptions,
): Promise<string | undefined> => {
  const { meshId, self, limitMs, signal, service } = options
  let hear: (url: string | undefined) => void = () => undefined
  const heard = new Promise<string | undefined>((resolve) => {
    hear = resolve
  })
  const silence = () => hear(undefined)
  const timer = setTimeout(silence, limitMs)
  let hub: NodeJS.Timeout | undefined
  signal?.addEventListener('abort', silence)
  const mdns = await startMdns({
    ...(service !== undefined && { service }),
    meshId,
    nodeId: self.node_id,
    role: self.node_type,
    hostName: self.host_name,
    port: undefined, // it listens to others and announces nothing
    clock: systemClock,
    log: silent,
    onFound: (found) => {
      if (found.meshId !== meshId) return
      const url = `wss://${found.address}:${found.port}`
      if (found.role === 'manager') hear(url)
      // A manager may be heard a moment later; a hub is better than nothing.
      if (found.role === 'hub') hub ??= setTimeout(() => hear(url), HUB_MS)
    },
  })
  try {
    if (signal?.aborted) silence()
    return await heard
  } finally {
    clearTimeout(timer)
    clearTimeout(hub)
    signal?.removeEventListener('abort', silence)
    await mdns.close()
  }
}

const nothing = () => undefined
/** That an interface cannot multicast is no news to who asks for a mesh. */
const silent: Log = { info: nothing, warn: nothing, error: nothing, debug: nothing }
