// What is said while somebody joins: one line of JSON each way, over TLS whose key is the
// invitation's secret. Not part of the mesh's protocol: it ends where membership begins.

import { createHash, type KeyObject, sign, verify } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import * as t from 'io-ts'
import { HostName, Text } from '../../protocol/scalars.ts'

export const JOIN_ALPN = 'manyhands-join/1'
export const JOIN_CIPHERS = 'TLS_AES_128_GCM_SHA256'
/** Each line, and the whole of it. */
export const MAX_LINE = 16_384
export const JOIN_MS = 5000

/** A key to be certified, with proof that whoever asks has its private half. */
const Candidate = t.strict({ spki: Text(200), proof: Text(200) })

export const JoinRequest = t.intersection([
  t.strict({
    name: HostName,
    /** No other name will do. */
    is_fixed: t.boolean,
    /** Of the command line on that machine. */
    client: Candidate,
  }),
  // None where the invitation is for a client alone.
  t.partial({ node: Candidate }),
])
export type JoinRequest = t.TypeOf<typeof JoinRequest>

const Joined = t.intersection([
  t.strict({
    ca: Text(4096),
    name: HostName,
    client_name: HostName,
    client_cert: Text(4096),
    /** The inviting side's clock, in Unix milliseconds. */
    now_ms: t.number,
    /** Where managers listen, as this caller can reach them. */
    peers: t.array(Text(300)),
  }),
  t.partial({ node_cert: Text(4096) }),
])
export type Joined = t.TypeOf<typeof Joined>

export const JOIN_REFUSALS = {
  used: 'the invitation has been used already; ask for another one',
  expired: 'the invitation has expired; ask for another one',
  name: 'the name is taken in this mesh, or the invitation is for another one; choose another with --name',
  malformed: 'the request was not understood; are both of one version?',
  proof: 'the request did not prove that it has the keys',
  failed: 'the machine that invites could not do its part, and says there why; try again',
} as const
export type JoinRefusal = keyof typeof JOIN_REFUSALS

const Refused = t.strict({ refused: t.keyof(JOIN_REFUSALS) })

export const JoinAnswer = t.union([Refused, Joined])
export type JoinAnswer = t.TypeOf<typeof JoinAnswer>

/**
 * What a candidate signs: secrets of this very connection, the name and the use that it asks
 * for. So a proof serves nobody else, and nowhere else.
 */
const statement = (socket: TLSSocket, use: 'node' | 'client', name: string): Buffer => {
  const context = createHash('sha256').update(`${use}\0${name}`).digest()
  return socket.exportKeyingMaterial(32, 'EXPORTER-manyhands-join', context)
}

export interface Proof {
  readonly socket: TLSSocket
  readonly use: 'node' | 'client'
  readonly name: string
}

export const proveKey = ({ socket, use, name }: Proof, key: KeyObject): string =>
  sign('sha256', statement(socket, use, name), key).toString('base64')

export const isKeyProven = (
  { socket, use, name }: Proof,
  key: KeyObject,
  proof: string,
): boolean =>
  verify('sha256', statement(socket, use, name), key, Buffer.from(proof, 'base64'))

/** Calls back once, with the first line or with why there is none. */
export const readLine = (
  socket: TLSSocket,
  settle: (line: string | undefined) => void,
): void => {
  let text = ''
  const end = (line: string | undefined) => {
    socket.off('data', onData)
    socket.off('close', onClose)
    settle(line)
  }
  const onClose = () => end(undefined)
  const onData = (bytes: Buffer) => {
    text += bytes
    const at = text.indexOf('\n')
    if (at >= 0) end(text.slice(0, at))
    else if (text.length > MAX_LINE) end(undefined)
  }
  socket.on('data', onData)
  socket.on('close', onClose)
}

/** JSON, or undefined. */
export const parseJson = (line: string | undefined): unknown => {
  try {
    return line === undefined ? undefined : JSON.parse(line)
  } catch {
    return undefined
  }
}
