// Hub: asking any node of the mesh by its host_name, over one connection. (Source: the
// BlueZero HUB, whose requests are the process manager's with a `host_name` beside.)
//
// A hub routes, it does not vouch. What only reads it asks for itself, if the client may read
// there. What executes, signals or writes carries the client's own signature over the bytes
// as sent, which the host itself checks (protocol/README.md, "Signed requests"). Both travel
// packed: the hub hands them on as they are.

import * as t from 'io-ts'
import { exchange } from '../exchange.ts'
import { ProcessInfo } from '../process.ts'
import {
  Bytes,
  fields,
  HostName,
  List,
  Milliseconds,
  OpenWord,
  Pattern,
  Text,
} from '../scalars.ts'

/** A packed request or answer: what fits a frame beside what goes around it. */
const Packed = Bytes(1024 * 1024)
/** SHA-256 of a certificate (DER), in hex. */
const CertificateId = Pattern('CertificateId', 64, /^[0-9a-f]{64}$/)

/** `kind` and `body` of what only reads, or `s`, `sig` and `cert_id` of what is signed. */
const HostAsk = {
  kind: Text(64),
  /** The request's body, packed. */
  body: Packed,
  /** A SignedRequest, packed, and the signature over these very bytes. */
  s: Packed,
  sig: Bytes(64),
  cert_id: CertificateId,
  /** The client's certificate (DER), for a host that does not have it. */
  cert: Bytes(8192),
}

/** The host does not have that certificate: the same again, with `cert`. */
const CertificateNeeded = fields({})

/**
 * What a client signs. `to`: the host_name; `from`: the client's node id, as in its
 * certificate; `id`: never used by it for anything else. The same again within `exp` gets the
 * same answer, and nothing is done twice. `iat`, `exp`: Unix milliseconds.
 */
export const SignedRequest = fields({
  to: HostName,
  from: Text(64),
  id: Text(64),
  iat: Milliseconds,
  exp: Milliseconds,
  kind: Text(64),
  body: Packed,
})
export type SignedRequest = t.TypeOf<typeof SignedRequest>

export const HubFailure = OpenWord(
  'HubFailure',
  ['unknown-host', 'host-unreachable', 'deadline'],
  'host-unreachable',
)
export type HubFailure = t.TypeOf<typeof HubFailure>

/** What runs on one host. */
const HostProcesses = fields(
  { host_name: HostName, processes: List(ProcessInfo, 1000) },
  {
    /** Why the host did not say. */
    failed: Text(1024),
    /** It has more of them than fit: ask the host. */
    more: t.boolean,
  },
)

export const hub = {
  HubForward: exchange({
    direction: 'client -> hub',
    scope: 'read',
    about:
      'Asks the node `host_name` through the hub, which waits for it `within_ms`. What is signed is checked by the host, with all that its sender may do there.',
    request: fields({ host_name: HostName, within_ms: Milliseconds }, HostAsk),
    answers: {
      /** The host's own answer: its kind, and its body, packed. */
      HubForwarded: fields({ kind: Text(64), body: Packed }),
      /** `deadline`, and `host-unreachable` once it was sent: the host may have done it. `since_ms`: when it went away. */
      HubFailed: fields(
        { reason: HubFailure, message: Text(1024) },
        { since_ms: Milliseconds },
      ),
      CertificateNeeded,
    },
  }),
  HubProcesses: exchange({
    direction: 'client -> hub',
    scope: 'read',
    about:
      'The processes of all hosts that run programs by name, as ProcessList tells them, a page of hosts at a time, by host_name. A host that does not answer `within_ms` has `failed`.',
    request: fields({ within_ms: Milliseconds }, { all: t.boolean, after: HostName }),
    answers: {
      HubProcessesList: fields({ hosts: List(HostProcesses, 64) }, { next: HostName }),
    },
  }),
  HostRequest: exchange({
    direction: 'hub -> any',
    feature: 'host-requests',
    about:
      'Hands on what a client asks of this node: what only reads on the word of the hub, all else on the signature of the client.',
    request: fields({}, HostAsk),
    answers: {
      HostAnswer: fields({ kind: Text(64), body: Packed }),
      CertificateNeeded,
    },
  }),
}
