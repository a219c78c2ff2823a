// A node of the compiled program, on a free port, with a state directory of its own.

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { type Result, type RunOptions, run } from '../../conformance/run.ts'
import { parseAddress, readMesh, type Target } from '../../conformance/target.ts'

/** `before`: arguments of Node itself. */
export const startNode = async (
  t: Test,
  role: 'worker' | 'manager',
  before: readonly string[] = [],
  environment: NodeJS.ProcessEnv = {},
): Promise<Target> => {
  const state = `${t.testdir({})}/s`
  const own = ['--state', state, '--name', 'kit', '--no-mdns', '--port', '0']
  const more = role === 'worker' ? ['--cores', '2'] : ['--ping', '1s']
  const child = spawn(
    process.execPath,
    [...before, 'dist/src/cli.js', '--role', role, ...own, ...more],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...environment } },
  )
  const exited = new Promise((resolve) => child.once('exit', resolve))
  t.teardown(async () => {
    child.kill('SIGINT')
    child.kill('SIGINT') // twice: at once
    await exited
  })
  let said = ''
  child.stderr.on('data', (text) => {
    said = `${said}${text}`.slice(-2000)
  })
  for await (const line of createInterface(child.stdout)) {
    const url = /listening\s+(wss:\S+)/.exec(line)?.[1]
    if (url === undefined) continue
    child.stdout.resume()
    return { ...parseAddress(url), mesh: readMesh(state) }
  }
  throw new Error(`the node ended before it listened: ${said}`)
}

/**
 * Every case's verdict. What failed is tried once more, by itself: the protocol has time
 * limits of its own (5 s for a greeting) that a machine full of other tests can miss.
 */
export const verdicts = async (options: RunOptions): Promise<readonly Result[]> => {
  const first = await run(options)
  const failed = first.filter(({ verdict }) => verdict === 'fail')
  if (failed.length === 0) return first
  const only = failed.map(({ name }) => name)
  const again = (await run({ ...options, only })).filter(
    ({ name }) => !name.startsWith('watch: '), // what was seen was seen
  )
  return first.map((result) => again.find(({ name }) => name === result.name) ?? result)
}
