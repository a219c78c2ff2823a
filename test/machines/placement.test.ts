// Placement: who may run a task, who gets it, and the words in which it is explained.

import t from 'tap'
import type { TaskRequest } from '../../protocol/index.ts'
import { managerDefaults } from '../../src/machines/manager-config.ts'
import { explainWorker, needOf, objection } from '../../src/machines/placement.ts'
import type { WorkerClaims } from '../../src/machines/task-events.ts'
import { TaskTable } from '../../src/machines/tasks.ts'
import { done, exec, LEDGER, noop, taskId } from '../support/manager-world.ts'
import { claims } from '../support/task-stage.ts'

const at = (nowMs = 0) => ({ nowMs, wallMs: nowMs })

const tableWith = (...workers: Partial<WorkerClaims>[]): TaskTable => {
  const table = new TaskTable(managerDefaults, LEDGER)
  for (const [index, more] of workers.entries())
    table.apply({
      kind: 'reconcile',
      claims: claims(`w${index + 1}`, { cores: 1, ...more }),
      inventory: [],
      reborn: false,
      ...at(),
    })
  return table
}

let keys = 0
const submit = (table: TaskTable, ...tasks: TaskRequest[]): void => {
  const effects = table.apply({
    kind: 'submit',
    key: `p${++keys}`,
    batch: 'b',
    tasks,
    ...at(),
  })
  const changes = effects.flatMap((one) => (one.kind === 'record' ? [one.change] : []))
  table.apply({ kind: 'durable', changes, ...at() })
}
/** Places; which task went where. */
const place = (table: TaskTable, nowMs = 0): string[] =>
  table.apply({ kind: 'place', ...at(nowMs) }).flatMap((effect) => {
    if (effect.kind !== 'record' || effect.change.kind !== 'assigned') return []
    table.apply({ kind: 'durable', changes: [effect.change], ...at(nowMs) })
    return [`${effect.change.seq} ${effect.change.hostName}`]
  })
const complete = (table: TaskTable, seq: number, nodeId: string, runMs = 1_000): void => {
  const effects = table.apply({
    kind: 'completed',
    nodeId,
    taskId: taskId(seq),
    attempt: 1,
    result: done(runMs),
    ...at(),
  })
  const changes = effects.flatMap((one) => (one.kind === 'record' ? [one.change] : []))
  table.apply({ kind: 'durable', changes, ...at() })
}

const objections: readonly [
  TaskRequest['requires'],
  Partial<WorkerClaims>,
  string | undefined,
][] = [
  [undefined, {}, undefined],
  [{ cores: 8 }, { cores: 2 }, 'needs 8 cores, has 2'],
  [{ memory: 10 }, { memory: 5 }, 'needs 10 bytes of memory, has 5'],
  [{ host_name: 'robot-1' }, {}, 'host_name is not robot-1'],
  [{ host_name: 'w1' }, {}, undefined],
  [{ labels: { arch: 'arm' } }, {}, 'has no label arch, needs arch=arm'],
  [
    { labels: { arch: 'arm' } },
    { labels: { arch: 'x64' } },
    'label arch is x64, not arm',
  ],
  [{ labels: { arch: 'arm' } }, { labels: { arch: 'arm' } }, undefined],
  [{ resources: { gpu: 2 } }, { resources: { gpu: 1 } }, 'needs 2 gpu, has 1'],
  [undefined, { kinds: ['noop', 'file'] }, 'does not run exec jobs, only noop, file'],
]
for (const [requires, more, expected] of objections)
  t.test(
    `says: ${expected ?? 'nothing against it'} (${JSON.stringify(requires)})`,
    async (t) => {
      const worker = tableWith(more).worker('w1')
      if (worker === undefined) throw new Error('w1 is there')
      const need = needOf(exec(requires === undefined ? {} : { requires }))
      t.equal(objection(need, worker), expected)
    },
  )

t.test('a user takes a worker that has him, and holds up nobody else', async (t) => {
  const table = tableWith({}, { labels: { 'user/bob': 'yes' } })
  submit(table, exec({ user: 'eve' }), exec({ user: 'bob' }), exec())
  t.same(place(table), ['2 w2', '3 w1'])
  const [one] = [table.worker('w1')]
  if (one === undefined) throw new Error('w1 is there')
  t.match(objection(needOf(exec({ user: 'bob' })), one), /does not run programs as bob/)
})

t.test('the least loaded worker gets the next task', async (t) => {
  const table = tableWith({ cores: 2 }, { cores: 4 })
  submit(table, ...Array.from({ length: 8 }, () => exec()))
  t.same(
    place(table)
      .map((line) => line.split(' ')[1])
      .sort(),
    ['w1', 'w1', 'w2', 'w2', 'w2', 'w2'],
    'and no more than there are slots',
  )
  t.same(place(table), [])
})

t.test('higher priority goes first, then the older task', async (t) => {
  const table = tableWith({ cores: 1 })
  submit(table, exec(), exec({ priority: -1 }), exec({ priority: 5 }), exec())
  t.same(place(table), ['3 w1'])
  complete(table, 3, 'w1')
  t.same(place(table), ['1 w1'])
  complete(table, 1, 'w1')
  t.same(place(table), ['4 w1'])
  complete(table, 4, 'w1')
  t.same(place(table), ['2 w1'])
})

t.test(
  'a worker of short tasks gets as many again, one of long tasks does not',
  async (t) => {
    for (const [runMs, more] of [
      [20, ['2 w1', '3 w1', '4 w1']],
      [100, ['2 w1', '3 w1']],
      [1_000, ['2 w1']],
    ] as const) {
      const table = tableWith({ cores: 1 })
      submit(table, exec(), exec(), exec(), exec())
      t.same(place(table), ['1 w1'])
      complete(table, 1, 'w1', runMs)
      t.same(place(table), more)
    }
  },
)

t.test('one long task is enough to stop handing out ahead', async (t) => {
  const table = tableWith({ cores: 1 })
  submit(table, ...Array.from({ length: 9 }, () => exec()))
  place(table)
  for (let seq = 1; seq <= 4; seq++) {
    complete(table, seq, 'w1', 100)
    place(table)
  }
  complete(table, 5, 'w1', 1_000)
  t.same(place(table), [], '6 is there already')
  complete(table, 6, 'w1', 1_000)
  t.same(place(table), ['7 w1'])
})

t.test('tasks without cores take no slot, but their number is bounded', async (t) => {
  const table = tableWith({ cores: 1 })
  submit(table, exec(), ...Array.from({ length: 1_500 }, () => noop()))
  t.equal(place(table).length, 1 + managerDefaults.coreless)
})

t.test('memory and resources are shared out', async (t) => {
  const table = tableWith({ cores: 8, memory: 10, resources: { gpu: 1 } })
  const gpu = exec({ requires: { resources: { gpu: 1 } } })
  const large = exec({ requires: { memory: 6 } })
  submit(table, gpu, gpu, large, large)
  t.same(place(table), ['1 w1', '3 w1'])
  complete(table, 1, 'w1')
  complete(table, 3, 'w1')
  t.same(place(table), ['2 w1', '4 w1'])
})

t.test('a large task does not starve behind small ones', async (t) => {
  const table = tableWith({ cores: 2 })
  submit(table, exec(), exec())
  t.equal(place(table).length, 2)
  submit(table, exec({ requires: { cores: 2 } }))
  submit(table, exec(), exec(), exec())
  t.same(place(table), [], 'seen, and blocked from here on')
  complete(table, 1, 'w1')
  t.same(place(table), ['4 w1'], 'for a while the small ones may pass')
  complete(table, 2, 'w1')
  t.same(place(table, 5_000), [], 'then the worker is kept free')
  complete(table, 4, 'w1')
  t.same(place(table, 5_000), ['3 w1'])
})

t.test('who refused a task for good does not get it again', async (t) => {
  const table = tableWith({ cores: 1 }, { cores: 1 })
  submit(table, exec())
  const [line] = place(table)
  const [first, second] = line === '1 w1' ? ['w1', 'w2'] : ['w2', 'w1']
  const worker = table.worker(first)
  const task = table.find(taskId(1))
  if (worker === undefined || task === undefined) throw new Error('they are there')
  const sent = [{ task_id: taskId(1), attempt: 1, ...exec() }]
  const refused = [{ task_id: taskId(1), reason: 'forbidden' as const }]
  table.apply({ kind: 'accepted', worker, sent, refused, ...at() })
  t.match(explainWorker(task.need, worker, task.excluded, managerDefaults, 0), {
    candidate: false,
    reason: 'refused it: forbidden',
  })
  t.same(place(table), [`1 ${second}`])
})

t.test('a worker that is busy is left alone for a while', async (t) => {
  const table = tableWith({ cores: 1 })
  submit(table, exec())
  place(table)
  const worker = table.worker('w1')
  if (worker === undefined) throw new Error('w1 is there')
  const sent = [{ task_id: taskId(1), attempt: 1, ...exec() }]
  const refused = [{ task_id: taskId(1), reason: 'busy' as const, retry_after_ms: 100 }]
  table.apply({ kind: 'accepted', worker, sent, refused, ...at() })
  t.same(place(table, 99), [])
  t.equal(table.nextDueMs(0), 100)
  t.same(place(table, 100), ['1 w1'])
})

t.test('a hundred thousand tasks that nobody can run cost one look', async (t) => {
  const table = tableWith({ cores: 1 })
  const nobody = exec({ requires: { host_name: 'robot-1' } })
  for (let i = 0; i < 400; i++)
    submit(table, ...Array.from({ length: 250 }, () => nobody))
  submit(table, exec())
  t.same(place(table), ['100001 w1'])
})

t.test('many kinds of requirements are looked at over several turns', async (t) => {
  const table = tableWith({ cores: 1 })
  for (let i = 0; i < 1_500; i++)
    submit(table, exec({ requires: { cores: 2, memory: i } }))
  submit(table, exec())
  t.same(place(table), [])
  t.ok(table.wantsPlacing)
  t.same(place(table), ['1501 w1'])
  t.notOk(table.wantsPlacing)
})
