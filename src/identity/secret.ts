// Proof of the mesh's secret, without sending it.
//
// Both ends give a nonce; each proves by an HMAC-SHA256 over both nonces that it knows
// the secret, and in the same breath which mesh, role and node id it speaks for, and at
// which address and port the two met. These make a go-between useless: what it is given
// at its own address does not hold at the real node's, also if it took the same port at
// another address of the machine (loopback has many). A proof says which side made it, so
// none can be reflected.

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import type { NodeId, NodeType } from '../../protocol/index.ts'

const NONCE_BYTES = 24
const NONCE = /^[0-9a-f]{48}$/

/** Who proves. */
export interface Party {
  readonly role: NodeType
  readonly nodeId: NodeId
}

/** What both ends know of their meeting, before the proof. */
export interface Meeting {
  readonly meshId: string
  readonly clientNonce: string
  readonly serverNonce: string
  /** The server's end of the TCP connection, as each side's own system names it. */
  readonly address: string
  readonly port: number
}

export type Side = 'client' | 'server'

/** A fresh nonce, in hex. */
export const makeNonce = (): string => randomBytes(NONCE_BYTES).toString('hex')

/** Is it a nonce by its form? */
export const isNonce = (text: unknown): text is string =>
  typeof text === 'string' && NONCE.test(text)

/** The proof, in hex, that `party` on `side` knows the secret. */
export const prove = (
  secret: Uint8Array,
  side: Side,
  party: Party,
  meeting: Meeting,
): string => {
  const { meshId, clientNonce, serverNonce, address, port } = meeting
  const words = ['manyhands.v1', side, meshId, party.role, party.nodeId]
  // JSON keeps the parts apart: no two different lists give the same text.
  const text = JSON.stringify([...words, clientNonce, serverNonce, address, port])
  return createHmac('sha256', secret).update(text).digest('hex')
}

/** Does `given` prove it? Takes the same time for every wrong proof. */
export const isProven = (
  given: unknown,
  secret: Uint8Array,
  side: Side,
  party: Party,
  meeting: Meeting,
): boolean => {
  if (typeof given !== 'string') return false
  const expected = Buffer.from(prove(secret, side, party, meeting))
  const actual = Buffer.from(given)
  return actual.byteLength === expected.byteLength && timingSafeEqual(actual, expected)
}
