// What a worker asks, and answers to it that are late, malformed, or not taken.

import type { Case } from '../case.ts'
import { script } from '../manager-side.ts'
import type { Body } from '../protocol.ts'
import { equal, expect, pause } from '../stage.ts'

export const workerAsksCases: readonly Case[] = [
  {
    name: 'asking: a late answer is ignored, once',
    role: 'worker',
    isAlone: true,
    rule: 'ignored, once; a second answer to any id is a strike',
    run: async (stage) => {
      const { peer, rel } = await stage.manager({ ping_ms: 150, lease_ms: 60_000 })
      let first = true
      peer.handle('ManagerPing', () => {
        if (!first) return ['ManagerPong', { rel }]
        first = false
        return undefined
      })
      const late = await peer.request('ManagerPing')
      await pause(Number(late.t) + 100)
      const again = () => peer.answer(late, 'ManagerPong', { rel })
      again()
      again()
      again()
      await peer.sync()
      again()
      equal(await peer.closeCode(), 4405, 'the close code after the fourth')
    },
  },
  {
    name: 'asking: a malformed answer is a strike',
    role: 'worker',
    isAlone: true,
    rule: 'an answer of the right kind whose body is malformed',
    run: async (stage) => {
      const { peer } = await stage.manager({ ping_ms: 50, lease_ms: 60_000 })
      peer.handle('ManagerPing', () => ['ManagerPong', { rel: 5 }])
      equal(await peer.closeCode(), 4405, 'the close code after the third')
      const pings = peer.frames.filter(({ k }) => k === 'ManagerPing')
      equal(pings.length, 3, 'pings until then')
    },
  },
  {
    name: 'asking: a manager that does not read',
    role: 'worker',
    isAlone: true,
    rule: 'over 4 MiB unsent: only priority requests are sent and requests for data get `Error{busy}`',
    run: async (stage) => {
      const manager = await stage.manager()
      const { peer } = manager
      const task = await manager.start(script('head -c 65536 /dev/zero'))
      const { b } = await manager.told('TaskCompleted', task)
      const { ref } = (b.result as Body).stdout as Body
      const first = peer.nextId()
      const count = 1000 // at 16 KiB or more each, more than the system's buffers hold
      peer.ws.pause()
      for (let at = 0; at < count; at++) {
        const body = { ref, offset: 0, max: 65_536 }
        peer.send({ q: peer.nextId(), k: 'BlobRead', b: body, t: 60_000 })
      }
      await pause(300)
      peer.ws.resume()
      let busy = 0
      for (let q = first; q < first + count; q++) {
        const { k, b: answer } = await peer.answerTo(q, 'BlobRead')
        if (k === 'BlobData') continue
        equal([k, answer.code], ['Error', 'busy'], 'the answer when it is not data')
        busy += 1
      }
      expect(busy > 0, () => 'it answered all of it, to a peer that did not read')
      expect(busy < count, () => 'it answered none of it')
    },
  },
]
