// What happens on a TCP connection before the first frame, in words and with a worked
// example that another language can compute again; and the times that roles keep.

import { createPublicKey } from 'node:crypto'
import { REFUSALS } from '../dist/src/identity/refusals.js'
import { meshIdOf, namesOf, nodeIdOf } from '../dist/src/identity/subject.js'
import { managerDefaults } from '../dist/src/machines/manager-config.js'
import { BACKOFF_MS } from '../dist/src/machines/relationship-asking.js'
import { TOMBSTONES } from '../dist/src/machines/tombstones.js'
import {
  CLOSE_COPIED,
  CLOSE_FALSE_CLAIM,
  CLOSE_NO_MEMBER,
} from '../dist/src/mesh/closing.js'
import { PROBE_MS } from '../dist/src/mesh/pairs.js'
import { ALPN } from '../dist/src/mesh/tls.js'
import { HANDSHAKE_MS, REFUSED, SUBPROTOCOL } from '../dist/src/mesh/transport.js'
import { WORKER_DEFAULTS } from '../dist/src/roles/worker-config.js'

/** A key that never changes, so that what follows from it is always the same. */
const SPKI_HEX =
  '3059301306072a8648ce3d020106082a8648ce3d0301070342000411a0e3591c8580a9a965affe9ac6fb41d6e586e10794e45eafb7b9113b8094bf2ee10c2ac557eee7f33db6dabbb2466772eada9c800807124924c863f98fc978'

const example = () => {
  const der = Buffer.from(SPKI_HEX, 'hex')
  const key = createPublicKey({ key: der, format: 'der', type: 'spki' })
  const party = { role: 'worker', nodeId: nodeIdOf(key), hostName: 'pi' }
  const [uri, dns] = namesOf(meshIdOf(key), party)
  return {
    spki_hex: SPKI_HEX,
    mesh_id_if_it_were_the_authority: meshIdOf(key),
    node_id: party.nodeId,
    names: `URI:${uri.value}, DNS:${dns.value}`,
  }
}

const upgrade = () => ({
  about:
    'TLS 1.3 with a certificate at both ends, then one HTTP/1.1 request: the WebSocket upgrade. Both ends believe the authority of their mesh and nobody else.',
  files: {
    directory:
      'given, else $XDG_STATE_HOME/manyhands (if absolute), else ~/.local/state/manyhands',
    authority: "mesh/ca.pem, the certificate of the mesh's authority",
    client:
      'mesh/client/key.pem and cert.pem, with which every program of this user may connect as role client',
    nodes:
      'nodes/ROLE@NAME/identity/key.pem and cert.pem of each node here; manyhands issue makes such a directory for any other member',
    addresses:
      'nodes/*/address.json, one of each node that runs: a JSON object with node_id, boot_id, role, host_name, pid, url (wss://HOST:PORT)',
  },
  tls: {
    version: '1.3',
    alpn: ALPN,
    server_name: 'none is sent',
    resumption: 'none: a resumed session is refused',
    client:
      "shows its certificate; checks that the server's is signed by ca.pem, in its dates and for server authentication, and its names as below",
  },
  certificate: {
    keys: 'P-256',
    names:
      'the subject alternative names, exactly these two in this order: URI:mesh://MESH_ID/ROLE/NODE_ID, DNS:HOST_NAME.mesh.internal; the URI may end in ? and rights',
    rights:
      "what the issuer gives besides, as the fields of a form (application/x-www-form-urlencoded; * - . _ stand as they are), at most 4096 letters of A-Z a-z 0-9 * . _ % & = + -: scope, any number of times, is a client's; label, as NAME=VALUE, any number of times, is a worker's. Fields and scopes that are not known are passed over: they give nothing",
    mesh_id:
      "the first 20 hex digits of the SHA-256 of the authority's public key (SubjectPublicKeyInfo, DER)",
    node_id: "the first 32 hex digits of the SHA-256 of the node's own",
    usages: 'server and client authentication',
    example: example(),
  },
  request: `GET / HTTP/1.1 with Upgrade: websocket, Sec-WebSocket-Version: 13, Sec-WebSocket-Key and Sec-WebSocket-Protocol: ${SUBPROTOCOL}, and without Origin; the answer is 101 with Sec-WebSocket-Protocol: ${SUBPROTOCOL}`,
  refused: `a refusal is an HTTP answer (403; 400 for subprotocol, 426 for not-a-websocket) that closes; ${REFUSED} holds one of these words, the body says it in a sentence, Date is the server's clock. It may come before any request was sent.`,
  refused_header: REFUSED,
  refusals: REFUSALS,
  within_ms: HANDSHAKE_MS,
  masks:
    'frames of whoever dialled are masked (RFC 6455 section 5.3); the key may be all zeros. No extensions (permessage-deflate) are accepted.',
  afterwards:
    'the introduction must name the role, the host name and the node id of the certificate (a client appends a slash and a name of this connection to its node id: a client may have many): else Error{forbidden} and close 4410',
})

export const surroundings = () => ({
  subprotocol: SUBPROTOCOL,
  minor: 0,
  closeCodes: {
    1001: 'going away: the node closes in good order',
    1009: 'a frame larger than the max_frame that the receiver stated',
    1011: 'a mistake of the closing side',
    [CLOSE_COPIED]: 'another living node has this node_id: a state directory was copied',
    [CLOSE_FALSE_CLAIM]:
      'another role, node_id or host_name than the certificate has, or another role than before in the same boot',
    [CLOSE_NO_MEMBER]:
      'the far end is no member any more: it was taken out of the mesh, or its certificate has ended',
  },
  upgrade: upgrade(),
  timing: {
    ping_ms: managerDefaults.pingMs,
    worker_lease_ms: managerDefaults.workerLeaseMs,
    manager_lease_ms: managerDefaults.managerLeaseMs,
    second_socket_probe_ms: PROBE_MS,
    request_backoff_first_ms: BACKOFF_MS.first,
    request_backoff_most_ms: BACKOFF_MS.most,
    tombstone_ms: TOMBSTONES.ageMs,
    tombstones: TOMBSTONES.count,
    kill_grace_ms: WORKER_DEFAULTS.killGraceMs,
    unread_stream_ms: WORKER_DEFAULTS.unreadStreamMs,
    kept_output_ms: WORKER_DEFAULTS.retention.ageMs,
    refused_port_dials_gap_ms: managerDefaults.probeGapMs,
    deadline_slack_ms: managerDefaults.deadlineSlackMs,
    max_losses: managerDefaults.maxLosses,
    max_wait_ms: managerDefaults.maxWaitMs,
  },
})
