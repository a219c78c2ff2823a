// Runs: a Runner for a test, and one call that runs a program to its end.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import type { OutputData } from '../../protocol/index.ts'
import type { Run, RunEnd, Runner, RunSpec } from '../../src/ports.ts'
import {
  createRunner,
  type LocalRunner,
  type RunnerOptions,
} from '../../src/runner/runner.ts'

export type Spec = Partial<RunSpec> & Pick<RunSpec, 'program'>

/** A runner that ends with the test. */
export const testRunner = (
  t: Test,
  options: Partial<RunnerOptions> = {},
): LocalRunner & { readonly directory: string } => {
  const directory = mkdtempSync(join(tmpdir(), 'manyhands-runner-'))
  const where = options.directory ?? directory
  const runner = Object.assign(
    createRunner({ tailMs: 200, ...options, directory: where }),
    {
      directory: where,
    },
  )
  t.teardown(async () => {
    await runner.close()
    rmSync(directory, { recursive: true, force: true })
  })
  return runner
}

export const specOf = (spec: Spec): RunSpec => ({
  arguments: [],
  directory: '/',
  environment: { PATH: '/usr/bin:/bin' },
  output: 'capture',
  outputCapBytes: 64 * 1024 * 1024,
  ...spec,
})

export const shell = (script: string, spec: Partial<RunSpec> = {}): Spec => ({
  program: '/bin/sh',
  arguments: ['-c', script],
  ...spec,
})

export interface Started {
  readonly run: Run
  readonly pid: Promise<number>
  readonly end: Promise<RunEnd>
}

const promised = <A>() => {
  let resolve: (value: A) => void = () => {}
  const promise = new Promise<A>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

export const start = (runner: Runner, spec: Spec): Started => {
  const pid = promised<number>()
  const end = promised<RunEnd>()
  const run = runner.start(specOf(spec), { started: pid.resolve, ended: end.resolve })
  return { run, pid: pid.promise, end: end.promise }
}

export const read = (
  run: Run,
  fd: 1 | 2,
  offset: number,
  { max = 64 * 1024, waitMs = 10_000 } = {},
): Promise<OutputData> =>
  new Promise((resolve) => run.read(fd, offset, max, waitMs, resolve))

/** Everything from `offset` on, as text of single bytes. */
export const readAll = async (run: Run, fd: 1 | 2): Promise<string> => {
  let text = ''
  for (let offset = 0; ; ) {
    const { data, eof, offset: at } = await read(run, fd, offset)
    text += Buffer.from(data).toString('latin1')
    offset = at + data.length
    if (eof) return text
  }
}

export const write = (
  run: Run,
  offset: number,
  data: Uint8Array,
  eof: boolean,
): Promise<boolean> => new Promise((resolve) => run.write(offset, data, eof, resolve))

/** Runs a program to its end and releases it. */
export const finish = async (
  runner: Runner,
  spec: Spec,
): Promise<RunEnd & { readonly out: string; readonly err: string }> => {
  const { run, end } = start(runner, spec)
  const ended = await end
  const [out, err] = [await readAll(run, 1), await readAll(run, 2)]
  run.release()
  return { ...ended, out, err }
}

/** The state letter of a process; undefined when it is gone (a zombie counts as gone). */
export const stateOf = (pid: number): string | undefined => {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const state = text.slice(text.lastIndexOf(')') + 2)[0]
    return state === 'Z' ? undefined : state
  } catch {
    return undefined
  }
}

/** Looks until `is` holds: for states of other processes, of which no event tells. */
export const until = async (what: string, is: () => boolean): Promise<void> => {
  const deadline = performance.now() + 10_000
  while (!is()) {
    if (performance.now() > deadline) throw new Error(`waited 10 s in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
