// What a client can fail with, as one closed union. Promises and iterables of the client
// reject with a ClientError that carries it: callers decide on `failure.kind`, never on
// the text, which is one line for people: what failed, why, what to do.

import type { ErrorAnswer, Kind } from '../../protocol/index.ts'

export type ClientFailure =
  /** No node of a mesh was found. `looked` says where. */
  | { readonly kind: 'no-mesh'; readonly looked: readonly string[] }
  /** The state directory cannot be used; `reason` names the remedy. */
  | { readonly kind: 'state'; readonly path: string; readonly reason: string }
  /** A node was reached and did not let this client in. */
  | {
      readonly kind: 'refused'
      readonly address: string
      readonly reason: string
      readonly remedy: string
    }
  /** The connection broke and could not be regained in `afterMs`; `reason` is the last dial's. */
  | { readonly kind: 'lost'; readonly afterMs: number; readonly reason: string }
  /** The manager is there but did not answer, several times. */
  | { readonly kind: 'no-answer'; readonly exchange: Kind; readonly afterMs: number }
  /** The manager said no. `code` is the Error's code or the refusal's reason. */
  | {
      readonly kind: 'rejected'
      readonly exchange: Kind
      readonly code: string
      readonly message: string
    }
  /** No such task or batch at this manager; host or process, where `list` says what lists them. */
  | { readonly kind: 'not-found'; readonly what: string; readonly list?: string }
  /** A node that is known cannot be reached from here, or does not serve what is asked. */
  | {
      readonly kind: 'unreachable'
      readonly host: string
      readonly reason: string
      /** When it went away, in Unix milliseconds. */
      readonly sinceMs?: number
    }
  /** The peer broke the protocol. */
  | { readonly kind: 'protocol'; readonly exchange: Kind; readonly detail: string }
  /** The caller's signal ended it. */
  | { readonly kind: 'aborted' }
  /** The client was closed meanwhile. */
  | { readonly kind: 'closed' }

/** The error that client promises reject with; `failure` is what to decide on. */
export class ClientError extends Error {
  override readonly name = 'ClientError'
  readonly failure: ClientFailure

  constructor(failure: ClientFailure, options?: ErrorOptions) {
    super(describeFailure(failure), options)
    this.failure = failure
  }
}

/** Is it a ClientError (of one of these kinds, if any are given)? */
export const isClientError = (
  error: unknown,
  ...kinds: readonly ClientFailure['kind'][]
): error is ClientError =>
  error instanceof ClientError &&
  (kinds.length === 0 || kinds.includes(error.failure.kind))

/** One line for people: what failed, why, what to do. */
export const describeFailure = (failure: ClientFailure): string => {
  switch (failure.kind) {
    case 'no-mesh':
      return `no mesh found (looked ${failure.looked.join(', ')}); start one with: manyhands up`
    case 'state':
      return failure.reason
    case 'refused':
      return `${failure.address} refused this client: ${failure.reason}; ${failure.remedy}`
    case 'lost':
      return `connection to the mesh lost and not regained in ${failure.afterMs} ms (${failure.reason}); see which nodes run with: manyhands nodes`
    case 'no-answer':
      return `no answer to ${failure.exchange} in ${failure.afterMs} ms; the manager hangs or is overloaded, try again`
    case 'rejected':
      return `${failure.exchange} was refused (${failure.code})${failure.message === '' ? '' : `: ${failure.message}`}${failure.code === 'wrong-role' ? '; tasks are asked of a manager: manyhands --role manager' : ''}`
    case 'not-found':
      return failure.list === undefined
        ? `no such ${failure.what} at this manager; list what there is with: manyhands tasks`
        : `there is no ${failure.what}; list what there is with: ${failure.list}`
    case 'unreachable':
      return `${failure.host} cannot be asked: ${failure.reason}`
    case 'protocol':
      return `the manager's answer to ${failure.exchange} was not understood (${failure.detail}); are both of one version?`
    case 'aborted':
      return 'ended by the caller'
    case 'closed':
      return 'the client was closed'
  }
}

/** The failure that an Error answer stands for. */
export const rejectedBy = (exchange: Kind, answer: ErrorAnswer): ClientError =>
  new ClientError({
    kind: 'rejected',
    exchange,
    code: answer.code,
    message: [answer.message, answer.path && `(field ${answer.path})`]
      .filter(Boolean)
      .join(' '),
  })
