// What a manager makes of the answers of its workers, and of their absence.

import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import type { AskFailure } from '../../src/failures.ts'
import { managerDefaults } from '../../src/machines/manager-config.ts'
import type { TaskEvent } from '../../src/machines/task-events.ts'
import { WorkerAsks } from '../../src/roles/manager-asks.ts'
import type { Kernel } from '../../src/roles/manager-kernel.ts'
import { quiet } from '../support/manager-world.ts'
import { stage } from '../support/task-stage.ts'

/** Asks of a worker that answers as told, and what the table hears of it. */
const asking = (answer: unknown) => {
  const { worker, task } = stage('sent')
  const heard: TaskEvent[] = []
  const logged: string[] = []
  const log = { ...quiet, error: (event: string) => void logged.push(event) }
  const after = (ms: number, fn: () => void): void => {
    if (ms === managerDefaults.askMs) fn()
  }
  // Of a kernel, asks use these alone.
  const kernel = {
    deps: { ledger: { epoch: 3 }, log, clock: { after } },
    config: managerDefaults,
    run: (event: TaskEvent) => void heard.push(event),
    at: () => ({ nowMs: 1, wallMs: 2 }),
  } as unknown as Kernel
  const asked: { kind: string; body: unknown; timeoutMs: number }[] = []
  const asks = new WorkerAsks(kernel, (_worker, kind, body, timeoutMs, settle) => {
    asked.push({ kind, body, timeoutMs })
    // The test says what it is, as the wire would.
    settle(answer as Parameters<typeof settle>[0])
  })
  return { asks, asked, heard, logged, worker, task }
}

const right = (kind: string, body: object = {}) => E.right({ kind, body })
const left = (kind: AskFailure['kind']) => E.left({ kind, exchange: 'TasksExecute' })

for (const [name, answer, event] of [
  ['an Ack', right('Ack'), { kind: 'accepted', refused: [] }],
  [
    'refusals',
    right('TasksRefused', { refused: [{ task_id: 'x', reason: 'busy' }] }),
    { kind: 'accepted', refused: [{ reason: 'busy' }] },
  ],
  ['silence', left('timeout'), { kind: 'unanswered' }],
  ['an answer that is none', left('protocol'), { kind: 'unanswered' }],
  ['a lost socket: the inventory tells', left('disconnected'), undefined],
  ['NotMine: the relationship hears it', right('NotMine'), undefined],
  ['Error{deadline}', right('Error', { code: 'deadline' }), { kind: 'unanswered' }],
  ['Error{internal}', right('Error', { code: 'internal' }), { kind: 'unanswered' }],
  [
    'Error{busy}',
    right('Error', { code: 'busy', retry_after_ms: 70 }),
    { kind: 'rejected', retryAfterMs: 70 },
  ],
  [
    'Error{malformed}: it fails',
    right('Error', { code: 'malformed', path: 'tasks.0' }),
    { kind: 'accepted', refused: [{ reason: 'invalid' }] },
  ],
] as const)
  t.test(`TasksExecute, answered by ${name}`, async (t) => {
    const { asks, asked, heard, worker, task } = asking(answer)
    asks.execute(worker, [task])
    t.match(asked, [{ kind: 'TasksExecute', body: { epoch: 3, boot: worker.bootId } }])
    t.match(heard, event === undefined ? [] : [event])
    t.equal(heard.length, event === undefined ? 0 : 1)
  })

for (const [name, answer, event] of [
  [
    'TasksPong',
    right('TasksPong', { tasks_status: [] }),
    { kind: 'statuses', statuses: [] },
  ],
  ['silence: asked again', left('timeout'), { kind: 'unanswered' }],
  [
    'Error{deadline}: asked again, later',
    right('Error', { code: 'deadline' }),
    { kind: 'unanswered' },
  ],
  ['NotMine: the relationship hears it', right('NotMine'), undefined],
  ['a lost socket', left('disconnected'), undefined],
] as const)
  t.test(`TasksPing, answered by ${name}`, async (t) => {
    const { asks, heard, worker, task } = asking(answer)
    asks.askStatus(worker, [task])
    t.match(heard, event === undefined ? [] : [event])
    t.equal(heard.length, event === undefined ? 0 : 1)
  })

for (const [name, answer, event] of [
  ['Ack', right('Ack'), { kind: 'abort-acked', tasks: [{ attempt: 4 }] }],
  ['silence', left('timeout'), { kind: 'abort-unanswered', nowMs: 1 }],
  ['Error', right('Error', { code: 'internal' }), { kind: 'abort-unanswered' }],
] as const)
  t.test(`TasksAbord, answered by ${name}`, async (t) => {
    const { asks, asked, heard, worker, task } = asking(answer)
    worker.aborting.set(task, { attempt: 4, tickets: [] })
    asks.abort(worker, [task])
    t.match(heard, [event])
    const { killGraceMs } = managerDefaults
    t.match(asked, [{ timeoutMs: killGraceMs + 5000, body: { tasks: [{ attempt: 4 }] } }])
  })

t.test('TasksAbord has the time of the longest grace, and 5 s', async (t) => {
  const { asks, asked, worker, task } = asking(right('Ack'))
  const patient = stage('sent', { kill_grace_ms: 70_000 }).task
  for (const one of [task, patient]) worker.aborting.set(one, { attempt: 1, tickets: [] })
  asks.abort(worker, [task, patient])
  t.match(asked, [{ timeoutMs: 75_000 }])
})

t.test('a malformed assignment is logged, and each goes again on its own', async (t) => {
  const { asks, asked, heard, logged, worker, task } = asking(
    right('Error', { code: 'malformed', path: 'tasks.0' }),
  )
  asks.execute(worker, [task, task])
  t.equal(asked.length, 3)
  t.equal(heard.length, 2)
  t.same(logged, ['execute-malformed', 'execute-malformed', 'execute-malformed'])
})
