// Route: how a route of the API is written, once: what it does, what it takes and what it
// gives. The router and the published description both come from it.

import type { IncomingMessage, ServerResponse } from 'node:http'
import type * as t from 'io-ts'
import type { FaceClient } from '../face.ts'
import type { Query } from './query.ts'

/** What a handler is given. */
export interface Asked {
  readonly client: FaceClient
  readonly query: Query
  /** A part of the path, by its name. */
  param(name: string): string
  header(name: string): string | undefined
  /** The body as an object. Throws a ProblemError. */
  json(): Promise<object>
  /** Aborted when the client has left. */
  readonly signal: AbortSignal
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
  readonly requestId: string
}

/** What is answered: JSON, or a response of its own making. */
export type Reply =
  | {
      readonly status?: 200 | 202
      readonly json: unknown
      readonly headers?: Readonly<Record<string, string>>
    }
  | Response

/** A parameter of the URL. */
export interface Parameter {
  readonly about: string
  readonly isRepeatable?: true
  readonly example?: string
}

export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE'
  /** With its parts as `{name}`. */
  readonly path: string
  readonly about: string
  readonly query?: Readonly<Record<string, Parameter>>
  readonly headers?: Readonly<Record<string, string>>
  /** What its body has to be; 'bytes': anything. */
  readonly body?: t.Mixed | 'bytes'
  readonly answer: {
    readonly status: 200 | 202
    readonly about: string
    readonly body: t.Mixed | 'bytes' | 'events'
  }
  handle(asked: Asked): Promise<Reply>
}

/** Declares one. */
export const route = (one: Route): Route => one
