// Members of a mesh that exists for one test file: certificates of one authority, made when
// they are asked for.

import { type KeyObject, X509Certificate } from 'node:crypto'
import { ALL_SCOPES, type Introduction } from '../../protocol/index.ts'
import { systemClock } from '../../src/clock.ts'
import type { Credentials } from '../../src/identity/credentials.ts'
import { type Grant, nodeIdOf, type Party } from '../../src/identity/subject.ts'
import {
  type Authority,
  certify,
  makeAuthority,
  makeKeys,
  toPem,
} from '../../src/identity/x509.ts'
import { tlsTransport } from '../../src/mesh/tls.ts'
import type { Transport } from '../../src/mesh/transport.ts'
import { introductionOf } from './introductions.ts'

interface Keys {
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
}

let authority: Promise<Authority> | undefined
const known = new Map<string, Keys>()

/** The authority of this file's mesh. */
export const ownAuthority = (): Promise<Authority> => {
  authority ??= makeAuthority()
  return authority
}

export const credentialsFrom = (
  { meshId, certificatePem: trustPem }: Authority,
  party: Party,
  { privateKey }: Keys,
  certificatePem: string,
): Credentials => {
  const { validFrom, validTo } = new X509Certificate(certificatePem)
  return {
    meshId,
    party,
    keyPem: toPem(privateKey),
    certificatePem,
    trustPem,
    notBeforeMs: Date.parse(validFrom),
    notAfterMs: Date.parse(validTo),
  }
}

export interface Member {
  readonly self: Introduction
  readonly credentials: Credentials
  readonly transport: Transport
}

/** A member with a certificate that fits its introduction; a node_id that was made here again is the same key. */
export const memberOf = async (
  given: Partial<Introduction> = {},
  by: Promise<Authority> = ownAuthority(),
  grant: Grant = {},
): Promise<Member> => {
  const keys = known.get(given.node_id ?? '') ?? makeKeys()
  const nodeId = nodeIdOf(keys.publicKey)
  known.set(nodeId, keys)
  const self = introductionOf({ ...given, node_id: nodeId })
  const party = {
    role: self.node_type,
    nodeId,
    hostName: self.host_name,
    ...(self.node_type === 'client' && { scopes: ALL_SCOPES }),
    ...grant,
  }
  const certificate = await certify(await by, party, keys.publicKey)
  const credentials = credentialsFrom(await by, party, keys, certificate)
  const transport = tlsTransport({ credentials, clock: systemClock })
  return { self, credentials, transport }
}
