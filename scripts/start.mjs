// The main job: a mesh of one manager and two workers on this machine compresses and
// hashes every file of the TypeScript compiler, and the result is checked against the same
// work done without a mesh. The result goes to stdout, everything else to stderr; the exit
// code is 0 if every result is right and no process is left, 130 after Ctrl-C, which at any
// time leaves nothing behind.
//
//   npm start                          the files of node_modules/typescript/lib
//   npm start -- FILE...               your own files

import { existsSync, readdirSync, readFileSync } from 'node:fs'
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
const tell = (text = '') => process.stdout.write(`${text}\n`)
const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`

const defaultFiles = () => {
  const folder = join(root, 'node_modules', 'typescript', 'lib')
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
}

// npm hands a Ctrl-C on that the terminal has sent to everybody already: one is enough.
const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.on(signal, () => {
    if (!stop.signal.aborted) say('\nstopping')
    stop.abort()
  })

/** A program with its children in a group of their own, which is ended as a whole. */
const inGroup = async (command, args) => {
  stop.signal.throwIfAborted()
  const running = execa(command, args, { detached: true })
  const end = () => {
    try {
      process.kill(-running.pid, 'SIGKILL')
    } catch {
      // It has ended already.
    }
  }
  stop.signal.addEventListener('abort', end)
  try {
    return await running
  } finally {
    stop.signal.removeEventListener('abort', end)
  }
}

/** The same commands, as many at once, straight from this process. */
const withoutMesh = async (files) => {
  const digests = new Map()
  const queue = files.values()
  const start = performance.now()
  const work = async () => {
    for (const file of queue) {
      const { stdout } = await inGroup(program[0], [...program.slice(1), file])
      digests.set(file, stdout)
    }
  }
  const lanes = await Promise.allSettled(Array.from({ length: lane }, work))
  stop.signal.throwIfAborted()
  for (const { reason } of lanes) if (reason !== undefined) throw reason
  return { digests, ms: performance.now() - start }
}

// In a group of its own, so that a Ctrl-C comes from here alone and once: a second one
// would make it leave without waiting.
const manyhands = (state, args, options = {}) =>
  // --state right after the verb: behind `--` it would be the program's.
  execa(process.execPath, [binary, args[0], '--state', state, ...args.slice(1)], {
    stderr: 'inherit',
    stdin: 'ignore',
    detached: true,
    forceKillAfterDelay: 20_000,
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
    tell(
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
    const name = task.host_name ?? 'not started'
    const host = hosts.get(name) ?? { tasks: 0, failed: 0, ms: 0 }
    host.tasks += 1
    if (task.state !== 'completed') host.failed += 1
    host.ms += task.run_ms ?? 0
    hosts.set(name, host)
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

/** Nothing is hidden: on a machine with other work either may come out ahead. */
const overhead = (meshMs, plainMs, count) => {
  const percent = Math.round((meshMs / plainMs - 1) * 100)
  const each = `${Math.abs((meshMs - plainMs) / count).toFixed(1)} ms`
  return percent >= 0
    ? `${percent} %, ${each} per task`
    : `none this time: ${-percent} % less, ${each} per task`
}

const readAll = (files) =>
  files.reduce((sum, file) => sum + readFileSync(file).byteLength, 0)

const main = async () => {
  const files =
    process.argv.length > 2
      ? process.argv.slice(2).map((file) => resolve(file))
      : defaultFiles()
  if (!existsSync(binary))
    await execa('npm', ['run', 'build'], { cwd: root, stdio: 'inherit' })
  // Read once, so that neither run pays for a cold disk.
  const bytes = readAll(files)
  say(
    `The work: gzip -9 | sha256sum for each of ${files.length} files, ${megabytes(bytes)}`,
  )

  say(`\n1. Without a mesh, for comparison: ${lane} at a time from one process`)
  const plain = await withoutMesh(files)
  say(`   ${files.length} files in ${seconds(plain.ms)}`)

  const state = await mkdtemp(join(tmpdir(), 'manyhands-start-'))
  let pids = []
  let tasks = []
  let meshMs = 0
  try {
    say('\n2. manyhands up: one manager and two workers, each a process of its own')
    await manyhands(state, ['up', '--workers', String(workers)], {
      stdout: process.stderr,
      cancelSignal: stop.signal,
    })
    const { stdout } = await manyhands(state, ['nodes', '--json'])
    pids = JSON.parse(stdout).map((node) => node.pid)

    say('\n3. manyhands run --each: the same work, spread over the workers')
    ;({ tasks, ms: meshMs } = await withMesh(state, files))
  } finally {
    say('\n4. manyhands down')
    const how = stop.signal.aborted ? ['down', '--now'] : ['down']
    await manyhands(state, how, { stdout: process.stderr, reject: false })
    await rm(state, { recursive: true, force: true })
  }

  stop.signal.throwIfAborted()

  const left = pids.filter((pid) => pid !== undefined && isAlive(pid))
  const wrong = differences(tasks, plain.digests)
  const right = files.length - wrong.length
  say()
  tell('Result')
  table([
    ['host', 'tasks', 'failed', 'busy'],
    ...perHost(tasks).map(([host, { tasks, failed, ms }]) => [
      host,
      tasks,
      failed,
      seconds(ms),
    ]),
  ])
  tell()
  tell(`  with the mesh    ${seconds(meshMs)}`)
  tell(`  without          ${seconds(plain.ms)}`)
  tell(`  overhead         ${overhead(meshMs, plain.ms, files.length)}`)
  tell(`  results          ${right} of ${files.length} equal to those without the mesh`)
  tell(`  processes left   ${left.length === 0 ? 'none' : left.join(', ')}`)
  for (const line of wrong.slice(0, 10)) tell(`  WRONG ${line}`)
  const isGood = wrong.length === 0 && left.length === 0
  if (isGood)
    say(
      '\nNow your own: npx manyhands up, then npx manyhands run -- hostname (README.md)',
    )
  return isGood ? 0 : 1
}

try {
  process.exitCode = await main()
} catch (error) {
  if (stop.signal.aborted) {
    say('stopped; nothing is left')
    process.exitCode = 130
  } else {
    say(`npm start failed: ${error.shortMessage ?? error.stack}`)
    process.exitCode = 1
  }
}
