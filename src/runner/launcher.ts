// Launcher: a small process beside a node that starts programs for it. A fork of the
// node itself would stop its event loop for as long as copying its page tables takes.
//
// Frames come on stdin and go out on stdout. The end of stdin means that the node is
// gone: every tree is killed (trees.ts), then this process ends. A program is always the
// leader of a session and group of its own. Program output never passes through here: descriptors
// are opened by path (FIFOs that the node reads) and closed again after the start.

import { type ChildProcess, spawn } from 'node:child_process'
import {
  closeSync,
  constants,
  fchownSync,
  openSync,
  readdirSync,
  readFileSync,
} from 'node:fs'
import type { StartRequest } from './frames.ts'
import { encodeFrame, FrameType, frameDecoder } from './frames.ts'
import { MARKER } from './marker.ts'
import { killGroup, signalGroup, startTimeOf } from './proc.ts'
import { explain, foresee } from './spawn-failure.ts'
import { Trees } from './trees.ts'

/**
 * The start of a program that is over by then is told together with its end: one frame
 * less, and the node need not join its pipes to the event loop, which costs more than such
 * a program's whole output. It is also the most by which first bytes are late.
 */
const SHORT_MS = 5

/** From the node: how the markers of its programs begin, and the cgroup to divide, if any. */
const [, , markerPrefix = '', place] = process.argv

interface Program {
  readonly pid: number
  /** 0 until it has run for a while: short ones need no look into /proc. */
  startTime: number
  isRunning: boolean
}

const programs = new Map<number, Program>()
let makingFifos = 0
const trees = new Trees({
  marker: markerPrefix,
  place,
  isIdle: () => programs.size === 0 && makingFifos === 0,
})
/** Starts wait here one turn each, so that a kill or an exit never waits for all of them. */
const waiting: [run: number, body: Buffer][] = []

const send = (type: number, run: number, body: Buffer | string = ''): void => {
  process.stdout.write(encodeFrame(type, run, body))
}

const startNext = (): void => {
  const next = waiting.shift()
  if (next === undefined) return
  if (waiting.length > 0) setImmediate(startNext)
  const [run, body] = next
  const request = JSON.parse(body.toString()) as StartRequest // our own node's
  const fault = foresee(request)
  if (fault !== undefined) {
    send(FrameType.failed, run, JSON.stringify(fault))
    return
  }
  try {
    start(run, request)
  } catch (error) {
    send(FrameType.failed, run, JSON.stringify(explain(error, request)))
  }
}

const start = (run: number, request: StartRequest): void => {
  const opened: number[] = []
  const { account } = request
  const open = (path: string | undefined, flags: number): number | 'ignore' => {
    if (path === undefined) return 'ignore'
    // Never waits: the node holds the other end, and if it is gone this fails.
    const fd = openSync(path, flags | constants.O_NONBLOCK)
    opened.push(fd)
    // So that it can open `/dev/stderr` and its like by name.
    if (account !== undefined) fchownSync(fd, account.uid, account.gid)
    return fd
  }
  try {
    const stdin = open(request.stdin, constants.O_RDONLY)
    const stdout = open(request.stdout, constants.O_WRONLY)
    const stderr = open(request.stderr, constants.O_WRONLY)
    const startedAt = performance.now()
    const environment = Object.assign(request.environment, {
      [MARKER]: `${markerPrefix}${run}`,
    })
    const child = spawn(request.program, request.arguments, {
      argv0: request.calledAs ?? request.program,
      cwd: request.directory,
      env: environment,
      detached: true,
      // Without further groups: libuv drops them with a change of user.
      ...(account !== undefined && { uid: account.uid, gid: account.gid }),
      stdio: [stdin, stdout, stderr],
    })
    child.on('error', (error) => {
      if (child.pid === undefined)
        send(FrameType.failed, run, JSON.stringify(explain(error, request)))
    })
    if (child.pid !== undefined) watch(run, child.pid, child, startedAt)
  } finally {
    for (const fd of opened) closeSync(fd)
  }
}

const watch = (
  run: number,
  pid: number,
  child: ChildProcess,
  startedAt: number,
): void => {
  const program: Program = { pid, startTime: 0, isRunning: true }
  programs.set(run, program)
  const runsOn = setTimeout(() => {
    program.startTime = startTimeOf(pid)
    const body = Buffer.allocUnsafe(16)
    body.writeDoubleLE(pid, 0)
    body.writeDoubleLE(program.startTime, 8)
    send(FrameType.started, run, body)
  }, SHORT_MS)
  child.on('exit', (code, signal) => {
    clearTimeout(runsOn)
    program.isRunning = false
    const left = signalGroup(pid, 0)
    if (!left) over(run)
    const runMs = performance.now() - startedAt
    send(FrameType.exited, run, JSON.stringify({ pid, code, signal, runMs, left }))
  })
}

const kill = (run: number, signal: NodeJS.Signals): void => {
  const program = programs.get(run)
  if (program === undefined) return
  if (program.isRunning) {
    signalGroup(program.pid, signal)
    return
  }
  // The leader has gone; this is the end of what it left behind.
  killGroup(program.pid, program.startTime)
  over(run)
}

const over = (run: number): void => {
  programs.delete(run)
  trees.ended(run)
}

const makeFifos = (run: number, body: Buffer): void => {
  const paths = JSON.parse(body.toString()) as string[] // our own node's
  const child = spawn('mkfifo', ['-m', '600', '--', ...paths], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  makingFifos += 1
  let reason = ''
  child.stderr.on('data', (data) => {
    reason = `${reason}${data}`.slice(0, 1000)
  })
  child.on('error', (error) => send(FrameType.fifosMade, run, error.message))
  child.on('close', (code) => {
    makingFifos -= 1
    if (child.pid === undefined) return
    send(FrameType.fifosMade, run, code === 0 ? '' : reason || `mkfifo: code ${code}`)
  })
}

const take = (type: number, run: number, body: Buffer): void => {
  if (type === FrameType.kill) kill(run, body.toString() as NodeJS.Signals)
  else if (type === FrameType.makeFifos) makeFifos(run, body)
  else if (type === FrameType.start && waiting.push([run, body]) === 1)
    setImmediate(startNext)
}

/** O_CLOEXEC, in the octal digits of /proc/PID/fdinfo (proc(5)). */
const CLOSES_ON_EXEC = 0o2000000

/**
 * What the node was itself given beyond stdin, stdout and stderr (a shell's `9>lock`, a
 * service manager's socket) would reach every program. All that Node opens closes itself.
 */
const closeInherited = (): void => {
  try {
    for (const fd of readdirSync('/proc/self/fd').map(Number)) {
      if (fd > 2 && isInherited(fd)) closeSync(fd)
    }
  } catch {
    // no /proc on this system
  }
}

const isInherited = (fd: number): boolean => {
  try {
    const [, flags = ''] =
      /^flags:\s+(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')) ?? []
    return flags !== '' && (Number.parseInt(flags, 8) & CLOSES_ON_EXEC) === 0
  } catch {
    return false // it was the one that read the folder
  }
}

const end = (): void => {
  for (const { pid, startTime, isRunning } of programs.values())
    if (isRunning) signalGroup(pid, 'SIGKILL')
    else killGroup(pid, startTime)
  trees.end()
  process.exit(0)
}

closeInherited()
// One throw must not take every program along with it.
process.on('uncaughtException', (error) => {
  process.stderr.write(`${error.stack ?? error.message}\n`)
})
process.stdout.on('error', end)
process.stdin.on('data', frameDecoder(take))
process.stdin.on('end', end)
process.stdin.on('error', end)
send(FrameType.ready, 0)
