// The upgrade: who gets in, and who is sent away with which word.

import { connect } from 'node:net'
import type { Case } from '../case.ts'
import { askHttp, type HttpAnswer, openTls, UPGRADE } from '../door.ts'
import { hashOf, namesOf, newNodeId, type Party, show, type Wrong } from '../members.ts'
import { facts } from '../protocol.ts'
import { equal, expect } from '../stage.ts'
import type { Target } from '../target.ts'

const newParty = (): Party => ({
  role: 'client',
  nodeId: newNodeId(),
  hostName: 'kit-door',
})

/** A member's upgrade with these headers instead. */
const upgrade = async (
  target: Target,
  headers: Readonly<Record<string, string>>,
): Promise<HttpAnswer> => {
  const socket = await openTls(target, await show(target.mesh, newParty()))
  try {
    return await askHttp(socket, headers)
  } finally {
    socket.destroy()
  }
}

/** What comes of an upgrade by who shows this; undefined: it was dropped without a word. */
const attempt = async (
  target: Target,
  party: Party,
  wrong: Wrong | 'nothing',
): Promise<HttpAnswer | undefined> => {
  try {
    const shown = wrong === 'nothing' ? {} : await show(target.mesh, party, wrong)
    const socket = await openTls(target, shown)
    try {
      return await askHttp(socket, UPGRADE)
    } finally {
      socket.destroy()
    }
  } catch {
    return undefined
  }
}

const REFUSED =
  'A refusal is an HTTP answer that closes, possibly before anything was asked'
const DAY_MS = 24 * 3_600_000

const strangers: readonly [
  what: string,
  word: string,
  wrongOf: (target: Target, party: Party) => Wrong | 'nothing',
][] = [
  ['no certificate', 'no-certificate', () => 'nothing'],
  ["another authority's", 'unknown-ca', () => ({ isForged: true })],
  ['an expired one', 'expired', () => ({ fromMs: -2 * DAY_MS, toMs: -DAY_MS })],
  ['one not yet valid', 'not-yet-valid', () => ({ fromMs: DAY_MS, toMs: 2 * DAY_MS })],
  ['one for servers alone', 'wrong-purpose', () => ({ usages: ['server'] })],
  ['one without names', 'san', () => ({ names: [] })],
  [
    'one with its names in another order',
    'san',
    ({ mesh }, party) => ({ names: [...namesOf(mesh.meshId, party)].reverse() }),
  ],
  [
    "one with another mesh's id",
    'other-mesh',
    (_target, party) => ({ names: namesOf('ab'.repeat(10), party) }),
  ],
  [
    "one with another node's id",
    'id-mismatch',
    ({ mesh }, party) => ({
      names: namesOf(mesh.meshId, { ...party, nodeId: 'cd'.repeat(16) }),
    }),
  ],
]

const strangerCases: readonly Case[] = strangers.map(([what, word, wrongOf]) => ({
  name: `upgrade: ${what} is refused`,
  role: 'any',
  rule: REFUSED,
  run: async ({ target }) => {
    const party = newParty()
    const answer = await attempt(target, party, wrongOf(target, party))
    // A TLS library may refuse by itself: then its handshake fails.
    if (answer === undefined) return
    equal(answer.status, 403, 'the status')
    equal(answer.headers[facts.upgrade.refused_header], word, 'the word')
  },
}))

export const upgradeCases: readonly Case[] = [
  {
    name: 'upgrade: it shows who it is',
    role: 'any',
    rule: 'signed by `ca.pem`, in its dates, its names of this form, its MESH_ID, its NODE_ID the hash of its key',
    run: async ({ target }) => {
      const socket = await openTls(target, await show(target.mesh, newParty()))
      const certificate = socket.getPeerX509Certificate()
      const [version, alpn] = [socket.getProtocol(), socket.alpnProtocol]
      socket.destroy()
      equal(version, 'TLSv1.3', 'the version of TLS')
      equal(alpn, facts.upgrade.tls.alpn, 'the protocol beneath')
      const names =
        /^URI:mesh:\/\/([0-9a-f]{20})\/([a-z]+)\/([0-9a-f]{32})(?:\?[\w*.%&=+-]+)?, DNS:[\w.-]+\.mesh\.internal$/
      const [, meshId, , nodeId] = names.exec(certificate?.subjectAltName ?? '') ?? []
      equal(meshId, target.mesh.meshId, 'the mesh id of its certificate')
      const own = certificate && hashOf(certificate.publicKey, 32)
      equal(nodeId, own, 'the node id of its certificate')
    },
  },
  {
    name: 'upgrade: a member gets in',
    role: 'any',
    rule: 'The answer is 101, with the same subprotocol.',
    run: async ({ target }) => {
      const { status, headers } = await upgrade(target, {
        ...UPGRADE,
        'Sec-WebSocket-Extensions': 'permessage-deflate',
      })
      equal(status, 101, 'the status')
      equal(headers['sec-websocket-protocol'], facts.subprotocol, 'the subprotocol')
      equal(headers['sec-websocket-extensions'], undefined, 'the extensions')
    },
  },
  ...strangerCases,
  {
    name: 'upgrade: a browser is refused',
    role: 'any',
    rule: `${REFUSED}: 403`,
    run: async ({ target }) => {
      const answer = await upgrade(target, { ...UPGRADE, Origin: 'http://localhost' })
      equal(answer.status, 403, 'the status')
      equal(answer.headers[facts.upgrade.refused_header], 'origin', 'the word')
    },
  },
  {
    name: 'upgrade: another subprotocol is refused',
    role: 'any',
    rule: '400 without the subprotocol',
    run: async ({ target }) => {
      const wrong = { 'Sec-WebSocket-Protocol': 'manyhands.v0' }
      const answer = await upgrade(target, { ...UPGRADE, ...wrong })
      equal(answer.status, 400, 'the status')
    },
  },
  {
    name: 'upgrade: a request that is none',
    role: 'any',
    rule: '426 without an upgrade',
    run: async ({ target }) => {
      equal((await upgrade(target, {})).status, 426, 'the status')
    },
  },
  {
    name: 'upgrade: who says nothing is dropped',
    role: 'any',
    rule: 'no server name, no resumed session, within 5 s',
    run: async ({ target, patienceMs }) => {
      const { host, port } = target
      const begun = performance.now()
      const socket = connect({ host, port })
      socket.on('error', () => undefined)
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
