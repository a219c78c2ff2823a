// simulate: what a mesh of a given size would do with a given number of tasks, before
// anybody buys machines. The managers and workers are the real ones; network, clocks and
// programs are simulated (src/sim), so it takes seconds and needs no machine but this.

import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Load } from '../sim/load.ts'
import type { Measured } from '../sim/measure.ts'
import { type Io, Sink, UsageError } from './io.ts'
import { EXIT } from './outcome.ts'
import { measureLoads } from './simulate-loads.ts'
import { loadsOf, simulationFigure } from './simulate-sweep.ts'
import { json, table } from './table.ts'
import { formatDuration } from './values.ts'

export interface SimulateOptions extends Load {
  readonly json?: boolean
  readonly sweep?: boolean
  readonly svg?: string
}

export const simulate = async (io: Io, options: SimulateOptions): Promise<number> => {
  if (options.svg !== undefined && options.sweep !== true)
    throw new UsageError('--svg needs --sweep: a curve has more than one point')
  if (options.managers > options.workers)
    throw new UsageError(
      `expected a worker for each manager, got ${options.workers} for ${options.managers}`,
    )
  const stderr = new Sink(io.stderr)
  const loads = loadsOf(options, options.sweep === true)
  const measured = await measureLoads(loads, progressOf(stderr))
  if (stderr.isTerminal) await stderr.write(CLEAR)
  const stdout = new Sink(io.stdout)
  if (options.json === true) await stdout.line(json(measured.map(rowOf)))
  else {
    await stdout.line(measuredTable(measured))
    for (const note of notesOf(measured)) await stdout.line(note)
  }
  if (options.svg === undefined) return EXIT.ok
  try {
    await writeFile(resolve(io.cwd, options.svg), simulationFigure(measured))
  } catch (error) {
    await stderr.line(
      `manyhands: cannot write ${options.svg}: ${(error as Error).message}`,
    )
    return EXIT.failed
  }
  return EXIT.ok
}

const CLEAR = '\r\x1b[K'

/** On a terminal, how far it is. */
const progressOf =
  (stderr: Sink) =>
  ({ workers, tasks }: Load, done: number): void => {
    if (!stderr.isTerminal) return
    const part = Math.floor((100 * done) / tasks)
    void stderr.write(`${CLEAR}${workers} workers, ${tasks} tasks: ${part} %`)
  }

/** Microseconds of each second that its managers would work, each as part of one core. */
const managerLoad = ({ load, tasksPerSecond, managerUs }: Measured): number =>
  (tasksPerSecond * managerUs) / 1e6 / load.managers

export const measuredTable = (measured: readonly Measured[]): string =>
  table(
    [
      ...['WORKERS', 'TASKS', 'TOOK', 'TASKS/S', 'OF IDEAL', 'RAN AGAIN'],
      ...['RECOVERY', 'WORST', 'MANAGER US/TASK', 'OF ITS CORE'],
    ],
    measured.map((one) => [
      one.load.workers,
      one.load.tasks,
      formatDuration(one.tookMs),
      Number(one.tasksPerSecond.toPrecision(3)),
      percent(one.ofIdeal),
      one.again,
      one.middleMs === undefined ? '-' : formatDuration(one.middleMs),
      one.worstMs === undefined ? '-' : formatDuration(one.worstMs),
      Number(one.managerUs.toFixed(1)),
      percent(managerLoad(one)),
    ]),
  )

const percent = (part: number): string => `${Number((100 * part).toPrecision(2))} %`

/** What a reader of the table must not miss. */
const notesOf = (measured: readonly Measured[]): readonly string[] => {
  const [first] = measured
  if (first === undefined) return []
  const { taskMs, cores, faults } = first.load
  const struck = faults.length === 0 ? 'no faults' : faults.join(', ')
  const mesh = `tasks of ${formatDuration(taskMs)}, ${cores} cores a worker, ${struck}`
  const about = `${mesh}; sockets and disks cost nothing here`
  const failed = measured.reduce((sum, one) => sum + one.failed, 0)
  return [
    about,
    ...(failed > 0 ? [`${failed} tasks did not succeed`] : []),
    ...(measured.some((one) => managerLoad(one) > 0.5)
      ? ['a manager that needs most of a core is the limit: take more, or longer tasks']
      : []),
  ]
}

/** A measurement for programs. */
const rowOf = (one: Measured) => ({
  workers: one.load.workers,
  cores: one.load.cores,
  managers: one.load.managers,
  tasks: one.load.tasks,
  task_ms: one.load.taskMs,
  faults: one.load.faults,
  seed: one.load.seed,
  took_ms: Math.round(one.tookMs),
  tasks_per_second: one.tasksPerSecond,
  of_ideal: one.ofIdeal,
  ran_again: one.again,
  failed: one.failed,
  recovery_ms: one.middleMs,
  recovery_worst_ms: one.worstMs,
  manager_us_per_task: one.managerUs,
  manager_of_core: managerLoad(one),
})
