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
  /** Of a hub: all that it knows. */
  nodes(): Promise<readonly NodeInfo[]>
  /** From now on, until the signal. */
  events(topics: readonly Topic[], signal: AbortSignal): AsyncIterable<Event>
}
