// The hub of a mesh, as a client uses it: a connection to it, and the way to every host.

import * as E from 'fp-ts/lib/Either.js'
import type { AnswerBodyOf, NodeInfo } from '../../protocol/index.ts'
import type { RequestSigner } from '../identity/signed-requests.ts'
import type { DialUrl } from './host.ts'
import { Link } from './link.ts'
import type { HubRoute } from './via-hub.ts'

export interface Hub {
  readonly link: Link
  readonly route: HubRoute
  close(): Promise<void>
}

/** What runs on a host; `failed`: why it did not say. */
export type HostProcesses = AnswerBodyOf<
  'HubProcesses',
  'HubProcessesList'
>['hosts'][number]

const WITHIN_MS = 5_000

/** Of every host, by name. */
export const allProcesses = async (
  link: Link,
  all: boolean,
): Promise<readonly HostProcesses[]> => {
  const found: HostProcesses[] = []
  let after: string | undefined
  do {
    const body = { within_ms: WITHIN_MS, all, ...(after !== undefined && { after }) }
    const answer = await link.ask('HubProcesses', body, { timeoutMs: 2 * WITHIN_MS })
    found.push(...answer.body.hosts)
    after = answer.body.next
  } while (after !== undefined)
  return found
}

export interface OpenHubOptions {
  /** The client's own, which may lead to a hub already. */
  readonly link: Link
  readonly dial: DialUrl
  readonly signer: (() => RequestSigner) | undefined
  readonly nodes: () => Promise<readonly NodeInfo[]>
}

/** Connects to the first hub that can be reached; undefined: there is none. */
export const openHub = async (options: OpenHubOptions): Promise<Hub | undefined> => {
  const { link: own, dial, signer, nodes } = options
  if (signer === undefined) return undefined
  if (own.isToHub) return hubOn(own, signer, () => Promise.resolve())
  const hubs = (await nodes()).filter(({ role }) => role === 'hub')
  for (const { address } of hubs) {
    if (address === undefined) continue
    const dialAgain = (signal?: AbortSignal) => dial(address, signal)
    const dialled = await dialAgain()
    if (E.isLeft(dialled)) continue
    if (dialled.right.peer.role !== 'hub') {
      await dialled.right.close()
      continue
    }
    const link = new Link(dialled.right, dialAgain)
    return hubOn(link, signer, () => link.close())
  }
  return undefined
}

const hubOn = (
  link: Link,
  signer: () => RequestSigner,
  close: () => Promise<void>,
): Hub => ({
  link,
  route: {
    forward: (body, options) => link.ask('HubForward', body, options),
    signer,
    known: new Set(),
  },
  close,
})
