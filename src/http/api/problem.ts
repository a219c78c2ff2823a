// Problem: what went wrong, as RFC 9457 has it: a status, a code for programs, a sentence
// for people that says what to do, and the id of the request.

import { type ClientFailure, isClientError } from '../../client/failures.ts'

export interface Problem {
  readonly status: 400 | 403 | 404 | 409 | 413 | 422 | 500 | 502 | 503 | 504
  readonly code: string
  readonly detail: string
  /** Seconds after which to try again. */
  readonly retryAfter?: number
  readonly more?: Readonly<Record<string, unknown>>
}

/** Thrown where a request cannot be served. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError'
  readonly problem: Problem

  constructor(problem: Problem) {
    super(problem.detail)
    this.problem = problem
  }
}

export const bad = (detail: string): ProblemError =>
  new ProblemError({ status: 400, code: 'bad-request', detail })

/** Undefined: it is a bug. */
export const problemOf = (error: unknown): Problem | undefined => {
  if (error instanceof ProblemError) return error.problem
  if (isClientError(error)) return ofClient(error.failure, error.message)
  // A body that its row does not allow: the text names the field.
  if (error instanceof TypeError && error.message.startsWith('Expected a valid body'))
    return { status: 400, code: 'malformed', detail: error.message }
  return undefined
}

const ofClient = (failure: ClientFailure, detail: string): Problem => {
  switch (failure.kind) {
    case 'not-found':
      return { status: 404, code: 'not-found', detail }
    case 'rejected':
      return ofRejection(failure.code, detail)
    case 'unreachable':
      return { status: 502, code: 'host-unreachable', detail }
    case 'no-answer':
      return { status: 504, code: 'no-answer', detail }
    case 'protocol':
      return { status: 502, code: 'protocol', detail }
    default:
      return { status: 503, code: failure.kind, detail, retryAfter: 1 }
  }
}

const ofRejection = (code: string, detail: string): Problem => {
  if (code === 'forbidden') return { status: 403, code, detail }
  if (code === 'malformed' || code === 'invalid') return { status: 400, code, detail }
  if (code === 'busy' || code === 'closing' || code === 'shutting-down')
    return { status: 503, code, detail, retryAfter: 1 }
  if (code === 'deadline') return { status: 504, code, detail }
  return { status: 422, code, detail }
}

/** The body of the answer. */
export const problemBody = (
  { status, code, detail, more }: Problem,
  requestId: string,
): object => ({
  ...{ type: 'about:blank', status, code, detail, request_id: requestId },
  ...more,
})
