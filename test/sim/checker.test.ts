import t from 'tap'
import type { CheckOptions } from '../../src/sim/checker.ts'
import { checkHistory, createChecker, type RuleName } from '../../src/sim/checker.ts'
import { rules } from '../../src/sim/rules.ts'
import {
  life,
  manager,
  one,
  other,
  type Story,
  story,
  task,
  two,
} from '../support/histories.ts'

const options: CheckOptions = { abortMs: 1_000, signalMs: 500, managerLeaseMs: 20_000 }

const broken = (told: Story, more: CheckOptions = {}): readonly RuleName[] =>
  checkHistory(told.events, { ...options, ...more }).map(({ rule }) => rule)

/** A history, and the one rule that it breaks. */
type Bad = readonly [name: string, rule: RuleName, told: Story]

const bad: readonly Bad[] = [
  ['a task that closes twice', 'one-outcome', story().succeeds(one).closed(1, 'failed')],
  [
    'an acknowledged task without an outcome',
    'no-task-lost',
    story().assigned(one).starts(one).exits(one),
  ],
  [
    'a success that no run earned',
    'outcome-earned',
    story().assigned(one).starts(one).exits(one, 1).closed(1, 'completed'),
  ],
  [
    'a success of a node that the task was never given to',
    'outcome-earned',
    story().assigned(one).reports(two, 'TaskCompleted').closed(),
  ],
  [
    'a failure though no run failed',
    'outcome-earned',
    story().assigned(one).starts(one).closed(1, 'failed').exits(one, 0),
  ],
  [
    'an outcome that is shown before it is on record',
    'shown-as-recorded',
    story().assigned(one).starts(one).exits(one).shown('completed').closed(),
  ],
  [
    'an outcome that is shown otherwise than recorded',
    'shown-as-recorded',
    story().succeeds(one).shown('failed'),
  ],
  [
    'an attempt that is shown before it is on record',
    'shown-as-recorded',
    story().assigned(one).starts(one).shown('queued', 2).requeued(2).exits(one).closed(2),
  ],
  [
    'an outcome that is shown, and then taken back',
    'shown-once',
    story().succeeds(one).shown('completed').shown('running'),
  ],
  [
    'a cancel that is answered while its task is open',
    'cancel-closes',
    story()
      .add({ kind: 'cancelled', client: 'client', taskIds: [task] })
      .closed(1, 'aborted'),
  ],
  [
    'an assignment after the outcome',
    'nothing-after-outcome',
    story().succeeds(one).assigned(two),
  ],
  [
    'a start that is on no record',
    'start-assigned',
    story().starts(one).assigned(one).exits(one).closed(),
  ],
  [
    'a start by a worker that the attempt was not given to',
    'start-assigned',
    story().assigned(two).starts(one).exits(one).assigned(one).closed(),
  ],
  [
    'a start by a boot that the attempt was not meant for',
    'start-assigned',
    story()
      .assigned(one)
      .dies(one)
      .boots(life('one', 'b'))
      .lease(life('one', 'b'))
      .starts(life('one', 'b'))
      .exits(life('one', 'b'))
      .closed(),
  ],
  [
    'an attempt that starts twice',
    'start-once',
    story().assigned(one).starts(one).exits(one, 1).starts(one).exits(one).closed(),
  ],
  [
    'an earlier attempt that starts after a later one',
    'start-once',
    story()
      .assigned(one)
      .requeued(2)
      .assigned(one, 2)
      .lease(one)
      .starts(one, 2)
      .exits(one)
      .starts(one, 1)
      .exits(one)
      .closed(2),
  ],
  [
    'a start in a life that is over',
    'start-alive',
    story().assigned(one).dies(one).starts(one).exits(one).closed(),
  ],
  [
    'a start after its worker told how it ended',
    'no-start-after-report',
    story().assigned(one).reports(one, 'TaskCompleted').starts(one).exits(one).closed(),
  ],
  [
    'a start after its worker acknowledged the abort',
    'no-start-after-abort',
    story().assigned(one).aborts(one, 1).starts(one).exits(one).closed(),
  ],
  [
    'a start after the lease',
    'no-start-without-lease',
    story().lease(one, 1_000).assigned(one).at(2_000).starts(one).exits(one).closed(),
  ],
  [
    'a start without a lease',
    'no-start-without-lease',
    story()
      .boots(life('three'))
      .assigned(life('three'))
      .starts(life('three'))
      .exits(life('three'))
      .closed(),
  ],
  [
    'a start after its manager gave it to another, a whole lease later',
    'no-start-after-requeue',
    story()
      .assigned(one)
      .requeued(2)
      .assigned(two, 2)
      .starts(two, 2)
      .starts(one, 1)
      .exits(one)
      .exits(two, 0, 1)
      .closed(2),
  ],
  [
    'a start after its worker must know of the outcome',
    'no-start-after-outcome',
    story().assigned(one).closed(1, 'aborted').pings(one).starts(one).exits(one),
  ],
  [
    'a start of what its worker was told to drop as it came back',
    'no-start-after-outcome',
    story().assigned(one).closed(1, 'aborted').lease(one).starts(one).exits(one),
  ],
  [
    'a copy that goes on though its worker must know of the outcome',
    'no-run-after-outcome',
    story()
      .assigned(one)
      .starts(one)
      .requeued(2)
      .succeeds(two, 2)
      .pings(one)
      .at(5_000)
      .exits(one, 0, 1)
      .heals()
      .rests(),
  ],
  [
    'a copy that its worker ends long after it must know of the outcome',
    'no-run-after-outcome',
    story()
      .assigned(one)
      .starts(one)
      .requeued(2)
      .succeeds(two, 2)
      .pings(one)
      .at(700)
      .ends(one, 1)
      .exits(one, 143, 1)
      .heals()
      .rests(),
  ],
  [
    'two copies at one worker',
    'one-copy',
    story()
      .assigned(one)
      .starts(one)
      .requeued(2)
      .assigned(one, 2)
      .starts(one, 2)
      .exits(one, 0, 1)
      .exits(one, 0, 2)
      .closed(2),
  ],
  [
    'an outcome under another number than the last',
    'reruns-shown',
    story().assigned(one).starts(one).requeued(2).exits(one).closed(1),
  ],
  [
    'a requeue that skips a number',
    'reruns-shown',
    story().assigned(one).requeued(3).succeeds(one, 3),
  ],
  [
    'a start under a number that the user never sees',
    'reruns-counted',
    story()
      .assigned(one)
      .starts(one)
      .exits(one)
      .assigned(one, 2)
      .starts(one, 2)
      .exits(one)
      .closed(),
  ],
  [
    'a loss counted for a partition that heals',
    'losses-real',
    story()
      .assigned(one)
      .starts(one)
      .requeued(2, { losses: 1 })
      .succeeds(two, 2)
      .exits(one, 0, 1),
  ],
  [
    'a loss counted twice for one boot',
    'losses-real',
    story()
      .assigned(one)
      .starts(one)
      .dies(one)
      .requeued(2, { losses: 1 })
      .requeued(3, { losses: 2 })
      .assigned(two, 3)
      .starts(two, 3)
      .exits(two)
      .closed(3, 'completed', 2),
  ],
  [
    'a failure counted for a run that goes on',
    'failures-real',
    story().assigned(one).starts(one).requeued(2, { failures: 1 }).exits(one).closed(2),
  ],
  [
    'a failure of a run that was ending before that attempt was assigned',
    'failure-own',
    story()
      .assigned(one)
      .starts(one)
      .ends(one)
      .requeued(2)
      .assigned(one, 2)
      .exits(one, 143)
      .reports(one, 'TaskError', 2)
      .closed(2, 'failed'),
  ],
  [
    'a request that is settled twice',
    'one-settlement',
    story()
      .succeeds(one)
      .asks(one, 'ManagerPing', 'manager')
      .misses(one, 'timeout')
      .misses(one, 'disconnected'),
  ],
  [
    'a request that is settled and was never asked',
    'one-settlement',
    story()
      .succeeds(one)
      .add({ kind: 'settled', ...one, ask: 99, answer: 'Ack' }),
  ],
  [
    'a request that is answered twice',
    'one-answer',
    story()
      .succeeds(one)
      .asks(one, 'ManagerBye', 'manager')
      .answers(manager, 'Ack')
      .answers(manager, 'Ack')
      .gets(one, 'Ack'),
  ],
  [
    'a request that is answered by another node',
    'one-answer',
    story()
      .succeeds(one)
      .asks(one, 'ManagerBye', 'manager')
      .answers(two, 'Ack')
      .answers(manager, 'Ack')
      .gets(one, 'Ack'),
  ],
  [
    'an answer of another row',
    'answer-allowed',
    story()
      .succeeds(one)
      .asks(one, 'ManagerPing', 'manager')
      .answers(manager, 'Ack')
      .misses(one, 'timeout'),
  ],
  [
    'a failure that nodes of ours never have',
    'answer-allowed',
    story().succeeds(one).asks(one, 'ManagerPing', 'manager').misses(one, 'protocol'),
  ],
  [
    'an answer that nobody gave',
    'answer-given',
    story().succeeds(one).asks(one, 'ManagerPing', 'manager').gets(one, 'ManagerPong'),
  ],
  [
    'a byte that is read twice',
    'stream-in-order',
    story()
      .assigned(one)
      .starts(one)
      .writes('aaaa')
      .reads(0, 'aa')
      .reads(1, 'aa')
      .exits(one)
      .closed(),
  ],
  [
    'a gap that is not counted as lost',
    'stream-in-order',
    story()
      .assigned(one)
      .starts(one)
      .writes('abcd')
      .reads(0, 'a')
      .reads(2, 'c')
      .exits(one)
      .closed(),
  ],
  [
    'a gap that an earlier loss does not explain',
    'stream-in-order',
    story()
      .assigned(one)
      .starts(one)
      .writes('abcdef')
      .reads(2, 'c', { lost: 2 })
      .reads(5, 'f')
      .exits(one)
      .closed(),
  ],
  [
    'bytes after the end',
    'stream-true',
    story()
      .assigned(one)
      .starts(one)
      .writes('abcd')
      .reads(0, 'abcd', { isEof: true })
      .reads(4, 'e')
      .exits(one)
      .closed(),
  ],
  [
    'bytes that nobody wrote',
    'stream-true',
    story().assigned(one).starts(one).writes('abcd').reads(0, 'abxd').exits(one).closed(),
  ],
  [
    'an end before the end',
    'stream-true',
    story()
      .assigned(one)
      .starts(one)
      .writes('abcd')
      .reads(0, 'ab', { isEof: true })
      .exits(one)
      .closed(),
  ],
  [
    'output that is glued together from two runs',
    'stream-true',
    story()
      .assigned(one)
      .starts(one)
      .writes('run one')
      .reads(0, 'run ', { attempt: 2 })
      .dies(one)
      .requeued(2)
      .assigned(two, 2)
      .starts(two, 2)
      .writes('run two')
      .reads(4, 'two', { attempt: 2 })
      .reads(7, '!', { attempt: 2 })
      .exits(two)
      .closed(2),
  ],
  [
    'input that begins in the midst of what was written',
    'input-whole',
    story().types('abcd').assigned(one).starts(one).takes('cd').exits(one).closed(),
  ],
  [
    'an exclusive task that starts beside a run of its own',
    'exclusive-alone',
    story()
      .exclusive()
      .assigned(one)
      .starts(one)
      .requeued(2)
      .assigned(two, 2)
      .starts(two, 2)
      .exits(two)
      .closed(2)
      .exits(one, 0, 1),
  ],
  [
    'half an input that passes for a whole one',
    'input-whole',
    story().types('abcd').assigned(one).starts(one).takes('ab', true).exits(one).closed(),
  ],
  [
    'input that nobody wrote',
    'input-whole',
    story().assigned(one).starts(one).takes('ab').exits(one).closed(),
  ],
  ['a mesh that never comes to rest', 'comes-to-rest', story().succeeds(one).heals()],
  [
    'a program that runs on at rest',
    'rests-empty',
    story().assigned(one).starts(one).closed(1, 'aborted').heals().rests(),
  ],
  [
    'a task that is open at rest',
    'rests-empty',
    story()
      .succeeds(one)
      .heals()
      .rests({ open: [other] }),
  ],
  [
    'a request without an answer at rest',
    'rests-empty',
    story()
      .succeeds(one)
      .asks(one, 'ManagerPing', 'manager')
      .heals()
      .rests({ asks: [3] }),
  ],
]

for (const [name, rule, told] of bad)
  t.test(`${name} breaks ${rule}`, async (t) => {
    t.same(broken(told), [rule])
  })

t.test('every rule has a history that breaks it', async (t) => {
  const shown = new Set<string>(bad.map(([, rule]) => rule))
  const missing = Object.keys(rules).filter((rule) => !shown.has(rule))
  t.same(missing, [])
})

const good: readonly (readonly [name: string, told: Story])[] = [
  [
    'a task that succeeds, is shown and read to its end',
    story()
      .shown('queued')
      .assigned(one)
      .starts(one)
      .shown('running')
      .writes('hello ')
      .reads(0, 'hel')
      .writes('world')
      .reads(3, 'lo world', { isEof: true })
      .exits(one)
      .reports(one, 'TaskCompleted')
      .closed()
      .shown('completed')
      .shown('completed')
      .heals()
      .rests(),
  ],
  [
    'a refused hand-out that goes elsewhere under the same number',
    story().assigned(one).assigned(two).assigned(one).succeeds(two).heals().rests(),
  ],
  [
    'a waiting copy that is adopted under a higher number',
    story().assigned(one).requeued(2).lease(one).succeeds(one, 2).heals().rests(),
  ],
  [
    'a waiting copy that starts under its old number as its worker is taken back',
    story()
      .assigned(one)
      .requeued(2)
      .lease(one)
      .starts(one, 1)
      .assigned(one, 2)
      .exits(one)
      .reports(one, 'TaskCompleted', 2)
      .closed(2)
      .heals()
      .rests(),
  ],
  [
    'a running copy that is adopted, and read under both numbers',
    story()
      .assigned(one)
      .starts(one)
      .writes('abcd')
      .reads(0, 'ab')
      .requeued(2)
      .lease(one)
      .assigned(one, 2)
      .reads(0, 'abcd', { attempt: 2, isEof: true })
      .exits(one)
      .reports(one, 'TaskCompleted', 2)
      .closed(2)
      .heals()
      .rests(),
  ],
  [
    'a stream that is read anew: what was taken of it is lost, and then what the cap drops',
    story()
      .assigned(one)
      .starts(one)
      .writes('abcdefgh')
      .reads(0, 'ab')
      .requeued(2)
      .lease(one)
      .assigned(one, 2)
      .reads(2, 'cd', { attempt: 2, lost: 2 })
      .reads(7, 'h', { attempt: 2, lost: 3 })
      .exits(one)
      .reports(one, 'TaskCompleted', 2)
      .closed(2)
      .heals()
      .rests(),
  ],
  [
    'an input that a second run gets from its first byte',
    story()
      .types('abcd')
      .assigned(one)
      .starts(one)
      .takes('ab')
      .dies(one)
      .requeued(2, { losses: 1 })
      .assigned(two, 2)
      .starts(two, 2)
      .takes('abc')
      .takes('d', true)
      .exits(two)
      .reports(two, 'TaskCompleted', 2)
      .closed(2, 'completed', 1)
      .heals()
      .rests(),
  ],
  [
    'a success that is told again under a higher number',
    story()
      .assigned(one)
      .starts(one)
      .exits(one)
      .asks(one, 'TaskCompleted', 'manager', 1)
      .misses(one, 'disconnected')
      .requeued(2)
      .lease(one)
      .assigned(one, 2)
      .reports(one, 'TaskCompleted', 2)
      .closed(2)
      .heals()
      .rests(),
  ],
  [
    'a copy that is ended after it was adopted',
    story()
      .assigned(one)
      .starts(one)
      .requeued(2)
      .lease(one)
      .assigned(one, 2)
      .ends(one)
      .exits(one, 143)
      .reports(one, 'TaskError', 2)
      .closed(2, 'failed')
      .heals()
      .rests(),
  ],
  [
    'a success of an old copy, and an abort that comes late to the new one',
    story()
      .assigned(one)
      .starts(one)
      .requeued(2)
      .assigned(two, 2)
      .exits(one)
      .reports(one, 'TaskCompleted')
      .closed(2)
      .starts(two, 2)
      .aborts(two, 2)
      .exits(two, 143)
      .heals()
      .rests(),
  ],
  [
    'a partition that heals: two copies ran, no loss is counted',
    story()
      .assigned(one)
      .starts(one)
      .requeued(2)
      .assigned(two, 2)
      .starts(two, 2)
      .lease(one)
      .aborts(one, 1)
      .exits(one, 143, 1)
      .exits(two)
      .reports(two, 'TaskCompleted', 2)
      .closed(2)
      .heals()
      .rests(),
  ],
  [
    'a worker that is away for ten leases counts as lost',
    story()
      .assigned(one)
      .at(90_000)
      .lease(two, 1_000_000)
      .at(300_000)
      .requeued(2, { losses: 1 })
      .assigned(two, 2)
      .starts(two, 2)
      .exits(two)
      .closed(2, 'completed', 1),
  ],
  [
    'three workers that die of a task',
    story()
      .assigned(one)
      .starts(one)
      .dies(one)
      .requeued(2, { losses: 1 })
      .assigned(two, 2)
      .starts(two, 2)
      .dies(two)
      .requeued(3, { losses: 2 })
      .boots(life('two', 'b'))
      .lease(life('two', 'b'))
      .assigned(life('two', 'b'), 3)
      .dies(life('two', 'b'))
      .closed(3, 'failed', 3)
      .shown('failed', 3)
      .heals()
      .rests(),
  ],
  [
    'a task left on disk that the next life starts',
    story()
      .assigned(one)
      .dies(one)
      .boots(life('one', 'b'))
      .carries(life('one', 'b'))
      .lease(life('one', 'b'))
      .starts(life('one', 'b'))
      .exits(life('one', 'b'))
      .closed()
      .heals()
      .rests(),
  ],
  [
    'failures up to the retries, with the aborts of an overrun',
    story()
      .assigned(one)
      .starts(one)
      .exits(one, 1)
      .reports(one, 'TaskError')
      .requeued(2, { failures: 1 })
      .assigned(one, 2)
      .starts(one, 2)
      .exits(one, 143)
      .aborts(one, 2)
      .closed(2, 'failed')
      .heals()
      .rests(),
  ],
  [
    'a program that cannot be started',
    story().assigned(one).reports(one, 'TaskError').closed(1, 'failed').heals().rests(),
  ],
  [
    'a task that is cancelled, and stopped while its worker does not hear of it',
    story()
      .assigned(one)
      .starts(one)
      .closed(1, 'aborted')
      .add({ kind: 'cancelled', client: 'client', taskIds: [task] })
      .at(90_000)
      .heals()
      .aborts(one, 1)
      .exits(one, 143)
      .rests(),
  ],
  [
    'output of which a cap dropped the middle',
    story()
      .assigned(one)
      .starts(one)
      .writes('abcdefgh')
      .reads(0, 'ab')
      .reads(6, 'gh', { lost: 4, isEof: true })
      .exits(one)
      .closed(),
  ],
  [
    'requests that die with their askers',
    story().succeeds(two).asks(one, 'ManagerPing', 'manager').dies(one).heals().rests(),
  ],
  [
    'a busy node that answers Error before any handler',
    story()
      .succeeds(one)
      .asks(one, 'ManagerPing', 'manager')
      .gets(one, 'Error')
      .heals()
      .rests(),
  ],
  [
    'tasks of a ledger that died with its manager',
    story()
      .assigned(one)
      .add({ kind: 'ledger-lost', ledgerId: 'ledger0001' })
      .heals()
      .rests(),
  ],
]

for (const [name, told] of good)
  t.test(`${name} breaks nothing`, async (t) => {
    t.same(broken(told), [])
  })

t.test('clocks that drift and programs that start late are allowed for', async (t) => {
  const told = story()
    .lease(one, 1_000)
    .assigned(one)
    .at(1_040)
    .starts(one)
    .exits(one)
    .closed()
  t.same(broken(told), ['no-start-without-lease'])
  t.same(broken(told, { drift: 0.05 }), [])
  t.same(broken(told, { startMs: 50 }), [])
})

t.test('where only each node has its order, what needs more is not held', async (t) => {
  const late = story().starts(one).assigned(one).exits(one).shown('completed').closed()
  t.same(broken(late, { order: 'own' }), [])
  const never = story().starts(one).assigned(two).exits(one).closed()
  t.same(broken(never, { order: 'own' }), ['start-assigned'])
})

t.test('a rule can be left out, and each violation says what happened', async (t) => {
  const told = story().succeeds(one).closed(1, 'failed')
  t.same(broken(told, { except: ['one-outcome'] }), [])
  const [violation] = checkHistory(told.events)
  t.match(violation, {
    rule: 'one-outcome',
    says: /closed as completed, and again as failed/,
    events: [{ state: 'completed' }, { state: 'failed' }],
  })
})

t.test('violations are told as they are seen, and are bounded', async (t) => {
  const checker = createChecker()
  const told = story().succeeds(one)
  for (let i = 0; i < 200; i++) told.closed()
  for (const event of told.events) checker.see(event)
  t.equal(checker.violations.length, 100)
  t.equal(checker.finish().length, 100)
})
