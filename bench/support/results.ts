// Results: what a run of benchmarks found out, for programs (JSON) and for people.

import {
  cellsOf,
  type Figure,
  isMet,
  type Missing,
  missingCells,
  tableOf,
} from './figures.ts'

/** The JSON result. `format` grows when a field changes its meaning. */
export interface Results {
  readonly format: 1
  /** When it began, ISO 8601. */
  readonly at: string
  readonly machine: Machine
  readonly benchmarks: readonly Benchmark[]
}

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memory_bytes: number
  readonly system: string
  readonly node: string
  /** Load averages of 1, 5 and 15 minutes before it began: above 0 it was not alone. */
  readonly load: readonly number[]
}

export interface Benchmark {
  readonly name: string
  readonly seconds: number
  /** `failed`: it ended before it was through; the figures are those until then. */
  readonly status: 'ok' | 'failed'
  readonly figures: readonly (Figure & { readonly met?: boolean })[]
  readonly missing: readonly Missing[]
}

/** From the lines that a benchmark recorded; one that it did not end is left out. */
export const benchmarkOf = (
  name: string,
  lines: string,
  how: { readonly seconds: number; readonly status: Benchmark['status'] },
): Benchmark => {
  const records = lines.split('\n').slice(0, -1).map(parse)
  return {
    name,
    ...how,
    figures: records.flatMap(({ figure }) =>
      figure === undefined
        ? []
        : [{ ...figure, ...(figure.goal && { met: isMet(figure) }) }],
    ),
    missing: records.flatMap(({ missing }) => missing ?? []),
  }
}

/** As report.ts writes it. */
const parse = (
  line: string,
): { readonly figure?: Figure; readonly missing?: Missing } => {
  const { figure, missing } = JSON.parse(line)
  // JSON has no NaN: a figure that came to nothing is null there.
  return figure === undefined
    ? { missing }
    : { figure: { ...figure, value: figure.value ?? Number.NaN } }
}

/** All figures as one table, with a line that sums it up. */
export const textOf = ({ benchmarks }: Results): string => {
  const rows = benchmarks.flatMap(({ name, figures, missing }) =>
    [...figures.map(cellsOf), ...missing.map(missingCells)].map(
      ([what = '', ...rest]) => [`${name}: ${what}`, ...rest],
    ),
  )
  const head = ['what', 'value', 'yardstick', 'goal', '', '']
  return `${tableOf([head, ...rows])}\n\n${summaryOf(benchmarks)}\n`
}

const summaryOf = (benchmarks: readonly Benchmark[]): string => {
  const figures = benchmarks.flatMap((one) => one.figures)
  const goals = figures.filter(({ met }) => met !== undefined)
  const met = goals.filter((figure) => figure.met)
  const missing = benchmarks.flatMap((one) => one.missing)
  const failed = benchmarks.filter(({ status }) => status === 'failed')
  return [
    `${figures.length} figures, ${met.length} of ${goals.length} goals met`,
    ...(missing.length > 0
      ? [
          `${missing.length} skipped, for want of ${[...new Set(missing.map(({ yardstick }) => yardstick))].join(', ')}`,
        ]
      : []),
    ...failed.map(({ name }) => `${name} FAILED`),
  ].join('; ')
}
