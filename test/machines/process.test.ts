// Process: one program through its runs, its ladder and its restarts.

import fc from 'fast-check'
import t from 'tap'
import type { ProcessSpec } from '../../protocol/index.ts'
import {
  exitCodeOf,
  hasProgram,
  isOver,
  newProcess,
  type Process,
  type ProcessEffect,
  type ProcessEvent,
  type ProcessNews,
  step,
} from '../../src/machines/process.ts'
import { infoOf, ProcessTable } from '../../src/machines/process-table.ts'

const at = (news: ProcessNews, nowMs = 0): ProcessEvent => ({
  ...news,
  nowMs,
  atMs: 1e12 + nowMs,
})

/** Through all of them, from its start; the effects of each. */
const through = (
  spec: Partial<ProcessSpec>,
  ...events: readonly ProcessEvent[]
): {
  readonly process: Process
  readonly effects: readonly (readonly ProcessEffect[])[]
} => {
  let process = newProcess({ path: '/bin/x', ...spec })
  const effects = events.map((event) => {
    const [next, made] = step(process, event)
    process = next
    return made
  })
  return { process, effects }
}

const started = at({ kind: 'started', pid: 7 })
const stop = at({ kind: 'stop' })
const timer = at({ kind: 'timer' })
const exit = (exitCode: number, nowMs = 0) =>
  at({ kind: 'ended', end: { exitCode } }, nowMs)
const spawnError = { code: 'ENOENT', reason: 'is not there' }
const failed = at({ kind: 'ended', end: { spawnError } })
const ladder: ProcessEffect = { kind: 'timer', afterMs: 5_000 }
const signal = (name: 'SIGINT' | 'SIGTERM' | 'SIGKILL'): ProcessEffect => ({
  kind: 'signal',
  signal: name,
})

t.test(
  'a stop is INT, then TERM, then KILL; the first one started the clock',
  async (t) => {
    const { effects } = through(
      {},
      started,
      stop,
      stop,
      timer,
      stop,
      timer,
      timer,
      exit(0),
    )
    t.same(effects, [
      [{ kind: 'began', pid: 7 }],
      [signal('SIGINT'), ladder],
      [],
      [signal('SIGTERM'), ladder],
      [],
      [signal('SIGKILL')],
      [],
      [{ kind: 'over' }],
    ])
  },
)

t.test('a stop before the system has answered counts once it has', async (t) => {
  const { effects, process } = through({ restart: { policy: 'always' } }, stop, started)
  t.same(effects[1], [{ kind: 'began', pid: 7 }, signal('SIGINT'), ladder])
  t.equal(process.phase.kind, 'stopping')
})

t.test(
  'a first run that cannot start is refused, a later one is a failure',
  async (t) => {
    t.same(through({}, failed).effects, [[{ kind: 'refused', ...spawnError }]])
    const restart = { policy: 'on-failure' } as const
    const { effects, process } = through({ restart }, started, exit(1), timer, failed)
    t.same(effects.at(-1), [{ kind: 'timer', afterMs: 2_000 }])
    t.match(process, { phase: { kind: 'waiting' }, run: 2, last: { spawnError } })
  },
)

const restarts: readonly [
  title: string,
  restart: NonNullable<ProcessSpec['restart']>,
  code: number,
  backoffMs: number | undefined,
][] = [
  ['never, after a failure', { policy: 'never' }, 1, undefined],
  ['on-failure, after a success', { policy: 'on-failure' }, 0, undefined],
  ['on-failure, after a failure', { policy: 'on-failure' }, 1, 1_000],
  ['always, after a success', { policy: 'always' }, 0, 1_000],
  ['a limit of none', { policy: 'always', limit: 0 }, 0, undefined],
  ['its own delay', { policy: 'always', backoff_ms: 10 }, 0, 10],
]
for (const [title, restart, code, backoffMs] of restarts)
  t.test(`restart: ${title}`, async (t) => {
    const { effects } = through({ restart }, started, exit(code))
    t.same(
      effects[1],
      backoffMs === undefined
        ? [{ kind: 'over' }]
        : [{ kind: 'timer', afterMs: backoffMs }],
    )
  })

t.test('the delay doubles to a minute; a run of a minute begins anew', async (t) => {
  let process = newProcess({ path: '/bin/x', restart: { policy: 'always' } })
  const apply = (event: ProcessEvent) => {
    const [next, effects] = step(process, event)
    process = next
    return effects
  }
  const delayAfter = (runMs: number) => {
    apply(at({ kind: 'started', pid: 1 }, 0))
    const [effect] = apply(exit(1, runMs))
    apply(timer)
    return effect?.kind === 'timer' ? effect.afterMs : undefined
  }
  t.same(
    [1, 1, 1, 1, 1, 1, 1, 59_999, 60_000, 1].map(delayAfter),
    [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 1_000, 2_000],
  )
})

t.test('a stop while it waits for its restart ends it for good', async (t) => {
  const restart = { policy: 'always' } as const
  const { effects, process } = through({ restart }, started, exit(3), stop, timer)
  t.same(effects.slice(2), [[{ kind: 'over' }], []])
  t.match(infoOf('p1', process), { state: 'exited', exit_code: 3, running: false })
})

t.test('a signal is told as a shell tells it', async (t) => {
  const told = [{ exitCode: 3 }, { signal: 'SIGKILL' }, { signal: 'SIGTERM' }].map(
    exitCodeOf,
  )
  t.same(told, [3, 137, 143])
  t.equal(exitCodeOf({ signal: 'launcher-lost' }), 128)
  t.equal(exitCodeOf({ spawnError }), undefined)
})

t.test(
  'ready: once it runs, or once it is told; by its end, if that was asked',
  async (t) => {
    t.equal(through({}, started).process.isReady, true)
    const ready = { log: 'up' }
    t.equal(through({ ready }, started).process.isReady, false)
    t.equal(through({ ready }, started, at({ kind: 'ready' })).process.isReady, true)
    t.equal(
      through({ ready }, started, exit(0), at({ kind: 'ready' })).process.isReady,
      false,
    )
    t.equal(through({ ready: { exit: true } }, started, exit(0)).process.isReady, true)
    t.equal(through({ ready: { exit: true } }, started, exit(1)).process.isReady, false)
  },
)

const anyNews: fc.Arbitrary<ProcessNews> = fc.oneof(
  fc.record({
    kind: fc.constant('started' as const),
    pid: fc.integer({ min: 1, max: 9 }),
  }),
  fc.record({
    kind: fc.constant('ended' as const),
    end: fc.constantFrom(
      { exitCode: 0 },
      { exitCode: 1 },
      { signal: 'SIGKILL' },
      { spawnError },
    ),
  }),
  fc.constantFrom(
    { kind: 'timer' as const },
    { kind: 'stop' as const },
    { kind: 'ready' as const },
  ),
)

t.test('whatever happens, what is stopped never starts again', async (t) => {
  const restart = fc.constantFrom(
    { policy: 'always' as const },
    { policy: 'never' as const },
  )
  fc.assert(
    fc.property(
      restart,
      fc.array(anyNews),
      fc.array(anyNews),
      (restart, before, after) => {
        let { process } = through({ restart }, ...before.map((news) => at(news)), stop)
        const { run } = process
        for (const news of after) {
          const [next, effects] = step(process, at(news))
          if (effects.some(({ kind }) => kind === 'start')) return false
          if (isOver(process) && effects.length > 0) return false
          process = next
        }
        return process.run === run
      },
    ),
  )
  t.pass('no start after a stop')
})

t.test(
  'a table knows processes by id, pid and key, and forgets the oldest ended',
  async (t) => {
    const table = new ProcessTable({ ageMs: 100, count: 2 })
    const start = (pid: number, key?: string) => {
      const id = table.add({ path: '/bin/x' }, key)
      table.apply(id, at({ kind: 'started', pid }))
      return id
    }
    const first = start(7, 'once')
    t.equal(table.withKey('once'), first)
    t.equal(table.find({ pid: 7 }), first)
    t.equal(table.find({ process_id: first, pid: 8 }), undefined)
    t.equal(table.find({}), undefined)
    table.apply(first, exit(0, 10))
    t.equal(table.find({ pid: 7 }), first, 'known after its end')
    const second = start(7)
    t.equal(table.find({ pid: 7 }), second, 'the pid is the newer one')
    t.same(table.pids, [7])
    t.equal(table.open, 1)
    t.same(table.sweep(109), [])
    t.same(table.sweep(110), [first])
    t.equal(table.withKey('once'), undefined)
    t.equal(table.find({ process_id: first }), undefined)
    t.equal(table.find({ pid: 7 }), second, 'and stays so')
    const others = [10, 11, 12].map((pid) => start(pid))
    for (const id of others) table.apply(id, exit(0, 200))
    t.same(table.sweep(200), others.slice(0, 1), 'too many')
    t.same(
      [...table.list({ all: true })].map(([id]) => id),
      [second, ...others.slice(1)],
    )
    t.same(
      [...table.list({ all: false })].map(([id]) => id),
      [second],
    )
    t.same(
      [...table.list({ all: true, after: second })].map(([id]) => id),
      others.slice(1),
    )
  },
)

t.test('a table without a program holds no refused process', async (t) => {
  const table = new ProcessTable({ ageMs: 100, count: 2 })
  const id = table.add({ path: '/nope' }, 'key')
  table.apply(id, failed)
  t.equal(table.get(id), undefined)
  t.equal(table.withKey('key'), undefined, 'its key may be tried again')
  t.equal(table.open, 0)
  t.equal(hasProgram(newProcess({ path: '/bin/x' })), false)
})
