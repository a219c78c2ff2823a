// Frames: which bytes are messages, and what becomes of a connection that sends others.

import { pack } from '../bytes.ts'
import type { Case } from '../case.ts'
import { facts, golden } from '../protocol.ts'
import { equal, expect, type Stage } from '../stage.ts'

const head = (...parts: (string | number)[]): number[] =>
  parts.flatMap((part) =>
    typeof part === 'number' ? [part] : [0xa0 | part.length, ...Buffer.from(part)],
  )

const bytesOf = (hex: string): Uint8Array => Buffer.from(hex, 'hex')

/** The code with which bytes end a connection. */
const codeAfter = async (stage: Stage, bytes: Uint8Array): Promise<number> => {
  const peer = await stage.open()
  peer.sendBytes(bytes)
  return peer.closeCode()
}

export const frameCases: readonly Case[] = [
  {
    name: 'frames: what is none closes with 4400',
    role: 'any',
    rule: 'not a frame: text, too large, not MessagePack as above, neither or both of `q` and `a`',
    run: async (stage) => {
      const wrong: string[] = []
      const check = async ({ why, hex }: (typeof golden.refused)[number]) => {
        const code = await codeAfter(stage, bytesOf(hex)).catch(String)
        if (code !== 4400) wrong.push(`${why}: ${code}`)
      }
      for (let from = 0; from < golden.refused.length; from += 8)
        await Promise.all(golden.refused.slice(from, from + 8).map(check))
      expect(wrong.length === 0, () => wrong.join('; '))
    },
  },
  {
    name: 'frames: a text closes with 4400',
    role: 'any',
    rule: 'not a frame: text, too large, not MessagePack as above, neither or both of `q` and `a`',
    run: async (stage) => {
      const peer = await stage.open()
      peer.ws.send('{"q":2,"k":"NodesList","b":{},"t":1000}')
      equal(await peer.closeCode(), 4400, 'the close code')
    },
  },
  {
    name: 'frames: one that is too large',
    role: 'any',
    rule: 'a message is at most `max_frame` bytes (else close 1009)',
    run: async (stage) => {
      const peer = await stage.open()
      const { max_frame } = peer.far as { max_frame: number }
      const rel = 'x'
      const filled = (size: number) =>
        pack({
          q: peer.nextId(),
          k: 'ManagerPing',
          b: { rel, fill: new Uint8Array(size) },
          t: 9000,
        })
      const surplus = filled(70_000).length - 70_000
      const most = filled(max_frame - surplus)
      equal(most.length, max_frame, 'the frame of this case')
      const q = peer.nextId()
      peer.send({
        q,
        k: 'ManagerPing',
        b: { rel, fill: new Uint8Array(max_frame - surplus) },
        t: 9000,
      })
      equal((await peer.answerTo(q)).k, 'NotMine', 'the answer to the largest')
      peer.sendBytes(filled(max_frame - surplus + 1))
      equal(await peer.closeCode(), 1009, 'the close code')
    },
  },
  {
    name: 'frames: every integer form is taken',
    role: 'any',
    rule: 'Integers may be written in any integer form, and as float64 when above 32 bits.',
    run: async (stage) => {
      const peer = await stage.open()
      const forms = [
        [0xcc, 10],
        [0xcd, 0, 11],
        [0xce, 0, 0, 0, 12],
        [0xcf, 0, 0, 0, 0, 0, 0, 0, 13],
        [0xd2, 0, 0, 0, 14],
        [0xd3, 0, 0, 0, 0, 0, 0, 0, 15],
      ]
      const t = [0xcb, 0x42, 0x10, 0, 0, 0, 0, 0, 0] // 2^34 as float64
      for (const [at, form] of forms.entries()) {
        const q = 10 + at
        const bytes = [
          ...head(0x84, 'q', ...form, 'k', 'ManagerPing', 'b'),
          ...head(0x81, 'rel', 'x', 't', ...t),
        ]
        // Its watcher is to know that it was asked.
        peer.expectAnswer(q, 'ManagerPing')
        peer.sendBytes(Uint8Array.from(bytes))
        equal((await peer.answerTo(q)).k, 'NotMine', `the answer to ${form.join(' ')}`)
      }
    },
  },
  {
    name: 'frames: the order of keys means nothing',
    role: 'any',
    rule: 'a request `{ q: id, k: kind, b: body, t: milliseconds that the asker waits }`',
    run: async (stage) => {
      const peer = await stage.open()
      const q = peer.nextId()
      peer.expectAnswer(q, 'ManagerPing')
      peer.sendBytes(pack({ t: 9000, b: { rel: 'x' }, k: 'ManagerPing', q }))
      equal((await peer.answerTo(q)).k, 'NotMine', 'the answer')
    },
  },
  {
    name: 'frames: unknown fields are ignored',
    role: 'any',
    rule: 'Fields that the receiver does not know are ignored, at any depth',
    run: async (stage) => {
      const peer = await stage.open()
      const later = { more: [1, { deep: null }], data: new Uint8Array(3) }
      const ping = await peer.ask('ManagerPing', { rel: 'x', later })
      equal(ping.k, 'NotMine', 'the answer to ManagerPing')
      const self = { ...peer.self, later, colour: 'red' }
      equal((await peer.ask('NodeTypeRequest', self)).k, 'NodeTypeAnswer', 'the answer')
    },
  },
  {
    name: 'frames: a message in fragments',
    role: 'any',
    rule: 'in at most 64 fragments (else 1008)',
    run: async (stage) => {
      const inParts = async (count: number) => {
        const peer = await stage.open()
        const q = peer.nextId()
        const b = { rel: 'x', fill: new Uint8Array(200) }
        const bytes = pack({ q, k: 'ManagerPing', b, t: 9000 })
        peer.expectAnswer(q, 'ManagerPing')
        for (let at = 0; at < count; at++)
          peer.ws.send(bytes.subarray(at, at === count - 1 ? undefined : at + 1), {
            fin: at === count - 1,
          })
        return { peer, q }
      }
      const few = await inParts(64)
      equal((await few.peer.answerTo(few.q)).k, 'NotMine', 'the answer to 64')
      const many = await inParts(65)
      equal(await many.peer.closeCode(), 1008, 'the close code after 65')
    },
  },
  {
    name: 'frames: a WebSocket ping is answered',
    role: 'any',
    rule: 'pings are answered',
    run: async (stage) => {
      const peer = await stage.open()
      const data = Buffer.from('are you there')
      const pong = new Promise<Buffer>((resolve) => peer.ws.once('pong', resolve))
      peer.ws.ping(data)
      const came = await peer.within('a pong', pong)
      equal(came.toString(), data.toString(), 'its data')
    },
  },
  {
    name: 'frames: it states what it takes',
    role: 'any',
    rule: '`max_in_flight` of the receiver (1,024 by default)',
    run: async (stage) => {
      const { max_in_flight, max_frame, node_type } = (await stage.open()).far
      expect(Number(max_in_flight) >= 1, () => `max_in_flight is ${max_in_flight}`)
      expect(
        Number(max_frame) >= facts.limits.data_bytes,
        () => `max_frame is ${max_frame}, less than one data answer`,
      )
      expect(typeof node_type === 'string', () => 'it has no node_type')
    },
  },
]
