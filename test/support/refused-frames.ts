// Refused frames: bytes that are no frame, each for one reason. They are published in
// protocol/golden.json, so that every implementation can be held to the same.

import { pack } from 'msgpackr'

export interface RefusedFrame {
  readonly why: string
  readonly bytes: Uint8Array
}

const text = (value: string): number[] => [0xa0 | value.length, ...Buffer.from(value)]

/** `{q: 1, k: "NodesList", b: <bytes>, t: 1000}`: all of it right but the body. */
const around = (...body: readonly number[]): Uint8Array =>
  Uint8Array.from([
    ...[0x84, ...text('q'), 1, ...text('k'), ...text('NodesList')],
    ...[...text('b'), ...body, ...text('t'), 0xcd, 0x03, 0xe8],
  ])

const key = (...bytes: readonly number[]): Uint8Array => around(0x81, ...bytes, 1)
const good = { q: 1, k: 'NodesList', b: {}, t: 1000 }
const without = (name: keyof typeof good): Uint8Array => {
  const { [name]: _, ...rest } = good
  return pack(rest)
}

export const refusedFrames: readonly RefusedFrame[] = [
  { why: 'no bytes', bytes: new Uint8Array() },
  { why: 'a number instead of a map', bytes: Uint8Array.of(1) },
  { why: 'an array instead of a map', bytes: pack([1, 'NodesList', {}, 1000]) },
  { why: 'bytes left over', bytes: Uint8Array.from([...around(0x80), 0xc0]) },
  {
    why: 'two frames in one message',
    bytes: Uint8Array.from([...around(0x80), ...around(0x80)]),
  },
  { why: 'cut off', bytes: around(0x80).subarray(0, -1) },
  { why: 'deeper than 32', bytes: around(...new Array(32).fill(0x91), 0xc0) },
  {
    why: 'an array that claims more items than there are bytes',
    bytes: around(0xdd, 255, 255, 255, 255),
  },
  {
    why: 'a map that claims more keys than there are bytes',
    bytes: around(0xdf, 255, 255, 255, 255),
  },
  { why: 'the byte that MessagePack does not use', bytes: around(0xc1) },
  { why: 'a timestamp: an extension', bytes: around(0xd6, 0xff, 0, 0, 0, 0) },
  { why: 'an extension of one byte', bytes: around(0xd4, 0, 0) },
  { why: 'an extension with its length', bytes: around(0xc7, 1, 1, 0) },
  { why: 'a number as key', bytes: key(1) },
  { why: 'nil as key', bytes: key(0xc0) },
  { why: 'bytes as key', bytes: key(0xc4, 1, 97) },
  { why: 'a key of 256 bytes', bytes: key(0xda, 1, 0, ...new Array(256).fill(97)) },
  { why: '__proto__ as key', bytes: key(...text('__proto__')) },
  { why: 'both q and a', bytes: pack({ ...good, a: 1 }) },
  { why: 'neither q nor a', bytes: without('q') },
  { why: 'a request without t', bytes: without('t') },
  { why: 'a request without a body', bytes: without('b') },
  { why: 'a request without a kind', bytes: without('k') },
  { why: 'an answer with t', bytes: pack({ a: 1, k: 'Ack', b: {}, t: 1000 }) },
  { why: 'the id 0', bytes: pack({ ...good, q: 0 }) },
  { why: 'a negative id', bytes: pack({ ...good, q: -1 }) },
  { why: 'an id that is a text', bytes: pack({ ...good, q: '1' }) },
  { why: 'an id that is not whole', bytes: pack({ ...good, q: 1.5 }) },
  { why: 't of 0', bytes: pack({ ...good, t: 0 }) },
  { why: 'a kind that is a number', bytes: pack({ ...good, k: 1 }) },
  { why: 'a key more', bytes: pack({ ...good, x: 1 }) },
  {
    why: 'a key twice',
    bytes: Uint8Array.from([
      0x84,
      ...text('q'),
      1,
      ...text('q'),
      2,
      ...text('k'),
      ...text('A'),
      ...text('b'),
      0x80,
    ]),
  },
]
