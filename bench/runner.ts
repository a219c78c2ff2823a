// Runner benchmark: starts per second beside a bare loop of child_process.spawn, and
// what starting, holding back and passing on costs the process that does it.
//
//   node dist/bench/runner.js [starts] [parallel] [rounds]

import { type ChildProcess, fork, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import type { Run, Runner, RunSpec } from '../src/ports.ts'
import { createRunner } from '../src/runner/runner.ts'
import { comparison } from './support/figures.ts'
import { report } from './support/report.ts'
import { interleave, median, quantile } from './support/rounds.ts'

const [starts = 2000, parallel = 2, rounds = 3] = process.argv
  .slice(2)
  .map(Number)
  .filter((value) => value > 0)

const spec: RunSpec = {
  program: '/bin/true',
  arguments: [],
  directory: '/',
  environment: { PATH: '/usr/bin:/bin' },
  output: 'capture',
  outputCapBytes: 64 * 1024 * 1024,
}

/** Calls `one` so often, so many at a time; resolves to calls per second. */
const rate = (
  count: number,
  width: number,
  one: (done: () => void) => void,
): Promise<number> =>
  new Promise((resolve) => {
    const startedAt = performance.now()
    let begun = 0
    let ended = 0
    const next = (): void => {
      if (begun === count) return
      begun += 1
      one(() => {
        ended += 1
        if (ended === count) resolve((count * 1000) / (performance.now() - startedAt))
        else next()
      })
    }
    for (let i = 0; i < width; i += 1) next()
  })

const bareSpawn = (done: () => void): void => {
  const child = spawn('true', [], { stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.resume()
  child.stderr.resume()
  child.on('close', done)
}

const throughRunner =
  (runner: Runner) =>
  (done: () => void): void => {
    const run = runner.start(spec, {
      started() {},
      ended(end) {
        if (end.exitCode !== 0) throw new Error(`ended: ${JSON.stringify(end)}`)
        run.release()
        done()
      },
    })
  }

/** The bare loop has a small process of its own, as anyone's script would. */
const bareProcess = (): { run(): Promise<number>; child: ChildProcess } => {
  const child = fork(fileURLToPath(import.meta.url), ['bare'])
  const run = (): Promise<number> =>
    new Promise((resolve) => {
      child.once('message', (value) => resolve(Number(value)))
      child.send([starts, parallel])
    })
  return { run, child }
}

const compare = async (runner: Runner, what: string): Promise<void> => {
  const bare = bareProcess()
  const delay = monitorEventLoopDelay({ resolution: 1 })
  // What the machine alone does to an idle event loop while the bare loop runs.
  const idle = monitorEventLoopDelay({ resolution: 1 })
  const cpuMs: number[] = []
  const ours = async (): Promise<number> => {
    const from = process.cpuUsage()
    delay.enable()
    const perSecond = await rate(starts, parallel, throughRunner(runner))
    delay.disable()
    const { user, system } = process.cpuUsage(from)
    cpuMs.push((user + system) / 1000 / starts)
    return perSecond
  }
  const theirs = async (): Promise<number> => {
    idle.enable()
    const perSecond = await bare.run()
    idle.disable()
    return perSecond
  }
  const pairs = await interleave(rounds, ours, theirs)
  bare.child.kill()
  report(comparison({ what, yardstick: 'a bare spawn loop', unit: '/s' }, pairs))
  report({
    what: `${what}: processor time of the node a start`,
    value: median(cpuMs),
    unit: 'ms',
  })
  report({
    what: `${what}: loop delay p99`,
    value: delay.percentile(99) / 1e6,
    unit: 'ms',
    note: `idle beside the bare loop ${(idle.percentile(99) / 1e6).toFixed(2)} ms`,
  })
}

const firstByte = async (runner: Runner, count: number): Promise<void> => {
  const lateMs: number[] = []
  for (let i = 0; i < count; i += 1)
    await new Promise<void>((resolve) => {
      // The program says when it wrote; both clocks are the system's.
      const run = runner.start(
        {
          ...spec,
          program: '/bin/sh',
          arguments: ['-c', 'date +%s.%N; exec sleep 0.02'],
          output: 'stream',
        },
        {
          started() {},
          ended() {
            run.release()
            resolve()
          },
        },
      )
      run.read(1, 0, 100, 5000, ({ data }) => {
        const at = performance.timeOrigin + performance.now()
        lateMs.push(at - Number(Buffer.from(data).toString()) * 1000)
      })
    })
  report({
    what: 'first output byte after it was written, p99',
    value: quantile(lateMs, 0.99),
    unit: 'ms',
    note: `median ${median(lateMs).toFixed(2)} ms`,
  })
}

/** 1 GiB through a reader that stops now and then. */
const stream = async (runner: Runner): Promise<void> => {
  const size = 1024 ** 3
  const rssBefore = process.memoryUsage.rss()
  let rssMost = 0
  const hash = createHash('sha256')
  const startedAt = performance.now()
  let pausedMs = 0
  let blocked = 0
  let pauses = 0
  let stated = ''
  let isRead = false
  await new Promise<void>((resolve) => {
    let pid = 0
    const run: Run = runner.start(
      {
        ...spec,
        program: '/usr/bin/head',
        arguments: ['-c', String(size), '/dev/zero'],
        output: 'stream',
      },
      {
        started(value) {
          pid = value
        },
        ended(end) {
          stated = end.stdout.sha256
          if (isRead) resolve()
        },
      },
    )
    const next = (offset: number): void =>
      run.read(1, offset, 64 * 1024, 5000, ({ data, eof }) => {
        hash.update(data)
        rssMost = Math.max(rssMost, process.memoryUsage.rss())
        const after = offset + data.length
        if (eof) {
          isRead = true
          if (stated !== '') resolve()
          return
        }
        if (Math.floor(offset / 128e6) === Math.floor(after / 128e6)) {
          setImmediate(next, after)
          return
        }
        setTimeout(() => {
          pauses += 1
          pausedMs += 100
          if (readFileSync(`/proc/${pid}/wchan`, 'utf8').includes('pipe')) blocked += 1
          next(after)
        }, 100)
      })
    next(0)
  })
  if (stated !== hash.digest('hex')) throw new Error('digests differ')
  const seconds = (performance.now() - startedAt - pausedMs) / 1000
  report({
    what: '1 GiB through a reader that pauses, digest equal',
    value: 1024 / seconds,
    unit: 'MiB/s',
    note: `besides the pauses; program blocked in ${blocked} of ${pauses} of them`,
  })
  report({
    what: 'resident memory above that before, meanwhile',
    value: (rssMost - rssBefore) / 1024 ** 2,
    unit: 'MiB',
  })
}

const main = async (): Promise<void> => {
  const directory = mkdtempSync(join(tmpdir(), 'manyhands-bench-'))
  const runner = createRunner({ directory })
  await rate(50, 4, throughRunner(runner))
  await compare(runner, `${starts} x true, ${parallel} at a time`)
  await firstByte(runner, 200)
  await stream(runner)
  const held = Array.from({ length: 100 }, () => Buffer.alloc(8 * 1024 * 1024, 1))
  await compare(runner, `the same with ${held.length * 8} MB held`)
  await runner.close()
  rmSync(directory, { recursive: true, force: true })
}

if (process.argv[2] === 'bare')
  process.on('message', ([count = 1, width = 1]: number[]) => {
    void rate(count, width, bareSpawn).then((value) => process.send?.(value))
  })
else await main()
