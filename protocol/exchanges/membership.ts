// Membership: what keeps members in a mesh and takes them out of it. Certificates are
// renewed, and the list of who is out is spread, without any connection being ended for it.
//
// No trust is asked of who passes these on: a new certificate is for the key and the names
// of the old one, so it serves its holder alone; a list counts by its signature. Inviting
// and taking out is another matter: that is asked of a node with the authority's key itself,
// by a client whose certificate says `admin`, and nobody passes it on.

import type * as t from 'io-ts'
import { exchange } from '../exchange.ts'
import {
  Bytes,
  fields,
  HostName,
  List,
  Milliseconds,
  NodeId,
  NodeType,
  Text,
  Uint,
  Word,
} from '../scalars.ts'
import { Scope } from '../scopes.ts'
import { Labels } from '../task.ts'

/** X.509, DER. */
const Certificate = Bytes(8192)

/** Bytes of a list with its signature: some 5,000 members who were taken out in 91 days. */
export const MAX_REVOCATIONS = 512 * 1024

const Refused = fields(
  { reason: Text(64), message: Text(1024) },
  { retry_after_ms: Milliseconds },
)

/** One that was let in. */
export const MemberInfo = fields(
  {
    host_name: HostName,
    node_id: NodeId,
    state: Word('MemberState', ['member', 'revoked']),
    /** When it was let in, or taken out. */
    since_ms: Milliseconds,
  },
  {
    role: NodeType,
    where: Word('MemberPlace', ['here', 'elsewhere']),
    scopes: List(Scope, 64),
    labels: Labels,
  },
)
export type MemberInfo = t.TypeOf<typeof MemberInfo>

export const membership = {
  CertificateRenew: exchange({
    direction: 'any -> any',
    feature: 'membership',
    about:
      'Asks for a new certificate with the key and the names of this one, which must be due (two thirds of its life are over). Answered where the key of the authority is; everybody else passes it on to a connected peer that lists the feature `issuer`. Managers may ask for others.',
    request: fields({ certificate: Certificate }),
    answers: { CertificateRenewed: fields({ certificate: Certificate }), Refused },
  }),
  CertificateShow: exchange({
    direction: 'any -> any',
    feature: 'membership',
    about:
      'Shows a newer certificate for the key of this connection, which then lives until its end instead.',
    request: fields({ certificate: Certificate }),
    answers: { Ack: fields({}), Refused },
  }),
  RevocationsRead: exchange({
    direction: 'any -> any',
    feature: 'membership',
    waits: true,
    about:
      'Reads the list of who was taken out of the mesh, when there is one newer than `after`; else the answer comes after `wait_ms`, without a list.',
    request: fields({ after: Uint, wait_ms: Milliseconds }),
    answers: {
      Revocations: fields(
        /** Of the newest list that the asked node has; 0: it has none. */
        { number: Uint },
        {
          /**
           * 64 bytes of signature (P-256, SHA-256, IEEE P1363) by the authority over
           * `manyhands-revoked-1\\0` and the rest; the rest is JSON in UTF-8: `{ mesh_id,
           * number, revoked: [{ node_id, host_name, at_ms }] }`.
           */
          signed: Bytes(MAX_REVOCATIONS),
        },
      ),
    },
  }),
  InviteCreate: exchange({
    direction: 'client -> any',
    scope: 'admin',
    feature: 'issuer',
    about:
      'Opens an invitation at the asked node, for `ttl_ms` or until it was used `uses` times. Whoever has the token joins at one of the addresses.',
    request: fields(
      { role: NodeType, ttl_ms: Milliseconds, uses: Uint },
      { name: HostName, scopes: List(Scope, 64), labels: Labels },
    ),
    answers: {
      InviteCreated: fields({
        token: Text(100),
        /** HOST:PORT, where it waits; none: nobody else can reach that node. */
        at: List(Text(300), 64),
        expires_ms: Milliseconds,
      }),
      Refused,
    },
  }),
  MembersList: exchange({
    direction: 'client -> any',
    scope: 'admin',
    feature: 'issuer',
    about: 'Who was let into the mesh, and who was taken out, by name, a page at a time.',
    request: fields({ after: Uint }),
    answers: {
      MembersListed: fields({ members: List(MemberInfo, 1000) }, { next: Uint }),
      Refused,
    },
  }),
  MembersRevoke: exchange({
    direction: 'client -> any',
    scope: 'admin',
    feature: 'issuer',
    about:
      'Takes members out of the mesh, with the command line that came with each. Answered when the list is on disk; the nodes hear of it then.',
    request: fields({ names: List(HostName, 256) }),
    answers: {
      MembersRevoked: fields({
        revoked: List(fields({ host_name: HostName, role: NodeType }), 1024),
        unknown: List(HostName, 256),
      }),
      Refused,
    },
  }),
}
