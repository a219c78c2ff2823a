// What reaches what: multicast on each interface, and the mesh's own nodes.

import { randomBytes } from 'node:crypto'
import { connect } from '../client/connect.ts'
import { isClientError } from '../client/failures.ts'
import { systemClock } from '../clock.ts'
import { type Found, startMdns } from '../discovery/mdns.ts'
import { listAddresses } from '../identity/state.ts'
import type { Log } from '../ports.ts'
import { type Finding, fail, ok, warn } from './finding.ts'

/** What is announced is heard in some milliseconds; a busy machine may take longer. */
const HEARD_MS = 2_000
const nothing = () => undefined
const quiet: Log = { info: nothing, warn: nothing, error: nothing, debug: nothing }

/** Announces something for a moment, under a name of its own, and listens for it. */
export const checkMulticast = async (): Promise<Finding> => {
  const service = `mh-doctor-${randomBytes(3).toString('hex')}`
  const heard = new Set<string>()
  let tell: () => void = nothing
  const first = new Promise<void>((resolve) => {
    tell = resolve
  })
  const discovery = (port: number | undefined, onFound: (found: Found) => void) =>
    startMdns({
      ...{ service, port, onFound, log: quiet, clock: systemClock },
      meshId: randomBytes(16).toString('hex'),
      nodeId: randomBytes(16).toString('hex'),
      role: 'client',
      hostName: 'doctor',
    })
  const ear = await discovery(undefined, ({ address }) => {
    heard.add(address)
    tell()
  })
  const mouth = await discovery(1, nothing)
  const cancel = systemClock.after(HEARD_MS, tell)
  await first
  cancel()
  const { interfaces } = mouth
  await Promise.all([mouth.close(), ear.close()])
  const remedy = 'let UDP port 5353 through the firewall; or name nodes: --join HOST:PORT'
  if (interfaces.length === 0)
    return warn(
      'multicast',
      'no interface takes it: nodes do not find each other',
      remedy,
    )
  if (heard.size === 0)
    return warn('multicast', 'what is announced here is not heard here', remedy)
  return ok('multicast', `heard on ${[...heard].join(', ')}`)
}

/** Asks the manager, and compares what it knows with who says that they run here. */
export const checkNodes = async (directory: string): Promise<readonly Finding[]> => {
  const here = listAddresses(directory)
  if (here.length === 0)
    return [ok('nodes here', 'none runs; start them with: manyhands up')]
  try {
    const began = performance.now()
    await using client = await connect({ state: directory, discoverMs: 0 })
    const nodes = await client.nodes()
    const tookMs = Math.round(performance.now() - began)
    const known = new Map(nodes.map((node) => [node.node_id, node]))
    return [
      ok('manager', `${client.managerName} answers in ${tookMs} ms`),
      ...here.map(({ node_id, host_name, role, pid, url }) => {
        const state = known.get(node_id)?.state
        const about = `${role} ${host_name}`
        if (state === 'self' || state === 'managed')
          return ok(about, `${state}, at ${url}`)
        return warn(
          about,
          `it runs (pid ${pid}), and its manager has it as ${state ?? 'unknown'}`,
          'see what it logs; or stop it and start it again',
        )
      }),
    ]
  } catch (error) {
    if (!isClientError(error)) throw error
    const names = here.map(({ host_name }) => host_name).join(', ')
    return [
      fail(
        'manager',
        `${names} run here, and ${error.message}`,
        'start one: manyhands --role manager',
      ),
    ]
  }
}
