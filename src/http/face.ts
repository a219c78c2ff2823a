// Face: the mesh as an HTTP face sees it. A face acts under a client identity of its own:
// what it asks meets the same checks as if a person's command line had asked.

import type {
  Event,
  Kind,
  NodeInfo,
  RequestOf,
  Rights,
  Topic,
} from '../../protocol/index.ts'
import type { Answered, AskOptions } from '../client/link.ts'

/** What a face may ask; rejects with a ClientError. */
export interface Face {
  /** Of the node that it runs on. */
  readonly hostName: string
  /** Does it reach other hosts? */
  readonly isHub: boolean
  /** The same, with no more than these rights. */
  as(rights: Rights | undefined): FaceClient
}

export interface FaceClient {
  ask<K extends Kind>(
    hostName: string,
    kind: K,
    body: RequestOf<K>,
    options?: AskOptions,
  ): Promise<Answered<K>>
  /** All that a hub, or a manager, knows; of others: nothing. */
  nodes(): Promise<readonly NodeInfo[]>
  /** From the cursor, or from now on, several at a time; until the signal. The same object for every reader. */
  events(options: FaceEvents): AsyncIterable<readonly Event[]>
  /** The host_name of a manager, for tasks. Rejects with `not-found`: none is in reach. */
  manager(): Promise<string>
}

export interface FaceEvents {
  readonly topics?: readonly Topic[]
  readonly signal: AbortSignal
  readonly after?: string
  /** Where they go on from here. */
  readonly onCursor?: (next: string) => void
  readonly onReset?: () => void
}
