// Tasks that a worker does not take: what each of its reasons means to a manager.

import type { Case } from '../case.ts'
import type { Body } from '../protocol.ts'
import { equal, expect, pause } from '../stage.ts'
import { over, submit, summary } from '../worker-side.ts'
import { refusing } from './manager-support.ts'

export const managerRefusalCases: readonly Case[] = [
  {
    name: 'queue: refused as busy',
    role: 'manager',
    rule: 'waits again, same attempt; the worker is left alone for `retry_after_ms`',
    run: async (stage) => {
      const worker = await stage.worker({}, undefined, (peer) =>
        peer.handle('TasksExecute', refusing('busy', 400)),
      )
      const client = await stage.open()
      const begun = performance.now()
      const [id = ''] = await submit(client, [worker.job()])
      const { peer } = worker
      const first = await peer.request('TasksExecute')
      await peer.request('TasksExecute', () => true, peer.frames.indexOf(first) + 1)
      const ms = performance.now() - begun
      equal(worker.attempts(id), [1, 1], 'its attempts')
      expect(ms > 390, () => `told 400 ms, it came after ${Math.round(ms)} ms`)
    },
  },
  {
    name: 'queue: answered with Error busy',
    role: 'manager',
    rule: 'TasksRefused `busy`, `draining`; `Error{busy}` | waits again, same attempt',
    run: async (stage) => {
      let isFirst = true
      const worker = await stage.worker({}, undefined, (peer) =>
        peer.handle('TasksExecute', () => {
          const answer = isFirst ? 'Error' : 'Ack'
          isFirst = false
          return [answer, answer === 'Ack' ? {} : { code: 'busy', retry_after_ms: 100 }]
        }),
      )
      const client = await stage.open()
      const [id = ''] = await submit(client, [worker.job()])
      const first = await worker.peer.request('TasksExecute')
      const since = worker.peer.frames.indexOf(first) + 1
      await worker.peer.request('TasksExecute', () => true, since)
      equal(worker.attempts(id), [1, 1], 'its attempts')
    },
  },
  {
    name: 'queue: refused for what they need',
    role: 'manager',
    rule: 'waits again, same attempt; this worker is no candidate any more',
    run: async (stage) => {
      const worker = await stage.worker({}, undefined, (peer) =>
        peer.handle('TasksExecute', refusing('specs')),
      )
      const client = await stage.open()
      const [id = ''] = await submit(client, [worker.job()])
      await worker.assigned(id)
      await pause(100)
      equal(worker.attempts(id), [1], 'hand-outs to the one that refused')
      const { attempt, state } = await summary(client, id)
      equal([attempt, state], [1, 'queued'], 'attempt and state')
      const specs = { kinds: ['exec'], labels: { kit: worker.label }, resources: {} }
      const other = await stage.worker({ specs })
      await other.assigned(id, 1)
    },
  },
  {
    name: 'queue: refused for good',
    role: 'manager',
    rule: 'TasksRefused `invalid`, `conflict`; `Error{malformed}` for it alone | failed, `Refused`',
    run: async (stage) => {
      const answers: readonly ((frame: {
        readonly b: Body
      }) => readonly [string, unknown])[] = [
        refusing('invalid'),
        refusing('conflict'),
        () => ['Error', { code: 'malformed', path: 'tasks.0' }],
      ]
      for (const answer of answers) {
        const worker = await stage.worker({}, undefined, (peer) =>
          peer.handle('TasksExecute', answer),
        )
        const client = await stage.open()
        const [id = ''] = await submit(client, [worker.job()])
        const { state, error } = await over(client, id)
        equal([state, (error as Body).kind], ['failed', 'Refused'], 'state and error')
      }
    },
  },
  {
    name: 'queue: refused as stale',
    role: 'manager',
    rule: 'TasksRefused `stale-attempt` | is asked for by TasksPing; `Unknown`: queued again',
    run: async (stage) => {
      const worker = await stage.worker({}, undefined, (peer) => {
        peer.handle('TasksExecute', refusing('stale-attempt'))
        peer.handle('TasksPing', ({ b }) => [
          'TasksPong',
          { tasks_status: (b.tasks as string[]).map((id) => [id, { kind: 'Unknown' }]) },
        ])
      })
      const client = await stage.open()
      const [id = ''] = await submit(client, [worker.job()])
      const ping = await worker.peer.request('TasksPing')
      equal(ping.b.tasks, [id], 'what it asks for')
      await worker.assigned(id, 2)
    },
  },
  {
    name: 'queue: answered with Error internal',
    role: 'manager',
    rule: 'no answer, `Error{deadline}`, `Error{internal}` | is asked for by TasksPing; `Unknown`: sent once more, then queued again',
    run: async (stage) => {
      const worker = await stage.worker({}, undefined, (peer) => {
        let tries = 0
        peer.handle('TasksExecute', () => {
          tries += 1
          return tries > 2 ? ['Ack', {}] : ['Error', { code: 'internal' }]
        })
        peer.handle('TasksPing', ({ b }) => [
          'TasksPong',
          { tasks_status: (b.tasks as string[]).map((id) => [id, { kind: 'Unknown' }]) },
        ])
      })
      const client = await stage.open()
      const [id = ''] = await submit(client, [worker.job()])
      await worker.assigned(id, 2)
      equal(worker.attempts(id), [1, 1, 2], 'its attempts')
    },
  },
]
