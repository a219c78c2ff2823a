// Which tasks a worker takes, and that no attempt ever runs twice: a program that counts its
// starts in a file says how often it was run.

import { readFileSync } from 'node:fs'
import type { Case } from '../case.ts'
import { type Job, newLedger, script } from '../manager-side.ts'
import type { Body } from '../protocol.ts'
import { equal, pause } from '../stage.ts'
import { attemptOf, block, counted, counting, SLEEP } from './worker-support.ts'

export const workerTakingCases: readonly Case[] = [
  {
    name: 'tasks: for another boot',
    role: 'worker',
    isAlone: true,
    rule: "`boot` the worker's own `boot_id`, or TasksExecute gets `NotMine`",
    run: async (stage) => {
      const manager = await stage.manager()
      const boot = '0123456789abcdef'
      const task = manager.assignment({})
      equal((await manager.execute([task], { boot })).k, 'NotMine', 'the answer')
      equal(await manager.status(task.task_id), 'Unknown', 'the state of its task')
    },
  },
  {
    name: 'tasks: of an older epoch',
    role: 'worker',
    isAlone: true,
    rule: '`epoch` is at least the one of the relationship',
    run: async (stage) => {
      const manager = await stage.manager({ epoch: 5 })
      const task = manager.assignment({})
      equal((await manager.execute([task], { epoch: 4 })).k, 'NotMine', 'the answer')
      equal((await manager.execute([task], { epoch: 6 })).k, 'Ack', 'to a newer epoch')
    },
  },
  {
    name: 'tasks: refused as invalid',
    role: 'worker',
    isAlone: true,
    rule: 'unknown, with `stdin` and `stdin_live`, with a `dir` that is not absolute, or with a NUL character in `dir`, `arguments` or `env`',
    run: async (stage) => {
      const manager = await stage.manager()
      const wrong: readonly object[] = [
        { stdin: Buffer.from('x'), stdin_live: true },
        { dir: 'relative' },
        { dir: '/a\0b' },
        { arguments: ['a\0b'] },
        { env: { KIT: 'a\0b' } },
        { task_id: `${newLedger()}-1` },
      ]
      for (const more of wrong) {
        const task = manager.assignment({ job_addr: 'exec:true', ...more })
        const what = Object.keys(more).join(' and ')
        equal(await manager.refusal(task), 'invalid', `a wrong ${what}`)
      }
    },
  },
  {
    name: 'tasks: refused for what they need',
    role: 'worker',
    isAlone: true,
    rule: 'unknown, `requires` more than the worker has in all',
    run: async (stage) => {
      const manager = await stage.manager()
      const of = (more: Job) => manager.refusal(manager.assignment(more))
      const { cores } = manager
      equal(await of({ job_addr: 'zzz:thing' }), 'unsupported-kind', 'an unknown scheme')
      equal(await of({ requires: { cores: cores + 1 } }), 'specs', 'a core too many')
      equal(await of({ requires: { resources: { zzz: 1 } } }), 'specs', 'a resource')
      const requires = { labels: { zzz: 'y' } }
      equal(await of({ requires }), 'specs', 'a label')
      for (const name of ['LD_PRELOAD', 'NODE_OPTIONS', 'BASH_ENV']) {
        const env = { [name]: 'x' }
        equal(await of({ job_addr: 'exec:true', env }), 'forbidden', name)
      }
    },
  },
  {
    name: 'tasks: those not refused are accepted',
    role: 'worker',
    isAlone: true,
    rule: 'Assigns tasks. Those not listed in TasksRefused are accepted.',
    run: async (stage) => {
      const manager = await stage.manager()
      const good = manager.assignment({})
      const bad = manager.assignment({ job_addr: 'zzz:thing' })
      const answer = await manager.execute([bad, good])
      const refused = answer.b.refused as readonly Body[] | undefined
      equal(
        refused?.map(({ task_id }) => task_id),
        [bad.task_id],
        'the refused ones',
      )
      await manager.told('TaskCompleted', good)
    },
  },
  {
    name: 'tasks: the same attempt again',
    role: 'worker',
    isAlone: true,
    rule: 'accepted, nothing is started; if it runs, TaskStarted is sent again, if it has ended, its outcome',
    run: counting(async (stage, { file }) => {
      const manager = await stage.manager()
      const { peer } = manager
      const task = await manager.start(counted(file, 'sleep 60'))
      await manager.told('TaskStarted', task)
      const seen = peer.frames.length
      equal(await manager.refusal(task), undefined, 'the same attempt')
      await manager.told('TaskStarted', task, seen)
      const after = await manager.start(script('exit 0'))
      await manager.told('TaskCompleted', after)
      equal(readFileSync(file, 'utf8'), 'x', 'its starts')
    }),
  },
  {
    name: 'tasks: an ended attempt again',
    role: 'worker',
    isAlone: true,
    rule: 'under a tombstone of this attempt whose outcome was delivered',
    run: counting(async (stage, { file }) => {
      const manager = await stage.manager()
      const { peer } = manager
      peer.handle('TaskCompleted', () => ['Error', { code: 'internal' }])
      const task = await manager.start(counted(file, 'exit 0'))
      await manager.told('TaskCompleted', task)
      peer.handle('TaskCompleted', () => ['Ack', {}])
      const seen = peer.frames.length
      equal(await manager.refusal(task), undefined, 'before its Ack')
      await manager.told('TaskCompleted', task, seen)
      await peer.sync()
      const later = peer.frames.length
      equal(await manager.refusal(task), undefined, 'after its Ack')
      equal(await manager.status(task.task_id), 'Unknown', 'its state')
      await pause(100)
      const told = peer.frames.slice(later).filter(({ k }) => k === 'TaskCompleted')
      equal(told.length, 0, 'outcomes told after the Ack')
      equal(readFileSync(file, 'utf8'), 'x', 'its starts')
    }),
  },
  {
    name: 'tasks: other content',
    role: 'worker',
    isAlone: true,
    rule: 'known with other content (everything but `attempt` counts)',
    run: async (stage) => {
      const manager = await stage.manager()
      const task = await manager.start(SLEEP)
      await manager.told('TaskStarted', task)
      const other = { ...task, arguments: ['61'] }
      equal(await manager.refusal(other), 'conflict', 'the same attempt')
      equal(
        await manager.refusal({ ...other, attempt: 2 }),
        'conflict',
        'the next attempt',
      )
      equal(await manager.status(task.task_id), 'Started', 'the state of its task')
    },
  },
  {
    name: 'tasks: a lower attempt',
    role: 'worker',
    isAlone: true,
    rule: 'known with a higher attempt, or this attempt is being ended by TasksAbord',
    run: async (stage) => {
      const manager = await stage.manager()
      const task = await manager.start({ ...SLEEP, attempt: 3 })
      equal(await manager.refusal({ ...task, attempt: 2 }), 'stale-attempt', 'it runs')
      const done = await manager.start({ attempt: 2 })
      await manager.told('TaskCompleted', done)
      await manager.peer.sync()
      const lower = { ...done, attempt: 1 }
      equal(await manager.refusal(lower), 'stale-attempt', 'under a tombstone')
    },
  },
  {
    name: 'tasks: a running copy is adopted',
    role: 'worker',
    isAlone: true,
    rule: 'adopted: the same run goes on under the new number (TaskStarted again)',
    run: counting(async (stage, { file }) => {
      const manager = await stage.manager()
      const task = await manager.start(counted(file, 'sleep 0.4'))
      await manager.told('TaskStarted', task)
      const next = { ...task, attempt: 2 }
      equal(await manager.refusal(next), undefined, 'the next attempt')
      await manager.told('TaskStarted', next)
      await manager.told('TaskCompleted', next)
      equal(readFileSync(file, 'utf8'), 'x', 'its starts')
    }),
  },
  {
    name: 'tasks: a waiting copy is adopted',
    role: 'worker',
    isAlone: true,
    rule: 'adopted: the same run goes on under the new number (TaskStarted again)',
    run: counting(async (stage, { file }) => {
      const manager = await stage.manager()
      const first = await block(manager)
      const task = await manager.start(counted(file, 'exit 0'))
      const next = { ...task, attempt: 2 }
      equal(await manager.refusal(next), undefined, 'the next attempt')
      await manager.abort([attemptOf(first)])
      await manager.told('TaskCompleted', next)
      equal(manager.count('TaskCompleted', task.task_id), 1, 'outcomes told')
      equal(readFileSync(file, 'utf8'), 'x', 'its starts')
    }),
  },
  {
    name: 'tasks: the next attempt of a success',
    role: 'worker',
    isAlone: true,
    rule: 'accepted: the outcome is sent again under the new number',
    run: counting(async (stage, { file }) => {
      const manager = await stage.manager()
      manager.peer.handlers.delete('TaskCompleted')
      const task = await manager.start(counted(file, 'exit 0'))
      await manager.told('TaskCompleted', task)
      const next = { ...task, attempt: 2 }
      equal(await manager.refusal(next), undefined, 'the next attempt')
      await manager.told('TaskCompleted', next)
      equal(readFileSync(file, 'utf8'), 'x', 'its starts')
    }),
  },
  {
    name: 'tasks: the next attempt of a failure',
    role: 'worker',
    isAlone: true,
    rule: 'accepted, starts anew',
    run: counting(async (stage, { file }) => {
      const manager = await stage.manager()
      manager.peer.handlers.delete('TaskError')
      const task = await manager.start(counted(file, 'exit 1'))
      await manager.told('TaskError', task)
      const next = { ...task, attempt: 2 }
      equal(await manager.refusal(next), undefined, 'the next attempt')
      await manager.told('TaskError', next)
      equal(readFileSync(file, 'utf8'), 'xx', 'its starts')
    }),
  },
]
