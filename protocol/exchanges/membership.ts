// Membership: what keeps members in a mesh and takes them out of it. Certificates are
// renewed, and the list of who is out is spread, without any connection being ended for it.
//
// No trust is asked of who passes these on: a new certificate is for the key and the names
// of the old one, so it serves its holder alone; a list counts by its signature.

import { exchange } from '../exchange.ts'
import { Bytes, fields, Milliseconds, Text, Uint } from '../scalars.ts'

/** X.509, DER. */
const Certificate = Bytes(8192)

/** Bytes of a list with its signature: some 5,000 members who were taken out in 91 days. */
export const MAX_REVOCATIONS = 512 * 1024

const Refused = fields(
  { reason: Text(64), message: Text(1024) },
  { retry_after_ms: Milliseconds },
)

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
}
