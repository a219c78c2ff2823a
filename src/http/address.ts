// Address: where an HTTP face listens: `127.0.0.1:8700`, `[::1]:8700`, `unix:PATH`, or `unix`
// for a socket in the node's own folder.

import { isIP } from 'node:net'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'

export type FaceAddress =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  /** Undefined: in the node's own folder. */
  | { readonly kind: 'unix'; readonly path: string | undefined }

/** A longer path is cut off by the system, silently: the socket would be elsewhere. */
export const MAX_SOCKET_PATH = 107

const EXPECTED =
  'IP:PORT as 127.0.0.1:8700, unix:/an/absolute/path (of at most 107 bytes), or unix'

/** Left: what was expected. */
export const parseFaceAddress = (text: string): Either<string, FaceAddress> => {
  if (text === 'unix') return E.right({ kind: 'unix', path: undefined })
  const path = /^unix:(\/.+)$/.exec(text)?.[1]
  if (path !== undefined)
    return isSocketPath(path) ? E.right({ kind: 'unix', path }) : E.left(EXPECTED)
  const [, six, four, port = ''] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? []
  const host = six ?? four ?? ''
  return isIP(host) === 0 || Number(port) > 65_535
    ? E.left(EXPECTED)
    : E.right({ kind: 'tcp', host, port: Number(port) })
}

export const isSocketPath = (path: string): boolean =>
  Buffer.byteLength(path) <= MAX_SOCKET_PATH && !path.includes('\0')

export const isLoopbackFace = (address: FaceAddress): boolean =>
  address.kind === 'unix' || address.host.startsWith('127.') || address.host === '::1'
