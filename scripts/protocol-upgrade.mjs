// What happens on a TCP connection before the first frame, in words and with a worked
// example that another language can compute again; and the times that roles keep.

import { prove } from '../dist/src/identity/secret.js'
import { managerDefaults } from '../dist/src/machines/manager-config.js'
import { BACKOFF_MS } from '../dist/src/machines/relationship-asking.js'
import { TOMBSTONES } from '../dist/src/machines/tombstones.js'
import { CLOSE_COPIED, CLOSE_FALSE_CLAIM } from '../dist/src/mesh/closing.js'
import { PROBE_MS } from '../dist/src/mesh/pairs.js'
import { HANDSHAKE_MS, HEADER, SUBPROTOCOL } from '../dist/src/mesh/transport.js'
import { WORKER_DEFAULTS } from '../dist/src/roles/worker-config.js'

/** A meeting with every part fixed, so that the proofs are always the same. */
const example = () => {
  const secret = Uint8Array.from({ length: 32 }, (_, index) => index)
  const meeting = {
    meshId: '00112233445566778899aabbccddeeff',
    clientNonce: 'c1'.repeat(24),
    serverNonce: '5e'.repeat(24),
    address: '127.0.0.1',
    port: 4711,
  }
  const server = { role: 'manager', nodeId: 'aa'.repeat(16) }
  const client = { role: 'worker', nodeId: 'bb'.repeat(16) }
  const textOf = (side, { role, nodeId }) =>
    JSON.stringify([
      ...[SUBPROTOCOL, side, meeting.meshId, role, nodeId],
      ...[meeting.clientNonce, meeting.serverNonce, meeting.address, meeting.port],
    ])
  return {
    secret_hex: Buffer.from(secret).toString('hex'),
    server_text: textOf('server', server),
    server_proof: prove(secret, 'server', server, meeting),
    client_text: textOf('client', client),
    client_proof: prove(secret, 'client', client, meeting),
  }
}

const upgrade = () => ({
  about:
    'HTTP/1.1, two requests on one TCP connection: the first asks for a nonce and the proof of the server, the second is the WebSocket upgrade with the proof of the client. Both ends prove that they know the secret of the mesh, which never travels. Header names are in any case.',
  secret: {
    files:
      'in the state directory: mesh/mesh.json, a JSON object whose mesh_id is 32 hex digits; mesh/secret, 32 bytes as they are',
    directory:
      'given, else $XDG_STATE_HOME/manyhands (if absolute), else ~/.local/state/manyhands',
    addresses:
      'nodes/*/address.json, one of each node that runs: a JSON object with node_id, boot_id, role, host_name, pid, url (ws://HOST:PORT)',
  },
  headers: HEADER,
  steps: [
    {
      from: 'client',
      sends: 'GET / HTTP/1.1, no upgrade',
      headers: [HEADER.mesh, HEADER.role, HEADER.node, HEADER.nonce],
      values:
        'the mesh id; the role that the client will introduce itself with; its node id; a fresh nonce, 48 hex digits in lower case',
    },
    {
      from: 'server',
      sends: '401 with Content-Length: 0, on a connection that is kept open',
      headers: [HEADER.role, HEADER.node, HEADER.nonce, HEADER.proof],
      values:
        'its role; its node id; a fresh nonce likewise; its proof, which the client checks before it goes on',
    },
    {
      from: 'client',
      sends: `GET / HTTP/1.1 on the same TCP connection, with Upgrade: websocket, Sec-WebSocket-Version: 13, Sec-WebSocket-Key and Sec-WebSocket-Protocol: ${SUBPROTOCOL}`,
      headers: [HEADER.proof],
      values: 'the proof of the client',
    },
    { from: 'server', sends: `101, with Sec-WebSocket-Protocol: ${SUBPROTOCOL}` },
  ],
  proof: {
    algorithm:
      'HMAC-SHA256, key: the 32 bytes of the secret, message: the text below in UTF-8, written as 64 hex digits in lower case',
    text: 'a JSON array without spaces: subprotocol, side, mesh id, role, node id, client nonce, server nonce, address, port',
    parts:
      'side: "server" or "client", whoever proves; role and node id: of whoever proves; address and port: the server end of this TCP connection as the system of each end names it (so 127.0.0.1, not localhost), the port a number, all others strings',
    example: example(),
  },
  refusals: {
    400: `an upgrade that does not offer ${SUBPROTOCOL}`,
    401: 'an upgrade on a connection whose nonce was not asked for, or used before',
    403: 'an Origin header (browsers), another mesh id, or a proof that is wrong',
    426: 'a first request without these headers',
  },
  refused: `a refusal closes the connection; ${HEADER.refused} holds the reason in words`,
  within_ms: HANDSHAKE_MS,
  masks:
    'frames of whoever dialled are masked (RFC 6455 section 5.3); the key may be all zeros. No extensions (permessage-deflate) are accepted.',
  afterwards:
    'the introduction must name the role and the node id that were proven: else Error{forbidden} and close 4410',
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
      'another role or node_id than was proven, or another role than before in the same boot',
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
