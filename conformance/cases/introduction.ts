// The first exchange, and what becomes of a second connection between the same two nodes.

import type { Case } from '../case.ts'
import { keyOf } from '../members.ts'
import { identity } from '../peer.ts'
import { equal, expect, pause, Skip } from '../stage.ts'

const ONE_CONNECTION =
  'asked by a WebSocket ping; if it answers in 1 s, the new one is closed with 4406, else replaces it'

export const introductionCases: readonly Case[] = [
  {
    name: 'introduction: it introduces itself',
    role: 'any',
    rule: 'The first request in each direction is `NodeTypeRequest`',
    run: async (stage) => {
      const peer = await stage.open()
      const [first] = peer.frames.filter(({ q }) => q !== undefined)
      equal(first?.k, 'NodeTypeRequest', 'its first request')
      const answer = peer.frames.find(({ k }) => k === 'NodeTypeAnswer')
      for (const name of ['node_type', 'node_id', 'boot_id', 'host_name'] as const)
        equal(answer?.b[name], first?.b[name], `its ${name} in request and answer`)
    },
  },
  {
    name: 'introduction: nothing else comes first',
    role: 'any',
    rule: 'it asks nothing else, and gets `Error{not-ready}` and close 4401 if it does',
    run: async (stage) => {
      const peer = await stage.enter()
      const { k, b } = await peer.ask('ManagerPing', { rel: 'x' })
      equal([k, b.code], ['Error', 'not-ready'], 'the answer')
      equal(await peer.closeCode(), 4401, 'the close code')
    },
  },
  {
    name: 'introduction: it takes no longer than 5 s',
    role: 'any',
    rule: 'Both must be over in 5 s.',
    run: async (stage) => {
      const begun = performance.now()
      const peer = await stage.enter()
      peer.handlers.delete('NodeTypeRequest')
      await peer.ask('NodeTypeRequest', peer.self)
      const code = await peer.closeCode(5000 + stage.patienceMs)
      const ms = Math.round(performance.now() - begun)
      equal(code, 4401, 'the close code')
      expect(ms > 3000, () => `it closed after ${ms} ms`)
    },
  },
  {
    name: 'introduction: it may come again, unchanged',
    role: 'any',
    rule: '`node_type`, `node_id`, `boot_id` and `host_name` never change within a connection',
    run: async (stage) => {
      const peer = await stage.open()
      const again = { ...peer.self, features: ['later'] }
      equal((await peer.ask('NodeTypeRequest', again)).k, 'NodeTypeAnswer', 'the answer')
      await peer.sync()
    },
  },
  {
    name: 'introduction: nobody becomes another',
    role: 'any',
    rule: 'never change within a connection: `Error{role-changed}`, close 4401.',
    run: async (stage) => {
      for (const change of [
        { host_name: 'another' },
        { boot_id: '0'.repeat(16) },
        { node_type: 'worker' },
        { node_id: '0'.repeat(32) },
      ]) {
        const peer = await stage.open()
        const { k, b } = await peer.ask('NodeTypeRequest', { ...peer.self, ...change })
        const what = Object.keys(change).join()
        equal([k, b.code], ['Error', 'role-changed'], `the answer to another ${what}`)
        equal(await peer.closeCode(), 4401, `the close code after another ${what}`)
      }
    },
  },
  {
    name: 'introduction: only as who was proven',
    role: 'any',
    rule: "a `node_id`, `node_type` or `host_name` other than the certificate's",
    run: async (stage) => {
      for (const change of [
        { node_type: 'worker' },
        { node_id: '0'.repeat(32) },
        { host_name: 'somebody-else' },
      ]) {
        const peer = await stage.enter()
        peer.handlers.delete('NodeTypeRequest')
        peer.send({
          q: 1,
          k: 'NodeTypeRequest',
          b: { ...peer.self, ...change },
          t: 9000,
        })
        equal(await peer.closeCode(), 4410, 'the close code')
      }
    },
  },
  {
    name: 'introduction: a second connection is one too many',
    role: 'any',
    rule: ONE_CONNECTION,
    run: async (stage) => {
      const first = await stage.open()
      const second = await stage.enter(first.self)
      await second.ask('NodeTypeRequest', second.self)
      equal(await second.closeCode(), 4406, 'the close code of the second')
      await first.sync()
    },
  },
  {
    name: 'introduction: a half-open connection is replaced',
    role: 'any',
    rule: ONE_CONNECTION,
    run: async (stage) => {
      const first = await stage.open()
      first.ws.pause() // it no longer answers pings
      const second = await stage.open(first.self)
      await pause(50)
      await second.within('its word on the new connection', second.sync())
      await first.cut()
      await second.sync()
    },
  },
  {
    name: 'introduction: two lives of one node',
    role: 'any',
    rule: 'likewise, but with 4409: two nodes with one id live',
    run: async (stage) => {
      const first = await stage.open()
      const other = { ...first.self, boot_id: identity('client').boot_id }
      const second = await stage.enter(other)
      await second.ask('NodeTypeRequest', other)
      equal(await second.closeCode(), 4409, 'the close code of the second')
      await first.sync()
    },
  },
  {
    name: 'introduction: one role in a life',
    role: 'any',
    rule: 'an older one to the same boot with another `node_type` | both are closed with 4410',
    run: async (stage) => {
      const first = await stage.open(identity('worker'))
      const second = await stage.enter({ ...first.self, node_type: 'client' })
      await second.ask('NodeTypeRequest', second.self)
      equal(await second.closeCode(), 4410, 'the close code of the second')
      equal(await first.closeCode(), 4410, 'the close code of the first')
    },
  },
  {
    name: 'introduction: not with oneself',
    role: 'any',
    rule: '4407; the own node id with another boot: 4409',
    run: async (stage) => {
      const { node_type, node_id, boot_id, host_name } = (await stage.open()).far
      const itself = { node_type, node_id, host_name } as Record<string, string>
      if (keyOf(stage.target.mesh, String(node_id)) === undefined)
        throw new Skip('its key is not in the state directory')
      const mirror = identity(String(node_type), { ...itself, boot_id: String(boot_id) })
      const peer = await stage.enter(mirror)
      await peer.ask('NodeTypeRequest', mirror)
      equal(await peer.closeCode(), 4407, 'the close code')
      const copy = identity(String(node_type), itself)
      const second = await stage.enter(copy)
      await second.ask('NodeTypeRequest', copy)
      equal(await second.closeCode(), 4409, 'the close code with another boot')
    },
  },
]
