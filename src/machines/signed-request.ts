// Signed request: whether what a client signed is for this host, and for now. Who signed it
// is known by then. (Source: the order of checks of protocol/README.md, "Signed requests".)

import type { ErrorAnswer, SignedRequest } from '../../protocol/index.ts'

/** How long before its end one may be signed: longer, and the table of what came would grow. */
export const LONGEST_MS = 90_000
/** Clocks may differ so much. */
const SKEW_MS = 30_000

export interface JudgedHere {
  /** Of this host. */
  readonly hostName: string
  /** The node id in the certificate of who signed. */
  readonly signer: string
  readonly nowMs: number
  /** When this host began: what came before that, it does not remember. */
  readonly bootMs: number
}

/** Why it is not done; undefined: it may be. Times are the host's wall clock. */
export const signedFault = (
  { to, from, iat, exp }: SignedRequest,
  { hostName, signer, nowMs, bootMs }: JudgedHere,
): ErrorAnswer | undefined => {
  if (from !== signer)
    return { code: 'forbidden', message: 'signed by another than it says' }
  if (to !== hostName)
    return { code: 'forbidden', message: `it is for ${to}, and this is ${hostName}` }
  if (exp <= nowMs || exp > nowMs + LONGEST_MS || iat > nowMs + SKEW_MS)
    return {
      code: 'clock-skew',
      message: `it was signed at ${iat} for up to ${exp}, and here it is ${nowMs} (Unix milliseconds); set the clocks, or ask again`,
    }
  if (iat < bootMs)
    return {
      code: 'not-ready',
      message: 'it was signed before this node started; ask again',
      retry_after_ms: 200,
    }
  return undefined
}
