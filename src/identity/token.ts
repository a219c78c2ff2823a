// Tokens: an invitation as text that survives being read out loud. 30 bytes: version and
// role, the mesh's id, a secret, and a checksum, so that a misspelt one fails where it is
// typed, before any network; in 48 letters of Crockford's base 32.
//
// From the secret come a key and its name, by HKDF: the name picks the invitation at the
// inviting side, the key proves both ends to each other (TLS 1.3 PSK). The secret itself
// never travels, and the token holds no address.

import { createHash, hkdfSync, randomBytes } from 'node:crypto'
import type { NodeType } from '../../protocol/scalars.ts'

/** What a token says. */
export interface Invitation {
  readonly role: NodeType
  readonly meshId: string
  readonly secret: Buffer
}

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'
const VERSION = 1
/** By their place, for good. */
const ROLES: readonly NodeType[] = ['worker', 'manager', 'hub', 'client']
const PIN_BYTES = 10
const SECRET_BYTES = 16
const CHECK_BYTES = 3
const LETTERS = 48

/** A new invitation to a mesh. */
export const makeInvitation = (role: NodeType, meshId: string): Invitation => ({
  role,
  meshId,
  secret: randomBytes(SECRET_BYTES),
})

const checksum = (bytes: Buffer): Buffer =>
  createHash('sha256')
    .update('manyhands-token-1\0')
    .update(bytes)
    .digest()
    .subarray(0, CHECK_BYTES)

/** `20mj-yn0p-…`, twelve groups of four. */
export const writeToken = ({ role, meshId, secret }: Invitation): string => {
  const head = Buffer.from([(VERSION << 4) | ROLES.indexOf(role)])
  const body = Buffer.concat([head, Buffer.from(meshId, 'hex'), secret])
  const letters = toLetters(Buffer.concat([body, checksum(body)]))
  return letters.replace(/.{4}(?=.)/g, '$&-')
}

/** Case, blanks, dashes and letters that look like others are forgiven; undefined: it is none. */
export const readToken = (text: string): Invitation | undefined => {
  const plain = text
    .toLowerCase()
    .replace(/[\s-]/g, '')
    .replace(/[il]/g, '1')
    .replace(/o/g, '0')
    .replace(/u/g, 'v')
  const bytes = plain.length === LETTERS ? fromLetters(plain) : undefined
  if (bytes === undefined) return undefined
  const body = bytes.subarray(0, -CHECK_BYTES)
  if (!checksum(body).equals(bytes.subarray(-CHECK_BYTES))) return undefined
  const head = body[0] ?? 0
  const role = ROLES[head & 0x0f]
  if (head >> 4 !== VERSION || role === undefined) return undefined
  const meshId = body.subarray(1, 1 + PIN_BYTES).toString('hex')
  return { role, meshId, secret: Buffer.from(body.subarray(1 + PIN_BYTES)) }
}

/** The key that both ends prove to know, and its name, which may be seen. */
export const pskOf = ({ secret, meshId }: Invitation) => {
  const derive = (info: string, bytes: number) =>
    Buffer.from(hkdfSync('sha256', secret, Buffer.from(meshId, 'hex'), info, bytes))
  return {
    psk: derive('manyhands-join-psk-1', 32),
    identity: derive('manyhands-join-id-1', 8).toString('hex'),
  }
}

const toLetters = (bytes: Buffer): string => {
  let bits = 0
  let held = 0
  let letters = ''
  for (const byte of bytes) {
    held = (held << 8) | byte
    bits += 8
    while (bits >= 5) {
      bits -= 5
      letters += ALPHABET[(held >> bits) & 31]
    }
    held &= (1 << bits) - 1
  }
  return letters
}

const fromLetters = (letters: string): Buffer | undefined => {
  const bytes: number[] = []
  let bits = 0
  let held = 0
  for (const letter of letters) {
    const value = ALPHABET.indexOf(letter)
    if (value < 0) return undefined
    held = (held << 5) | value
    bits += 5
    if (bits >= 8) {
      bits -= 8
      bytes.push(held >> bits)
      held &= (1 << bits) - 1
    }
  }
  return Buffer.from(bytes)
}
