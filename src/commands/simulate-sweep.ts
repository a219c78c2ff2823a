// The sweep of simulate: which sizes it looks at, and what it draws of them. Pure.

import type { Load } from '../sim/load.ts'
import type { Measured } from '../sim/measure.ts'
import { type Panel, plot, type Series } from './plot.ts'
import { shortNumber } from './scales.ts'
import { formatDuration } from './values.ts'

/** Sizes below the largest, so that a curve has a beginning. */
const WORKERS = [2, 10, 100, 1_000]
const TASKS_PARTS = [100, 10, 1]

/** The loads to be measured: one, or with `isSweep` every pair of sizes up to it. */
export const loadsOf = (
  { workers, cores, tasks, taskMs, managers, faults, seed }: Load,
  isSweep: boolean,
): readonly Load[] => {
  const load = { workers, cores, tasks, taskMs, managers, faults, seed }
  if (!isSweep) return [load]
  const smaller = WORKERS.filter((count) => count < workers && count >= managers)
  const counts = TASKS_PARTS.map((part) => Math.ceil(tasks / part))
  return [...smaller, workers].flatMap((count) =>
    [...new Set(counts)].map((some) => ({ ...load, workers: count, tasks: some })),
  )
}

/** The SVG of a sweep: throughput, recovery and the manager's cost against the workers. */
export const simulationFigure = (measured: readonly Measured[]): string => {
  const [first] = measured
  const { taskMs, cores, faults } = first?.load ?? { taskMs: 0, cores: 0, faults: [] }
  const struck = faults.length === 0 ? 'no faults' : faults.join(', ')
  return plot({
    title: `Tasks of ${formatDuration(taskMs)}, ${cores} cores a worker, ${struck}`,
    description: measured.map(sentence).join(' '),
    panels: [
      panel('Throughput', 'tasks per second', measured, (one) => one.tasksPerSecond),
      panel('Recovery from a fault, worst', 'seconds', measured, ({ worstMs }) =>
        worstMs === undefined ? undefined : worstMs / 1000,
      ),
      panel(
        'What a task costs the manager',
        'microseconds of its core',
        measured,
        (one) => one.managerUs,
      ),
    ],
  })
}

const sentence = ({ load, tasksPerSecond, worstMs, managerUs }: Measured): string => {
  const recovery =
    worstMs === undefined ? '' : ` ${formatDuration(worstMs)} to recover at worst,`
  const rate = shortNumber(Number(tasksPerSecond.toPrecision(3)))
  return `${load.workers} workers, ${shortNumber(load.tasks)} tasks: ${rate} a second,${recovery} ${managerUs.toFixed(0)} microseconds of the manager for each.`
}

const panel = (
  title: string,
  yLabel: string,
  measured: readonly Measured[],
  valueIn: (one: Measured) => number | undefined,
): Panel => {
  const counts = [...new Set(measured.map(({ load }) => load.tasks))]
  const series = counts.map((tasks): Series => {
    const points = measured
      .filter(({ load }) => load.tasks === tasks)
      .flatMap((one) => {
        const y = valueIn(one)
        return y === undefined ? [] : [{ x: one.load.workers, y }]
      })
    return { name: `${shortNumber(tasks)} tasks`, points }
  })
  return { title, xLabel: 'workers', yLabel, series: series.filter(hasPoints) }
}

const hasPoints = ({ points }: Series): boolean => points.length > 0
