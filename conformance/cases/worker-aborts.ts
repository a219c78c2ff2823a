// Aborts: what was meant is gone when they are answered, and does not come back.

import { readFileSync } from 'node:fs'
import type { Case } from '../case.ts'
import { script } from '../manager-side.ts'
import { equal, expect, pause } from '../stage.ts'
import { attemptOf, begun, block, counted, counting, SLEEP } from './worker-support.ts'

export const workerAbortCases: readonly Case[] = [
  {
    name: 'tasks: an abort of one that runs',
    role: 'worker',
    isAlone: true,
    rule: 'TERM to its group, after `kill_grace_ms` KILL; no report; when it is gone, a fence, and only then the Ack',
    run: counting(async (stage, { file }) => {
      const manager = await stage.manager()
      // A child of it, too, and neither heeds TERM.
      const task = await manager.start({
        ...script(
          'trap "" TERM; (while :; do printf x >> "$1"; sleep 0.02; done) & while :; do sleep 0.02; done',
          file,
        ),
        kill_grace_ms: 300,
      })
      await manager.told('TaskStarted', task)
      await begun(stage, file)
      const askedAt = performance.now()
      equal((await manager.abort([attemptOf(task)])).k, 'Ack', 'the answer')
      const ms = performance.now() - askedAt
      expect(ms > 250, () => `it was acknowledged after ${Math.round(ms)} of 300 ms`)
      const size = readFileSync(file, 'utf8').length
      await pause(100)
      equal(readFileSync(file, 'utf8').length, size, 'what its child wrote afterwards')
      equal(manager.count('TaskError', task.task_id), 0, 'errors told')
      equal(await manager.status(task.task_id), 'Unknown', 'its state')
      equal(await manager.refusal(task), 'stale-attempt', 'the same attempt again')
      const next = { ...task, ...script('exit 0'), attempt: 2 }
      equal(await manager.refusal(next), undefined, 'the next attempt')
      await manager.told('TaskCompleted', next)
    }),
  },
  {
    name: 'tasks: an abort of one that waits',
    role: 'worker',
    isAlone: true,
    rule: 'waits | it is gone; a fence',
    run: counting(async (stage, { file }) => {
      const manager = await stage.manager()
      const first = await block(manager)
      const task = await manager.start(counted(file, 'exit 0'))
      equal((await manager.abort([attemptOf(task)])).k, 'Ack', 'the answer')
      equal(await manager.refusal(task), 'stale-attempt', 'the same attempt again')
      await manager.abort([attemptOf(first)])
      const after = await manager.start(script('exit 0'))
      await manager.told('TaskCompleted', after)
      equal(readFileSync(file, 'utf8'), '', 'its starts')
      equal(manager.count('TaskError', task.task_id), 0, 'errors told')
    }),
  },
  {
    name: 'tasks: an abort of one that has ended',
    role: 'worker',
    isAlone: true,
    rule: 'has ended | its outcome and output are forgotten; a fence',
    run: async (stage) => {
      const manager = await stage.manager()
      manager.peer.handlers.delete('TaskCompleted')
      const task = await manager.start({})
      await manager.told('TaskCompleted', task)
      await manager.abort([attemptOf(task)])
      equal(await manager.status(task.task_id), 'Unknown', 'its state')
      equal(await manager.refusal(task), 'stale-attempt', 'the same attempt again')
    },
  },
  {
    name: 'tasks: an abort that comes first',
    role: 'worker',
    isAlone: true,
    rule: 'is not known | a fence; of a bare id, nothing',
    run: async (stage) => {
      const manager = await stage.manager()
      const task = manager.assignment({ attempt: 2 })
      await manager.abort([attemptOf(task)])
      equal(await manager.refusal(task), 'stale-attempt', 'that attempt')
      equal(
        await manager.refusal({ ...task, attempt: 1 }),
        'stale-attempt',
        'a lower one',
      )
      equal(await manager.refusal({ ...task, attempt: 3 }), undefined, 'the next one')
      const other = manager.assignment({})
      await manager.abort([other.task_id])
      equal(await manager.refusal(other), undefined, 'after the abort of a bare id')
    },
  },
  {
    name: 'tasks: an abort of an earlier attempt',
    role: 'worker',
    isAlone: true,
    rule: 'has a higher attempt | nothing',
    run: async (stage) => {
      const manager = await stage.manager()
      const task = await manager.start({ ...SLEEP, attempt: 2 })
      await manager.told('TaskStarted', task)
      equal(
        (await manager.abort([{ ...attemptOf(task), attempt: 1 }])).k,
        'Ack',
        'the answer',
      )
      equal(await manager.status(task.task_id), 'Started', 'its state')
      equal((await manager.abort([task.task_id])).k, 'Ack', 'the answer to a bare id')
      equal(await manager.status(task.task_id), 'Unknown', 'its state after a bare id')
    },
  },
]
