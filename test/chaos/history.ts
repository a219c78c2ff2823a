// The history of a round: from the lines of the programs, the records of the tasks, and what
// the client was told. Which life of a worker a line is from follows from its time.

import { existsSync, readFileSync } from 'node:fs'
import type { TaskDone } from '../../protocol/index.ts'
import { isAlive } from '../../src/commands/liveness.ts'
import type { HistoryEvent, Shown } from '../../src/sim/history.ts'
import type { ChaosMesh, ChaosWorker } from './mesh.ts'

const manager = { node: 'm', boot: 'm.1' }
const client = 'client'

export const historyOf = async (
  mesh: ChaosMesh,
  taskIds: readonly string[],
  told: readonly TaskDone[],
): Promise<readonly HistoryEvent[]> => {
  const events: HistoryEvent[] = mesh.workers.flatMap(livesOf)
  const programs = programsOf(mesh)
  events.push(...programs.events)
  for (const taskId of taskIds) events.push(...(await recordOf(mesh, taskId)))
  events.push(...carriedIn(mesh, events))
  events.sort((a, b) => a.atMs - b.atMs)
  const ledgerId = taskIds[0]?.slice(0, 10) ?? ''
  const [atMs, endMs] = [0, Date.now()]
  const open = taskIds.filter((id) => !told.some(({ task_id }) => task_id === id))
  return [
    { kind: 'acknowledged', atMs, client, ledgerId, taskIds },
    ...events,
    ...told.map((done) => shownOf(done, endMs)),
    { kind: 'healed', atMs: endMs },
    { kind: 'rested', atMs: endMs, running: programs.running, open, asks: [] },
  ]
}

const livesOf = ({ name: node, lives }: ChaosWorker): HistoryEvent[] =>
  lives.flatMap(({ boot, bootedMs, endedMs }): HistoryEvent[] => [
    { kind: 'booted', atMs: bootedMs, node, boot },
    ...(endedMs === undefined
      ? []
      : [{ kind: 'ended-life', atMs: endedMs, node, boot } as const]),
  ])

/**
 * What a life found on its disk cannot be seen from outside, but by what came of it: it
 * started what an earlier life of that worker had been given.
 */
const carriedIn = (mesh: ChaosMesh, events: readonly HistoryEvent[]): HistoryEvent[] =>
  events.flatMap((event): HistoryEvent[] => {
    if (event.kind !== 'started') return []
    const { node, boot, taskId, attempt } = event
    const boots = events.flatMap((one) =>
      one.kind === 'assigned' &&
      one.taskId === taskId &&
      one.attempt === attempt &&
      one.worker === node
        ? [one.workerBoot]
        : [],
    )
    if (boots.length === 0 || boots.includes(boot)) return []
    const lives = mesh.workers.find(({ name }) => name === node)?.lives ?? []
    const life = lives.find((one) => one.boot === boot)
    const atMs = life?.bootedMs ?? event.atMs
    return [{ kind: 'carried', atMs, node, boot, tasks: [{ taskId, attempt }] }]
  })

/** The life of a worker that was on at a time. */
const bootAt = (mesh: ChaosMesh, node: string, atMs: number): string =>
  mesh.workers
    .find(({ name }) => name === node)
    ?.lives.findLast(({ bootedMs }) => bootedMs <= atMs)?.boot ?? ''

const shownOf = (
  { task_id: taskId, state, attempt }: Pick<TaskDone, 'task_id' | 'state' | 'attempt'>,
  atMs: number,
): HistoryEvent => ({
  kind: 'shown',
  atMs,
  client,
  // Only closed tasks are asked for here.
  shown: { taskId, state: state as Shown['state'], attempt },
})

const recordOf = async (mesh: ChaosMesh, taskId: string): Promise<HistoryEvent[]> => {
  const { summary, attempts, losses } = await mesh.client.show(taskId)
  const { attempt, state, ended_ms: endedMs = 0 } = summary
  const events: HistoryEvent[] = attempts.map((one) => ({
    kind: 'assigned',
    atMs: one.sent_ms,
    ...manager,
    taskId,
    attempt: one.attempt,
    worker: one.host_name,
    workerBoot: bootAt(mesh, one.host_name, one.sent_ms),
  }))
  if (state !== 'completed' && state !== 'failed' && state !== 'aborted') return events
  const head = { kind: 'closed', atMs: endedMs, ...manager, taskId } as const
  return [...events, { ...head, attempt, state, losses }, shownOf(summary, endedMs)]
}

/** Lines: time, what, task, attempt, host, pid, exit code. */
const programsOf = (mesh: ChaosMesh) => {
  const text = existsSync(mesh.log) ? readFileSync(mesh.log, 'utf8') : ''
  const events: HistoryEvent[] = []
  const running = new Map<number, number>()
  let runs = 0
  const runOf = new Map<string, number>()
  for (const line of text.trim().split('\n')) {
    const [time, what, taskId = '', attempt, node = '', pid, code] = line.split(' ')
    const atMs = Number(time)
    const life = { node, boot: bootAt(mesh, node, atMs) }
    const key = `${taskId} ${attempt} ${node} ${pid}`
    if (what === 'started') {
      runs += 1
      runOf.set(key, runs)
      running.set(runs, Number(pid))
      events.push({
        kind: 'started',
        atMs,
        ...life,
        run: runs,
        taskId,
        attempt: Number(attempt),
      })
    } else {
      const run = runOf.get(key) ?? 0
      running.delete(run)
      events.push({
        kind: 'exited',
        atMs,
        ...life,
        run,
        how: 'exit',
        exitCode: Number(code),
      })
    }
  }
  // What was killed could not write its end.
  const endMs = Date.now()
  for (const [run, pid] of running) {
    if (isAlive(pid)) continue
    running.delete(run)
    events.push({ kind: 'exited', atMs: endMs, node: '', boot: '', run, how: 'signal' })
  }
  return { events, running: [...running.keys()] }
}
