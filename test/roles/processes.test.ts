// Processes: the process manager's role, with programs that do as the test says.

import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import {
  type AnswerOf,
  type Kind,
  type ProcessSpec,
  type RequestOf,
  rightsOf,
} from '../../protocol/index.ts'
import type { Jobs, Log, Peer } from '../../src/ports.ts'
import { PROCESSES_DEFAULTS, type ProcessesConfig } from '../../src/roles/process-spec.ts'
import { Processes } from '../../src/roles/processes.ts'
import { FakeRunner } from '../support/fake-runner.ts'
import { createManualClock } from '../support/manual-clock.ts'

const silence = () => undefined
const log: Log = { info: silence, warn: silence, error: silence, debug: silence }

const jobs: Jobs = {
  objection: () => undefined,
  prepare: (address, settle) => {
    const program = address.replace('exec:', '')
    settle(
      program === '/nope'
        ? E.left({ kind: 'spawn', code: 'ENOENT', reason: 'it is not there' })
        : E.right({ program, leading: [] }),
    )
  },
}

const world = (limit = 10, more: Partial<ProcessesConfig> = {}) => {
  const clock = createManualClock()
  const runner = new FakeRunner()
  let isRefused = true
  const config = {
    ...PROCESSES_DEFAULTS,
    hostName: 'pi',
    environment: { PATH: '/bin' },
    directory: '/work',
    limit,
    ...more,
  }
  const mesh = {
    isRefused: (_host: string, _port: number, settle: (isRefused: boolean) => void) =>
      settle(isRefused),
  }
  const processes = new Processes({ clock, runner, jobs, mesh, log, config })
  /** Asks; the answers so far, of which there is one at most. */
  const ask = <K extends Kind>(
    kind: K,
    body: RequestOf<K>,
    scopes: readonly string[] = [],
  ): AnswerOf<K>[] => {
    const answers: AnswerOf<K>[] = []
    const respond = (name: string, answer: unknown) =>
      answers.push({ kind: name, body: answer } as AnswerOf<K>) // of the row of K
    const handler = processes.handlers[kind] as (
      body: RequestOf<K>,
      respond: unknown,
      from: Peer,
    ) => void
    // Of who it is, nobody looks at more.
    handler(body, respond, { rights: rightsOf(scopes) } as unknown as Peer)
    return answers
  }
  const start = (spec: Partial<ProcessSpec> = {}, pid = 7) => {
    const answers = ask('ProcessStart', { spec: { path: '/bin/x', ...spec } })
    runner.run().started(pid)
    return answers
  }
  const open = (): void => {
    isRefused = false
  }
  return { clock, runner, processes, ask, start, open }
}

t.test('a start is answered when the system has it, and not before', async (t) => {
  const { runner, ask } = world()
  const spec = { path: '/bin/x', args: ['a b', ''], env: { A: 'b' }, dir: '/tmp' }
  const answers = ask('ProcessStart', { spec })
  t.same(answers, [])
  t.match(runner.run().spec, {
    program: '/bin/x',
    arguments: ['a b', ''],
    directory: '/tmp',
    output: 'capture',
    environment: {
      PATH: '/bin',
      A: 'b',
      MANYHANDS_HOST_NAME: 'pi',
      MANYHANDS_PROCESS_ID: 'p1',
    },
  })
  runner.run().started(99)
  t.same(answers, [{ kind: 'ProcessStarted', body: { pid: 99, process_id: 'p1' } }])
  t.match(ask('ProcessQuery', { pid: 99 }), [
    { kind: 'ProcessStatus', body: { running: true, ready: true, pid: 99 } },
  ])
  runner.run().end({ signal: 'SIGSEGV' })
  t.match(ask('ProcessQuery', { pid: 99 }), [
    { body: { running: false, exit_code: 139, signal: 'SIGSEGV', state: 'exited' } },
  ])
  t.same(ask('ProcessList', {}), [
    { kind: 'ProcessesList', body: { pids: [], processes: [] } },
  ])
})

t.test(
  'variables that make other code run take admin, where nothing is limited',
  async (t) => {
    const { ask, runner } = world()
    const spec = (env: Record<string, string>) => ({ spec: { path: '/bin/x', env } })
    const preload = spec({ LD_PRELOAD: 'x' })
    for (const scopes of [[], ['processes'], ['admin@other-*']])
      t.match(ask('ProcessStart', preload, scopes), [
        { kind: 'Refused', body: { reason: 'forbidden', message: /LD_PRELOAD.*admin/ } },
      ])
    t.equal(runner.runs.length, 0)
    ask('ProcessStart', preload, ['admin@p?'])
    ask('ProcessStart', spec({ PATH: '/x' }))
    t.equal(runner.runs.length, 2)
    const limited = world(10, { isLimited: true })
    for (const asked of [preload, spec({ PATH: '/x' })])
      t.match(limited.ask('ProcessStart', asked, ['admin']), [
        {
          kind: 'Refused',
          body: { reason: 'forbidden', message: /this host limits them/ },
        },
      ])
  },
)

t.test('the same key again is the same process', async (t) => {
  const { runner, ask } = world()
  const spec = { path: '/bin/x' }
  const answers = [
    ask('ProcessStart', { spec, key: 'k' }),
    ask('ProcessStart', { spec, key: 'k' }),
  ]
  runner.run().started(5)
  answers.push(ask('ProcessStart', { spec, key: 'k' }))
  const one = { kind: 'ProcessStarted', body: { pid: 5, process_id: 'p1' } }
  t.same(answers, [[one], [one], [one]])
  t.equal(runner.runs.length, 1)
})

const refusals: readonly [spec: ProcessSpec, reason: string, message: RegExp][] = [
  [{ path: '/nope' }, 'ENOENT', /not there/],
  [{ path: '' }, 'invalid', /empty/],
  [{ path: './x' }, 'invalid', /absolute path or a name, got \.\/x/],
  [{ path: '/bin/x', dir: 'here' }, 'invalid', /absolute directory, got here/],
  [{ path: '/bin/x', args: ['\0'] }, 'invalid', /NUL/],
  [{ path: '/bin/x', env: { A: '\0' } }, 'invalid', /NUL/],
  [{ path: '/bin/x', stdin: Buffer.from('x'), stdin_live: true }, 'invalid', /either/],
  [{ path: '/bin/x', env: { LD_PRELOAD: '/x' } }, 'forbidden', /LD_PRELOAD/],
]
for (const [spec, reason, message] of refusals)
  t.test(`refused: ${JSON.stringify(spec)}`, async (t) => {
    const { runner, ask } = world()
    t.match(ask('ProcessStart', { spec }), [
      { kind: 'Refused', body: { reason, message } },
    ])
    t.equal(runner.runs.length, 0)
    t.match(ask('ProcessList', { all: true }), [{ body: { processes: [] } }])
  })

t.test('what the system refuses is refused, and forgotten', async (t) => {
  const { runner, ask, processes } = world()
  const answers = ask('ProcessStart', { spec: { path: '/bin/x' } })
  runner.run().end({ spawnError: { code: 'EACCES', reason: 'may not' } })
  t.same(answers, [{ kind: 'Refused', body: { reason: 'EACCES', message: 'may not' } }])
  t.equal(runner.run().isReleased, true)
  t.equal(processes.open, 0)
})

t.test('there is a limit, and a stopping node starts nothing', async (t) => {
  const { runner, ask, start, processes } = world(1)
  start()
  const spec = { path: '/bin/x' }
  t.match(ask('ProcessStart', { spec }), [{ kind: 'Refused', body: { reason: 'busy' } }])
  const drained = processes.drain()
  t.same(runner.run().signals, ['SIGINT'])
  runner.run().end()
  await drained
  t.match(ask('ProcessStart', { spec }), [
    { body: { reason: 'busy', message: /stopping/ } },
  ])
})

t.test('a program that ignores INT and TERM is gone after ten seconds', async (t) => {
  const { clock, runner, ask, start } = world()
  start()
  t.same(ask('ProcessStop', { pid: 7 }), [{ kind: 'Ack', body: {} }])
  clock.advance(4_999)
  t.same(ask('ProcessStop', { pid: 7 }), [{ kind: 'Ack', body: {} }], 'and again')
  t.same(runner.run().signals, ['SIGINT'])
  clock.advance(1)
  t.same(runner.run().signals, ['SIGINT', 'SIGTERM'])
  clock.advance(5_000)
  t.same(runner.run().signals, ['SIGINT', 'SIGTERM', 'SIGKILL'])
  runner.run().end({ signal: 'SIGKILL' })
  t.equal(clock.pending, 1, 'what is left is its forgetting')
})

t.test('nobody is found who is not there', async (t) => {
  const { ask, start, runner } = world()
  start()
  for (const kind of ['ProcessStop', 'ProcessQuery'] as const)
    for (const which of [{}, { pid: 8 }, { process_id: 'p2' }])
      t.same(ask(kind, which), [{ kind: 'NotFound', body: {} }])
  runner.run().end()
  const signal = { pid: 7, signal: 'SIGHUP' } as const
  t.same(ask('ProcessSignal', signal), [{ kind: 'NotFound', body: {} }])
  t.same(
    ask('ProcessStop', { pid: 7 }),
    [{ kind: 'Ack', body: {} }],
    'it is as it should be',
  )
})

t.test('a signal goes to the program and changes no policy', async (t) => {
  const { clock, runner, ask, start } = world()
  start({ restart: { policy: 'on-failure' } })
  t.same(ask('ProcessSignal', { pid: 7, signal: 'SIGHUP' }), [{ kind: 'Ack', body: {} }])
  t.same(runner.run().signals, ['SIGHUP'])
  runner.run().end({ signal: 'SIGHUP' })
  clock.advance(1_000)
  t.equal(runner.runs.length, 2)
})

t.test('a wait ends with the moment, with the end, or with its time', async (t) => {
  const { clock, runner, ask, start } = world()
  start({ ready: { log: 'listening' } })
  const wait = (until: 'ready' | 'exited', wait_ms = 1_000) =>
    ask('ProcessWait', { until, wait_ms, pid: 7 })
  const [never, late, ready] = [wait('ready', 0), wait('exited', 10), wait('ready')]
  t.match(never, [{ body: { ready: false } }])
  t.same([late, ready], [[], []])
  clock.advance(10)
  t.match(late, [{ body: { state: 'running' } }])
  const exited = wait('exited')
  runner.run().end()
  t.match(
    [ready, exited],
    [[{ body: { ready: false, state: 'exited' } }], [{ body: { state: 'exited' } }]],
  )
})

t.test('ready is what wrote the text, also where two stretches meet', async (t) => {
  const { runner, ask } = world()
  const answers = ask('ProcessStart', {
    spec: { path: '/bin/x', ready: { log: 'is up' } },
  })
  runner.run().output = [`${'x'.repeat(64 * 1024 - 3)}is up\n`, '']
  runner.run().started(7)
  t.match(answers, [{ kind: 'ProcessStarted' }])
  t.match(ask('ProcessQuery', { pid: 7 }), [{ body: { ready: true } }])
})

t.test('ready is whose port is open', async (t) => {
  const { clock, ask, start, open } = world()
  start({ ready: { port: 8080 } })
  const ready = () => ask('ProcessQuery', { pid: 7 })
  clock.advance(1_000)
  t.match(ready(), [{ body: { ready: false } }])
  open()
  clock.advance(200)
  t.match(ready(), [{ body: { ready: true } }])
})

t.test(
  'output is read by run: of one that is gone the next, of one to come later',
  async (t) => {
    const { clock, runner, ask, start } = world()
    start({ restart: { policy: 'always' } })
    const read = (run?: number, offset = 0, wait_ms = 0) =>
      ask('ProcessOutputRead', {
        ...{ process_id: 'p1', fd: 1, offset, max: 100, wait_ms },
        ...(run !== undefined && { run }),
      })
    runner.run().output = ['one', '']
    t.match(read(), [{ body: { data: Buffer.from('one'), attempt: 1, eof: false } }])
    runner.run().end()
    const next = read(2, 0, 60_000)
    t.same(next, [])
    clock.advance(1_000)
    runner.run().output = ['two', '']
    runner.run().started(8)
    t.match(read(1), [{ body: { data: Buffer.from('one'), attempt: 1, eof: true } }])
    runner.run().end()
    t.match(next, [{ body: { data: Buffer.from('two'), attempt: 2 } }])
    clock.advance(2_000)
    t.equal(runner.run(0).isReleased, true, 'two runs are kept')
    runner.run().started(9)
    runner.run().output = ['three', '']
    t.match(read(1, 2), [{ body: { data: Buffer.from('two'), attempt: 2, offset: 0 } }])
    const fourth = read(4, 0, 60_000)
    t.match(ask('ProcessStop', { process_id: 'p1' }), [{ kind: 'Ack' }])
    runner.run().end()
    t.match(fourth, [{ body: { attempt: 3, eof: true } }], 'there will be none')
  },
)

t.test('input goes to a program that takes it', async (t) => {
  const { runner, ask, start } = world()
  start({ stdin_live: true })
  t.equal(runner.run().spec.stdin, 'live')
  const input = { pid: 7, offset: 0, data: Buffer.from('hi'), eof: false }
  t.same(ask('ProcessInput', input), [{ kind: 'Ack', body: {} }])
  t.same(runner.run().written, ['hi'])
  runner.run().end()
  t.same(ask('ProcessInput', input), [{ kind: 'NotFound', body: {} }])
})

t.test('a long list comes in pages', async (t) => {
  const { ask, start } = world(300)
  const labels = Object.fromEntries([...'abcdefgh'].map((key) => [key, 'v'.repeat(200)]))
  for (let at = 1; at <= 300; at++) start({ labels }, 1_000 - at)
  const found: string[] = []
  for (let after: string | undefined; ; ) {
    const [answer] = ask('ProcessList', after === undefined ? {} : { after })
    if (answer?.kind !== 'ProcessesList') throw new Error('expected a list')
    t.equal(answer.body.pids.length, 300)
    found.push(...answer.body.processes.map(({ process_id }) => process_id))
    after = answer.body.next
    if (after === undefined) break
  }
  t.same(
    found,
    Array.from({ length: 300 }, (_, at) => `p${at + 1}`),
  )
})

t.test('what has ended is forgotten after ten minutes, with its output', async (t) => {
  const { clock, runner, ask, start } = world()
  start()
  runner.run().end()
  clock.advance(599_999)
  t.equal(runner.run().isReleased, false)
  clock.advance(1)
  t.equal(runner.run().isReleased, true)
  t.same(ask('ProcessQuery', { pid: 7 }), [{ kind: 'NotFound', body: {} }])
  t.equal(clock.pending, 0)
})

t.test('a closed one leaves no timer', async (t) => {
  const { clock, runner, ask, start, processes } = world()
  start({ ready: { port: 80 }, restart: { policy: 'always' } })
  ask('ProcessStop', { pid: 7 })
  processes.close()
  t.equal(clock.pending, 0)
  runner.run().end()
  t.equal(clock.pending, 0)
})
