// The upgrade: who gets in, and who is sent away with which word.

import type { Case } from '../case.ts'
import { askHttp, claimOf, meet, nonce, openSocket, proofOf, UPGRADE } from '../door.ts'
import { identity } from '../peer.ts'
import { facts } from '../protocol.ts'
import { equal, expect, type Stage } from '../stage.ts'
import type { Target } from '../target.ts'

const HEADER = facts.upgrade.headers
const NODE = () => identity('client').node_id

/** One request on a connection of its own. */
const knock = async (target: Target, headers: Readonly<Record<string, string>>) => {
  const socket = await openSocket(target)
  try {
    return await askHttp(socket, headers)
  } finally {
    socket.destroy()
  }
}

const claim = (target: Target) =>
  claimOf(target, { role: 'client', nodeId: NODE(), clientNonce: nonce() })

/** An upgrade after a good first request, with these headers more. */
const upgrade = async (
  { target }: Stage,
  headersOf: (proof: string, answer: Readonly<Record<string, string>>) => object,
) => {
  const { socket, meeting, answer } = await meet(target, 'client', NODE())
  try {
    const proof = proofOf(target, 'client', meeting, socket)
    return await askHttp(socket, { ...UPGRADE, ...headersOf(proof, answer.headers) })
  } finally {
    socket.destroy()
  }
}

const REFUSED = 'A refusal has the reason in words in `manyhands-refused`, and closes'

export const upgradeCases: readonly Case[] = [
  {
    name: 'upgrade: it proves itself',
    role: 'any',
    rule: 'The answer is 401, with `manyhands-role`, `manyhands-node`, `manyhands-nonce` and `manyhands-proof` of the server.',
    run: async ({ target }) => {
      const { socket, meeting, answer } = await meet(target, 'client', NODE())
      const { headers, status } = answer
      equal(status, 401, 'the status')
      const { [HEADER.role]: role = '', [HEADER.node]: nodeId = '' } = headers
      expect(/^[0-9a-f]{48}$/.test(meeting.serverNonce), () => 'its nonce is none')
      const party = { ...meeting, role, nodeId }
      const proof = proofOf(target, 'server', party, socket)
      socket.destroy()
      equal(headers[HEADER.proof], proof, 'its proof')
    },
  },
  {
    name: 'upgrade: a member gets in',
    role: 'any',
    rule: 'The answer is 101, with the same subprotocol.',
    run: async (stage) => {
      const { status, headers } = await upgrade(stage, (proof) => ({
        [HEADER.proof]: proof,
        'Sec-WebSocket-Extensions': 'permessage-deflate',
      }))
      equal(status, 101, 'the status')
      equal(headers['sec-websocket-protocol'], facts.subprotocol, 'the subprotocol')
      equal(headers['sec-websocket-extensions'], undefined, 'the extensions')
    },
  },
  {
    name: 'upgrade: a browser is refused',
    role: 'any',
    rule: `${REFUSED}: 403 for an \`Origin\` header, another mesh or a wrong proof`,
    run: async (stage) => {
      const { target } = stage
      const Origin = 'http://localhost'
      const first = await knock(target, { ...claim(target), Origin })
      equal(first.status, 403, 'the status of the first request')
      const second = await upgrade(stage, (proof) => ({ [HEADER.proof]: proof, Origin }))
      equal(second.status, 403, 'the status of the upgrade')
      expect(HEADER.refused in second.headers, () => `no ${HEADER.refused} header`)
    },
  },
  {
    name: 'upgrade: another mesh is refused',
    role: 'any',
    rule: `${REFUSED}: 403 for an \`Origin\` header, another mesh or a wrong proof`,
    run: async ({ target }) => {
      const headers = { ...claim(target), [HEADER.mesh]: '0'.repeat(32) }
      equal((await knock(target, headers)).status, 403, 'the status')
    },
  },
  {
    name: 'upgrade: a wrong proof is refused',
    role: 'any',
    rule: `${REFUSED}: 403 for an \`Origin\` header, another mesh or a wrong proof`,
    run: async (stage) => {
      const wrong = await upgrade(stage, () => ({ [HEADER.proof]: 'ab'.repeat(32) }))
      equal(wrong.status, 403, 'the status of a wrong one')
      const mirrored = await upgrade(stage, (_, { [HEADER.proof]: own = '' }) => ({
        [HEADER.proof]: own,
      }))
      equal(mirrored.status, 403, 'the status of its own one')
      equal((await upgrade(stage, () => ({}))).status, 403, 'the status of none')
    },
  },
  {
    name: 'upgrade: a first request without its headers',
    role: 'any',
    rule: '426 without the headers of step 1',
    run: async ({ target }) => {
      for (const name of [HEADER.role, HEADER.node, HEADER.nonce]) {
        const { [name]: _, ...rest } = claim(target)
        equal((await knock(target, rest)).status, 426, `the status without ${name}`)
      }
      const bad = { ...claim(target), [HEADER.nonce]: 'short' }
      equal((await knock(target, bad)).status, 426, 'the status with a bad nonce')
    },
  },
  {
    name: 'upgrade: another subprotocol is refused',
    role: 'any',
    rule: '400 without the subprotocol',
    run: async (stage) => {
      const answer = await upgrade(stage, (proof) => ({
        [HEADER.proof]: proof,
        'Sec-WebSocket-Protocol': 'manyhands.v0',
      }))
      equal(answer.status, 400, 'the status')
    },
  },
  {
    name: 'upgrade: not without asking for a nonce',
    role: 'any',
    rule: '401 for an upgrade without step 1',
    run: async ({ target }) => {
      const headers = { ...UPGRADE, ...claim(target), [HEADER.proof]: 'ab'.repeat(32) }
      equal((await knock(target, headers)).status, 401, 'the status')
    },
  },
  {
    name: 'upgrade: a nonce serves on its own connection alone',
    role: 'any',
    rule: 'A nonce serves for one upgrade, on the TCP connection that it was given on.',
    run: async ({ target }) => {
      const { socket, meeting } = await meet(target, 'client', NODE())
      const proof = proofOf(target, 'client', meeting, socket)
      const other = await openSocket(target)
      const answer = await askHttp(other, { ...UPGRADE, [HEADER.proof]: proof })
      socket.destroy()
      other.destroy()
      equal(answer.status, 401, 'the status on another connection')
    },
  },
  {
    name: 'upgrade: who proves nothing is dropped',
    role: 'any',
    rule: 'Both requests go over one TCP connection, within 5 s',
    run: async ({ target, patienceMs }) => {
      const begun = performance.now()
      const { socket } = await meet(target, 'client', NODE())
      await new Promise((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error('it holds a connection that proved nothing')),
          5000 + patienceMs,
        )
        socket.on('close', () => resolve(clearTimeout(timer)))
        socket.resume()
      })
      const ms = performance.now() - begun
      expect(ms > 3000, () => `it dropped the connection after ${Math.round(ms)} ms`)
    },
  },
]
