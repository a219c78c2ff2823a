// The main job: a mesh of one manager and two workers on this machine compresses and
// hashes every file of the TypeScript compiler, and the result is checked against the same
// work done without a mesh. Ctrl-C at any time leaves nothing behind.
//
//   npm start                          the files of node_modules/typescript/lib
//   npm start -- FILE...               your own files

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execa } from 'execa'

const root = fileURLToPath(new URL('..', import.meta.url))
const binary = join(root, 'dist', 'manyhands.js')
const workers = 2
// The program of each task; the file's path is its last argument, never part of the text.
const program = ['sh', '-c', 'gzip -9nc -- "$1" | sha256sum', 'compress-and-hash']
const lane = Math.max(workers, availableParallelism())

const say = (text = '') => process.stderr.write(`${text}\n`)
const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`

const defaultFiles = () => {
  const folder = join(root, 'node_modules', 'typescript', 'lib')
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
}

const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort())

/** The same commands, as many at once, straight from this process. */
const withoutMesh = async (files) => {
  const digests = new Map()
  const queue = files.values()
  const start = performance.now()
  const work = async () => {
    for (const file of queue) {
      const { stdout } = await execa(program[0], [...program.slice(1), file], {
        cancelSignal: stop.signal,
      })
      digests.set(file, stdout)
    }
  }
  await Promise.all(Array.from({ length: lane }, work))
  return { digests, ms: performance.now() - start }
}

const manyhands = (state, args, options = {}) =>
  // Right after the verb: behind `--` it would be the program's.
  execa(process.execPath, [binary, args[0], '--state', state, ...args.slice(1)], {
    stderr: 'inherit',
    stdin: 'ignore',
    ...options,
  })

/** Every file a task; the lines that `run --each --json` prints. */
const withMesh = async (state, files) => {
  const start = performance.now()
  const { stdout } = await manyhands(
    state,
    ['run', '--json', '--each', ...files, '--', ...program, '{}'],
    {
      cancelSignal: stop.signal,
      forceKillAfterDelay: 20_000,
      maxBuffer: 1e9,
      reject: false,
    },
  )
  const tasks = stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
  return { tasks, ms: performance.now() - start }
}

const isAlive = (pid) => {
  try {
    process.kill(pid, 0)
    // Ended and not yet collected by a lazy init is gone too (Linux).
    if (!existsSync('/proc/self/stat')) return true
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return !stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z')
  } catch {
    return false
  }
}

const table = (rows) => {
  const widths = rows[0].map((_, column) =>
    Math.max(...rows.map((row) => String(row[column]).length)),
  )
  for (const row of rows)
    say(
      `  ${row
        .map((cell, column) =>
          column === 0
            ? String(cell).padEnd(widths[column])
            : String(cell).padStart(widths[column]),
        )
        .join('   ')}`,
    )
}

const perHost = (tasks) => {
  const hosts = new Map()
  for (const task of tasks) {
    const host = hosts.get(task.host_name) ?? { done: 0, ms: 0 }
    host.done += 1
    host.ms += task.run_ms ?? 0
    hosts.set(task.host_name, host)
  }
  return [...hosts].sort(([a], [b]) => a.localeCompare(b))
}

const differences = (tasks, digests) => {
  const wrong = []
  const seen = new Map(tasks.map((task) => [task.item, task]))
  for (const [file, digest] of digests) {
    const task = seen.get(file)
    if (task === undefined) wrong.push(`${file}: no result`)
    else if (task.stdout?.trimEnd() !== digest)
      wrong.push(`${file}: got ${JSON.stringify(task.stdout)}, expected ${digest}`)
  }
  return wrong
}

const main = async () => {
  const files =
    process.argv.length > 2
      ? process.argv.slice(2).map((file) => resolve(file))
      : defaultFiles()
  if (!existsSync(binary))
    await execa('npm', ['run', 'build'], { cwd: root, stdio: 'inherit' })
  const bytes = files.reduce((sum, file) => sum + statSync(file).size, 0)
  say(
    `Manyhands: ${files.length} files, ${megabytes(bytes)}: gzip -9 and sha256sum for each.`,
  )

  say('\n1. The same work without a mesh, for comparison')
  const plain = await withoutMesh(files)
  say(`   ${files.length} files in ${seconds(plain.ms)}, ${lane} at a time`)

  const state = await mkdtemp(join(tmpdir(), 'manyhands-start-'))
  let pids = []
  let tasks = []
  let meshMs = 0
  try {
    say('\n2. One manager and two workers on this machine')
    await manyhands(state, ['up', '--workers', String(workers)], {
      stdout: process.stderr,
      cancelSignal: stop.signal,
    })
    const { stdout } = await manyhands(state, ['nodes', '--json'])
    pids = JSON.parse(stdout).map((node) => node.pid)

    say('\n3. The batch, spread over them')
    ;({ tasks, ms: meshMs } = await withMesh(state, files))
  } finally {
    say('\n4. Everything stopped')
    await manyhands(state, ['down'], { stdout: process.stderr, reject: false })
    await rm(state, { recursive: true, force: true })
  }

  const left = pids.filter((pid) => pid !== undefined && isAlive(pid))
  const wrong = differences(tasks, plain.digests)
  say('\nResult')
  table([
    ['host', 'tasks', 'busy'],
    ...perHost(tasks).map(([host, { done, ms }]) => [host, done, seconds(ms)]),
  ])
  const ratio = meshMs / plain.ms
  say(`\n  with the mesh      ${seconds(meshMs)}`)
  say(`  without            ${seconds(plain.ms)}`)
  say(
    `  overhead           ${((ratio - 1) * 100).toFixed(0)} %, ${((meshMs - plain.ms) / files.length).toFixed(2)} ms per task`,
  )
  say(`  results            ${files.length - wrong.length} of ${files.length} equal`)
  say(`  processes left     ${left.length === 0 ? 'none' : left.join(', ')}`)
  for (const line of wrong.slice(0, 10)) say(`  WRONG ${line}`)
  return wrong.length === 0 && left.length === 0 ? 0 : 1
}

try {
  process.exitCode = await main()
} catch (error) {
  if (stop.signal.aborted) {
    say('stopped')
    process.exitCode = 130
  } else {
    say(`npm start failed: ${error.shortMessage ?? error.stack}`)
    process.exitCode = 1
  }
}
