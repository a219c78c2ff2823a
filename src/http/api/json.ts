// JSON: the protocol's bodies as JSON and back. Bytes are base64 there, as the protocol's
// published schemas have it.

import { createHash } from 'node:crypto'

/** With bytes as base64. */
export const jsonOf = (value: unknown): string =>
  JSON.stringify(value, (_key, its: unknown) => {
    // A Buffer has become a list of numbers before it gets here.
    if (isBufferJson(its)) return Buffer.from(its.data).toString('base64')
    return its instanceof Uint8Array ? Buffer.from(its).toString('base64') : its
  })

const isBufferJson = (value: unknown): value is { readonly data: number[] } =>
  typeof value === 'object' &&
  value !== null &&
  'type' in value &&
  value.type === 'Buffer' &&
  'data' in value &&
  Array.isArray(value.data)

/** Strong: equal bodies are equal bytes. */
export const etagOf = (body: string): string =>
  `"${createHash('sha1').update(body).digest('base64url')}"`

/** `stdin` as the protocol has it, of an object that has it in base64. */
export const withBytes = (value: object): object =>
  'stdin' in value && typeof value.stdin === 'string'
    ? { ...value, stdin: new Uint8Array(Buffer.from(value.stdin, 'base64')) }
    : value
