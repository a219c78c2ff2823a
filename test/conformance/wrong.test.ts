// The kit finds wrong implementations: our own nodes, each with one rule broken on purpose.
// Every one of them runs against the same cases, and must fail in its own and in no other.

import t from 'tap'
import { run } from '../../conformance/run.ts'
import type { Mutation } from './mutate.ts'
import { startNode } from './support.ts'

interface Wrong extends Mutation {
  readonly name: string
  readonly role: 'worker' | 'manager'
  /** The cases that find it. */
  readonly found: readonly string[]
}

const workers: readonly Omit<Wrong, 'role'>[] = [
  {
    name: 'answers twice',
    file: 'protocol/requests.js',
    changes: [
      ['this.#port.send(bytes);', 'this.#port.send(bytes); this.#port.send(bytes);'],
    ],
    found: ['watch: it answers once'],
  },
  {
    name: 'counts its ids down',
    file: 'protocol/asks.js',
    changes: [
      ['#nextId = 1;', '#nextId = 1e9;'],
      ['this.#nextId++', 'this.#nextId--'],
      ['if (id >= this.#nextId)', 'if (id > 1e9 || id <= this.#nextId)'],
    ],
    found: ['watch: its ids grow'],
  },
  {
    name: 'answers with a kind of another row',
    file: 'protocol/requests.js',
    changes: [
      [
        'k: answerKind, b: body',
        "k: answerKind === 'BlobData' ? 'TaskOutputData' : answerKind, b: body",
      ],
    ],
    found: ['watch: its answers are of the row'],
  },
  {
    name: 'passes over texts',
    file: 'mesh/link.js',
    changes: [['this.#conversation.receiveText();', 'undefined;']],
    found: ['frames: a text closes with 4400'],
  },
  {
    name: 'takes frames of any size',
    file: 'mesh/transport.js',
    changes: [['maxPayload: maxFrameBytes', 'maxPayload: 0']],
    found: ['frames: one that is too large'],
  },
  {
    name: 'hangs up on an unknown kind',
    file: 'protocol/requests.js',
    changes: [
      [
        "this.refuse(envelope, { code: 'unknown-kind' });",
        "this.#port.bug(new Error('unknown kind'));",
      ],
    ],
    found: ['requests: an unknown kind'],
  },
  {
    name: 'counts no strikes',
    file: 'protocol/conversation.js',
    changes: [['if (++this.#strikes >= this.#limits.strikes)', 'if (false)']],
    found: ['requests: the third strike', 'requests: a second answer is a strike'],
  },
  {
    name: 'obeys any rel',
    file: 'machines/relationship.js',
    changes: [['state.phase.rel === rel', 'true']],
    found: ['relationship: another rel gets NotMine'],
  },
  {
    name: 'runs the same attempt a second time',
    file: 'machines/worker-task-taking.js',
    changes: [['return again(entry);', 'return accept(core, task);']],
    found: ['tasks: the same attempt again', 'tasks: an ended attempt again'],
  },
  {
    name: 'takes tasks that were meant for another boot',
    file: 'roles/worker-orders.js',
    changes: [['boot === this.#ports.config.bootId', 'true']],
    found: ['tasks: for another boot'],
  },
  {
    name: 'forgets what it has done',
    file: 'machines/worker-task-core.js',
    changes: [['this.tombstones.put(task.task_id, task.attempt, isFence, nowMs);', '']],
    found: [
      'tasks: an ended attempt again',
      'tasks: a lower attempt',
      'tasks: an abort of one that runs',
      'tasks: an abort of one that waits',
      'tasks: an abort of one that has ended',
    ],
  },
  {
    name: 'says that a task is gone before it is',
    file: 'roles/worker-orders.js',
    changes: [['open += 1;', '']],
    found: ['tasks: an abort of one that runs'],
  },
]

const managers: readonly Omit<Wrong, 'role'>[] = [
  {
    name: "believes another node's id",
    file: 'identity/subject.js',
    changes: [['names.party.nodeId === nodeIdOf(certificate.publicKey)', 'true']],
    found: ["upgrade: one with another node's id is refused"],
  },
  {
    name: 'records the outcome of a stranger',
    file: 'machines/task-outcomes.js',
    changes: [['wasHandedTo(task, nodeId, attempt)', 'true']],
    found: ['queue: an outcome of a stranger is none'],
  },
]

const wrong: readonly Wrong[] = [
  ...workers.map((one) => ({ ...one, role: 'worker' }) as const),
  ...managers.map((one) => ({ ...one, role: 'manager' }) as const),
]

/** What finds any of them, and makes every kind of frame come that the others look at. */
const only = [...new Set(wrong.flatMap(({ found }) => found)), 'output: more is read']

t.setTimeout(180_000)

t.test('each wrong implementation fails in the cases meant for it', (t) => {
  t.jobs = 4
  for (const { name, role, found, file, changes } of wrong)
    t.test(`a ${role} that ${name}`, async (t) => {
      const MUTATION = JSON.stringify({ file, changes })
      const preload = ['--import', './dist/test/conformance/mutate.js']
      const target = await startNode(t, role, preload, {
        MUTATION,
        NODE_V8_COVERAGE: undefined, // what it covers is not what is there
      })
      const results = await run({ target, role, only, patienceMs: 8000 })
      const failed = results.filter(({ verdict }) => verdict === 'fail')
      const names = failed.map((result) => result.name).sort()
      t.same(names, [...found].sort(), failed.map(({ reason }) => reason).join('; '))
    })
  t.end()
})
