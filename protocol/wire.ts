// Wire: envelope to bytes and back. Bytes in, Either out; nothing a peer sends can throw.
//
// Plain MessagePack: maps, no records and no extension types, so that any language can
// take part. Bytes fields are copied out of the frame, so a value that is kept for long
// does not keep the frame that it came in.

import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import { Packr } from 'msgpackr'
import { type Envelope, isEnvelope } from './envelope.ts'
import { REFUSED, scan } from './scan.ts'

// useToJSON off: a map from a peer may have a key of that name. Integers above 32 bits
// leave as float64 and are taken as uint64 too.
const packr = new Packr({
  useRecords: false,
  int64AsType: 'number',
  useToJSON: false,
  copyBuffers: true,
})

/**
 * The bytes of a frame. They are part of a larger buffer that is never written again at
 * that place: safe to keep until a socket has taken them. The body must be free of
 * undefined fields (encodeRequest and encodeAnswer see to that).
 */
export const toBytes = (envelope: Envelope): Uint8Array => packr.pack(envelope)

/** A frame's envelope; its body is of any shape, but plain and within the scan's limits. */
export const fromBytes = (bytes: Uint8Array): Either<'not-a-frame', Envelope> => {
  const entries = scan(bytes)
  if (entries === REFUSED) return notAFrame
  try {
    const value: unknown = packr.unpack(bytes)
    return isEnvelope(value, entries) ? E.right(value) : notAFrame
  } catch {
    return notAFrame
  }
}

/** A value by itself, as bytes: what travels inside a message, to be read elsewhere. */
export const packed = (value: unknown): Uint8Array => packr.pack(value)

/** A map of such bytes; plain, and within the scan's limits. */
export const unpacked = (bytes: Uint8Array): Either<'not-packed', object> => {
  if (scan(bytes) === REFUSED) return notPacked
  try {
    const value: unknown = packr.unpack(bytes)
    return typeof value === 'object' && value !== null ? E.right(value) : notPacked
  } catch {
    return notPacked
  }
}

const notAFrame = E.left<'not-a-frame'>('not-a-frame')
const notPacked = E.left<'not-packed'>('not-packed')
