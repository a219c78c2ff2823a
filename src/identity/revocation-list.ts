// The list of who was taken out of the mesh, as bytes: signed by the authority, numbered,
// and complete each time, so that whoever has a newer one needs no older one.
//
//   64 bytes of signature | JSON { mesh_id, number, revoked: [{ node_id, host_name, at_ms }] }
//
// What is signed are the bytes that travel and lie on disk: nobody ever writes them anew.

import { type KeyObject, sign, verify } from 'node:crypto'
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'
import { HostName, NodeId, Uint } from '../../protocol/scalars.ts'
import type { Trust } from './credentials.ts'

/** So that a signature made for one purpose serves for no other. */
const CONTEXT = Buffer.from('manyhands-revoked-1\0')
const SIGNATURE_BYTES = 64
/** ECDSA as two numbers of a fixed length, which every library can make and read. */
const FORM = { dsaEncoding: 'ieee-p1363' } as const

const List = t.type({
  mesh_id: t.string,
  number: Uint,
  revoked: t.array(t.type({ node_id: NodeId, host_name: HostName, at_ms: t.number })),
})

/** Somebody who was a member. */
export type Revoked = t.TypeOf<typeof List>['revoked'][number]

export interface RevocationList {
  /** A newer list has a greater one; 0: there is none yet. */
  readonly number: number
  readonly revoked: readonly Revoked[]
  /** As it was signed; empty if there is none. */
  readonly bytes: Uint8Array
}

export const noRevocations: RevocationList = {
  number: 0,
  revoked: [],
  bytes: new Uint8Array(),
}

/** The list, if this mesh's authority signed exactly these bytes. */
export const readList = (
  bytes: Uint8Array,
  { meshId, certificate }: Trust,
): RevocationList | undefined => {
  const signature = bytes.subarray(0, SIGNATURE_BYTES)
  const text = bytes.subarray(SIGNATURE_BYTES)
  const key = { key: certificate.publicKey, ...FORM }
  if (!verify('sha256', Buffer.concat([CONTEXT, text]), key, signature)) return undefined
  // Only now is it parsed: the authority wrote it.
  const list = List.decode(JSON.parse(Buffer.from(text).toString()))
  if (E.isLeft(list) || list.right.mesh_id !== meshId) return undefined
  const { number, revoked } = list.right
  return { number, revoked, bytes }
}

/** A new list, by who has the authority's key. */
export const signList = (
  { meshId }: Trust,
  key: KeyObject,
  { number, revoked }: Omit<RevocationList, 'bytes'>,
): RevocationList => {
  const text = Buffer.from(JSON.stringify({ mesh_id: meshId, number, revoked }))
  const signature = sign('sha256', Buffer.concat([CONTEXT, text]), { key, ...FORM })
  return { number, revoked, bytes: Buffer.concat([signature, text]) }
}
