// Programs at a worker: what they are given, and what is told of their end.

import type { Case } from '../case.ts'
import { type Assigned, script } from '../manager-side.ts'
import type { Body } from '../protocol.ts'
import { equal, expect } from '../stage.ts'
import { block, errorOf, SLEEP } from './worker-support.ts'

export const workerProgramCases: readonly Case[] = [
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
      const known = /^(PATH|HOME|LANG|TZ|KIT|MANYHANDS_[A-Z_]+|PWD|SHLVL|OLDPWD|_)$/
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
]
