// What cases about workers share: tasks that sleep or count their starts, and looks at what
// became of them.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Assigned, type ManagerSide, script } from '../manager-side.ts'
import type { Peer } from '../peer.ts'
import type { Body } from '../protocol.ts'
import { equal, expect, pause, type Stage } from '../stage.ts'

/** A task that is still there when it is looked at. */
export const SLEEP = { job_addr: 'exec:sleep', arguments: ['60'] }

/** Requests of a manager, with this rel. */
const orders = (rel: string): readonly (readonly [string, object])[] => [
  ['ManagerPing', { rel }],
  ['TasksExecute', { rel, epoch: 1, boot: '0'.repeat(16), tasks: [] }],
  ['TasksPing', { rel, tasks: [] }],
  ['TasksAbord', { rel, tasks: [] }],
  [
    'TaskOutputRead',
    { rel, task_id: '0123456789-1', attempt: 1, fd: 1, offset: 0, max: 1, wait_ms: 0 },
  ],
]

/** Every request of a manager with this rel is answered NotMine. */
export const allNotMine = async (peer: Peer, rel: string): Promise<void> => {
  for (const [kind, body] of orders(rel))
    equal((await peer.ask(kind, body)).k, 'NotMine', `the answer to ${kind}`)
}

/** Is a process of this machine alive? Undefined where that cannot be seen. */
export const isAlive = (pid: unknown): boolean | undefined => {
  if (typeof pid !== 'number') return undefined
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** A task that runs, with its pid. */
export const running = async (manager: ManagerSide, more: object = {}) => {
  const task = await manager.start({ ...SLEEP, ...more })
  const { b } = await manager.told('TaskStarted', task)
  return { task, pid: b.pid }
}

/** Until a process is gone, where that can be seen. */
export const gone = async (stage: Stage, pid: unknown): Promise<void> => {
  const until = performance.now() + stage.patienceMs
  while (isAlive(pid) === true) {
    expect(performance.now() < until, () => `the process ${pid} goes on`)
    await pause(20)
  }
}

/** The inventory of a ManagerRequest: attempt and status of each task. */
export const inventory = ({ request }: ManagerSide): Readonly<Record<string, string>> => {
  const tasks = request.b.tasks as readonly Body[]
  return Object.fromEntries(
    tasks.map(({ task_id, attempt, status }) => [
      String(task_id),
      `${attempt} ${status}`,
    ]),
  )
}

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
export const counting =
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
export const counted = (file: string, rest: string) =>
  script(`printf x >> "$1"; ${rest}`, file)

/** Holds every core, so that what follows waits. */
export const block = async (manager: ManagerSide): Promise<Assigned> => {
  const { cores } = manager
  const task = await manager.start({ ...SLEEP, requires: { cores } })
  await manager.told('TaskStarted', task)
  return task
}

/** Waits until a program has written to the file: what it traps by then, it traps. */
export const begun = async (stage: Stage, file: string): Promise<void> => {
  const until = performance.now() + stage.patienceMs
  while (readFileSync(file, 'utf8') === '') {
    expect(performance.now() < until, () => 'the program has written nothing')
    await pause(20)
  }
}

/** The error that it tells of a task, waited for. */
export const errorOf = async (manager: ManagerSide, task: Assigned): Promise<Body> => {
  const { b } = await manager.told('TaskError', task)
  return b.error as Body
}

/** A task as an abort names it. */
export const attemptOf = ({ task_id, attempt }: Assigned) => ({ task_id, attempt })
