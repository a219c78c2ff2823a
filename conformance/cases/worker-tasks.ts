// Tasks at a worker: which it takes, what it tells of them, and that no attempt ever runs
// twice. A program that counts its own starts in a file says how often it was run.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Case } from '../case.ts'
import {
  type Assigned,
  type Job,
  type ManagerSide,
  newLedger,
  script,
} from '../manager-side.ts'
import type { Body } from '../protocol.ts'
import { equal, expect, pause, type Stage } from '../stage.ts'

const SLEEP = { job_addr: 'exec:sleep', arguments: ['60'] }

/** A file in which programs count their starts. */
const counter = () => {
  const folder = mkdtempSync(join(tmpdir(), 'conformance-'))
  const file = join(folder, 'starts')
  writeFileSync(file, '')
  return {
    file,
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** A case with a counter, removed after it. */
const counting =
  (run: (stage: Stage, counted: ReturnType<typeof counter>) => Promise<void>) =>
  async (stage: Stage): Promise<void> => {
    const counted = counter()
    try {
      await run(stage, counted)
    } finally {
      counted.remove()
    }
  }

/** Counts its start, then goes on. */
const counted = (file: string, rest: string) => script(`printf x >> "$1"; ${rest}`, file)

/** Holds every core, so that what follows waits. */
const block = async (manager: ManagerSide): Promise<Assigned> => {
  const { cores } = manager
  const task = await manager.start({ ...SLEEP, requires: { cores } })
  await manager.told('TaskStarted', task)
  return task
}

/** Waits until a program has written to the file: what it traps by then, it traps. */
const begun = async (stage: Stage, file: string): Promise<void> => {
  const until = performance.now() + stage.patienceMs
  while (readFileSync(file, 'utf8') === '') {
    expect(performance.now() < until, () => 'the program has written nothing')
    await pause(20)
  }
}

const errorOf = async (manager: ManagerSide, task: Assigned): Promise<Body> => {
  const { b } = await manager.told('TaskError', task)
  return b.error as Body
}

const attemptOf = ({ task_id, attempt }: Assigned) => ({ task_id, attempt })

export const workerTaskCases: readonly Case[] = [
  {
    name: 'tasks: one runs and is told of in order',
    role: 'worker',
    isAlone: true,
    rule: 'code 0: TaskCompleted, else TaskError `RunningError` with `exit_code` or `signal`',
    run: async (stage) => {
      const manager = await stage.manager()
      const task = await manager.start(script('echo "$1" "$2"', 'a b', '$HOME'))
      const { b } = await manager.told('TaskCompleted', task)
      const started = await manager.told('TaskStarted', task)
      const { frames } = manager.peer
      expect(
        frames.indexOf(started) < frames.findIndex(({ k }) => k === 'TaskCompleted'),
        () => 'it was completed before it was started',
      )
      const { exit_code, stdout, stderr } = b.result as Body
      const { inline, size } = stdout as Body
      equal([exit_code, size, stderr], [0, 10, undefined], 'exit code, size and stderr')
      equal(Buffer.from(inline as Uint8Array).toString(), 'a b $HOME\n', 'its output')
    },
  },
  {
    name: 'tasks: noop starts nothing',
    role: 'worker',
    isAlone: true,
    rule: '`noop:` starts nothing and completes at once, with `exit_code` 0.',
    run: async (stage) => {
      const manager = await stage.manager()
      await block(manager)
      const task = await manager.start({})
      const { b } = await manager.told('TaskCompleted', task)
      equal((b.result as Body).exit_code, 0, 'its exit code')
    },
  },
  {
    name: 'tasks: one that fails',
    role: 'worker',
    isAlone: true,
    rule: 'code 0: TaskCompleted, else TaskError `RunningError` with `exit_code` or `signal`',
    run: async (stage) => {
      const manager = await stage.manager()
      const three = await manager.start(script('echo out; echo err >&2; exit 3'))
      const { b } = await manager.told('TaskError', three)
      equal(b.error, { kind: 'RunningError', exit_code: 3 }, 'its error')
      const { stdout, stderr } = b.result as Body
      const textOf = (captured: unknown) =>
        Buffer.from((captured as Body).inline as Uint8Array).toString()
      equal([textOf(stdout), textOf(stderr)], ['out\n', 'err\n'], 'its output')
      const killed = await manager.start(script('kill -KILL $$'))
      const error = await errorOf(manager, killed)
      equal(
        error,
        { kind: 'RunningError', signal: 'SIGKILL' },
        'the error of a killed one',
      )
    },
  },
  {
    name: 'tasks: one that cannot be started',
    role: 'worker',
    isAlone: true,
    rule: "TaskError `SpawnError`, with the system's code; `ENODIR` for a `dir` that is not there",
    run: async (stage) => {
      const manager = await stage.manager()
      const missing = await manager.start({ job_addr: 'exec:/no/such/program' })
      const { kind, code } = await errorOf(manager, missing)
      equal([kind, code], ['SpawnError', 'ENOENT'], 'the error')
      const lost = await manager.start({
        job_addr: 'exec:true',
        dir: '/no/such/directory',
      })
      const dir = await errorOf(manager, lost)
      equal([dir.kind, dir.code], ['SpawnError', 'ENODIR'], 'without its directory')
    },
  },
  {
    name: 'tasks: environment, directory, stdin',
    role: 'worker',
    isAlone: true,
    rule: 'Its environment is PATH, HOME, LANG, TZ of the worker, over that `env` of the task',
    run: async (stage) => {
      const manager = await stage.manager()
      const task = await manager.start({
        ...script('cat; pwd; env'),
        ...{ stdin: Buffer.from('given\n'), dir: '/', env: { KIT: 'a=b' } },
      })
      const { b } = await manager.told('TaskCompleted', task)
      const { inline } = (b.result as Body).stdout as Body
      const [stdin, dir, ...env] = Buffer.from(inline as Uint8Array)
        .toString()
        .split('\n')
      equal([stdin, dir], ['given', '/'], 'stdin and directory')
      const names = env.filter((line) => line !== '').map((line) => line.split('=')[0])
      const known =
        /^(PATH|HOME|LANG|TZ|KIT|MANYHANDS_(TASK_ID|HOST_NAME|ATTEMPT|CORES)|PWD|SHLVL|OLDPWD|_)$/
      const strange = names.filter((name) => !known.test(name ?? ''))
      equal(strange, [], 'variables that nobody gave')
      for (const line of ['KIT=a=b', `MANYHANDS_TASK_ID=${task.task_id}`])
        expect(env.includes(line), () => `no ${line}`)
    },
  },
  {
    name: 'tasks: one that takes too long',
    role: 'worker',
    isAlone: true,
    rule: 'TERM, after `kill_grace_ms` KILL; TaskError `TimedOut`',
    run: async (stage) => {
      const manager = await stage.manager()
      const polite = await manager.start({
        ...script('trap "echo bye; exit 0" TERM; while :; do sleep 0.02; done'),
        ...{ timeout_ms: 200, kill_grace_ms: 4000 },
      })
      const stubborn = await manager.start({
        ...script('trap "" TERM; while :; do sleep 0.02; done'),
        ...{ timeout_ms: 100, kill_grace_ms: 100 },
      })
      equal((await errorOf(manager, polite)).kind, 'TimedOut', 'the error after TERM')
      equal((await errorOf(manager, stubborn)).kind, 'TimedOut', 'the error after KILL')
    },
  },
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
  {
    name: 'tasks: their states',
    role: 'worker',
    isAlone: true,
    rule: 'waits `Pending`, runs `Started`, has ended `Error` or `Completed` without `inline`, aborted or not known `Unknown`',
    run: async (stage) => {
      const manager = await stage.manager()
      for (const kind of ['TaskCompleted', 'TaskError'])
        manager.peer.handlers.delete(kind)
      const done = await manager.start(script('echo output'))
      await manager.told('TaskCompleted', done)
      const failed = await manager.start(script('exit 1'))
      await manager.told('TaskError', failed)
      const runs = await block(manager)
      const waits = await manager.start(SLEEP)
      const ids = [waits, runs, done, failed].map(({ task_id }) => task_id)
      const states = await manager.statuses([...ids, `${manager.self.ledger_id}-99999`])
      const kinds = states.map(({ kind }) => kind)
      const expected = ['Pending', 'Started', 'Completed', 'Error', 'Unknown']
      equal(kinds, expected, 'the states')
      const { result } = states[2] as Body
      const stdout = (result as Body | undefined)?.stdout as Body | undefined
      equal(stdout?.inline, undefined, 'output in a TasksPong')
    },
  },
  {
    name: 'tasks: no more at once than fit',
    role: 'worker',
    isAlone: true,
    rule: 'it waits until `requires` fits beside what runs (1 core where it does not say, none for `noop:`); those that need cores start in order',
    run: async (stage) => {
      const manager = await stage.manager()
      const { cores } = manager
      const tasks: Assigned[] = []
      for (let at = 0; at <= cores; at++)
        tasks.push(await manager.start(script('sleep 0.3')))
      const last = tasks[cores] as Assigned
      for (const task of tasks.slice(0, cores)) await manager.told('TaskStarted', task)
      equal(await manager.status(last.task_id), 'Pending', 'the one too many')
      await manager.told('TaskCompleted', last)
      const started = manager.peer.frames.flatMap(({ k, b }) =>
        k === 'TaskStarted' ? [b.task_id] : [],
      )
      equal(started.at(-1), last.task_id, 'the last to start')
    },
  },
  {
    name: 'tasks: a worker is asked what only managers are',
    role: 'worker',
    rule: 'ManagerRequest `accepted: false`; ManagerBye `Ack`; TaskStarted, TaskError, TaskCompleted `NotMine`; the requests to a manager by clients `Error{wrong-role}`',
    run: async (stage) => {
      const peer = await stage.open()
      const asked = { cores: 1, memory: 1, tasks: [], more: false }
      const answer = await peer.ask('ManagerRequest', asked)
      equal([answer.k, answer.b.accepted], ['ManagerAnswer', false], 'to ManagerRequest')
      const about = { rel: 'x', task_id: '0123456789-1', attempt: 1 }
      for (const [kind, more] of [
        ['TaskStarted', { at_ms: 1 }],
        ['TaskError', { error: { kind: 'TimedOut' } }],
        ['TaskCompleted', { result: { run_ms: 1 } }],
      ] as const)
        equal((await peer.ask(kind, { ...about, ...more })).k, 'NotMine', `to ${kind}`)
      for (const [kind, body] of [
        ['TasksSubmit', { key: 'k', tasks: [] }],
        ['TasksList', { limit: 1 }],
        ['NodesList', {}],
      ] as const) {
        const { k, b } = await peer.ask(kind, body)
        equal([k, b.code], ['Error', 'wrong-role'], `to ${kind}`)
      }
    },
  },
]
