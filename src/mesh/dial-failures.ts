// What a dial's error means, in words: decided by codes, never by an error's text, which
// differs between versions.

import type { NamesFault } from '../identity/subject.ts'
import type { DialFailure } from './failures.ts'
import { HANDSHAKE_MS, type Target } from './transport.ts'

/** Why the node that answered is not the one that was sought. */
export type StrangerWord = NamesFault | 'revoked' | 'other-node'

/** Reaches whoever dials unchanged, through TLS's own error. */
export class StrangerError extends Error {
  override readonly name = 'StrangerError'
  readonly word: string

  constructor(word: string) {
    super(word)
    this.word = word
  }
}

const STRANGERS: Readonly<Record<string, string>> = {
  'other-node': 'another node listens there now',
  'other-mesh': 'it belongs to another mesh',
  revoked: 'it was taken out of the mesh (manyhands revoke)',
}

const CERTIFICATE_CODES: Readonly<Record<string, string>> = {
  SELF_SIGNED_CERT_IN_CHAIN: 'it belongs to another mesh',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'it belongs to another mesh',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'it belongs to another mesh',
  UNABLE_TO_GET_ISSUER_CERT: 'it belongs to another mesh',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'it belongs to another mesh',
  CERT_HAS_EXPIRED: "its certificate has expired, or this machine's clock is wrong",
  CERT_NOT_YET_VALID:
    "its certificate is not valid yet, or this machine's clock is wrong",
  INVALID_PURPOSE: 'its certificate is not for listening',
}

/** Why a dial was given up after its time. */
export const TIMED_OUT = 'timed out'

export interface DialError {
  readonly target: Target
  readonly error: Error | undefined
  /** Did it answer at all, as far as TCP goes? */
  readonly isReached: boolean
  readonly signal: AbortSignal
}

/** The failure that an error stands for. */
export const dialFailure = ({
  target,
  error,
  isReached,
  signal,
}: DialError): DialFailure => {
  const { url } = target
  if (signal.reason === TIMED_OUT) {
    const reason = `${url} did not answer within ${HANDSHAKE_MS} ms`
    return { kind: 'timeout', url, afterMs: HANDSHAKE_MS, reason }
  }
  if (signal.aborted) return { kind: 'aborted', url, reason: 'dialling was called off' }
  if (error instanceof StrangerError) {
    const why =
      STRANGERS[error.word] ?? `its certificate is not as nodes have it (${error.word})`
    return {
      kind: 'stranger',
      url,
      reason: `${url} is not the node that was sought: ${why}`,
    }
  }
  const code = error !== undefined && 'code' in error ? String(error.code) : 'closed'
  const wrong = CERTIFICATE_CODES[code]
  if (wrong !== undefined)
    return {
      kind: 'stranger',
      url,
      reason: `${url} could not prove to be of this mesh: ${wrong}`,
    }
  if (code === 'EPROTO' || code.startsWith('ERR_SSL_') || code.startsWith('HPE_'))
    return { kind: 'stranger', url, reason: `${url} is no Manyhands node` }
  const what = isReached
    ? `${url} closed the connection during the handshake`
    : `cannot reach ${url}`
  return { kind: 'unreachable', url, code, reason: `${what} (${code})` }
}
