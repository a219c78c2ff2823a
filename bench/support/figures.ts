// Figures: what a benchmark found out, as values; and how they stand in a line or a table.

import { median, type Pair, ratio } from './rounds.ts'

/** What a figure is held against, measured in turn with it on the same machine. */
export interface Yardstick {
  readonly name: string
  /** Medians of both, in `unit`. */
  readonly ours: number
  readonly theirs: number
  readonly unit: string
  /** How often both were measured. */
  readonly rounds: number
}

export interface Figure {
  readonly what: string
  readonly value: number
  readonly unit: string
  /** `>=` or `<=` and a number; left out where there is only something to tell. */
  readonly goal?: Goal
  readonly yardstick?: Yardstick
  /** Absolute numbers and conditions beside it. */
  readonly note?: string
}
export type Goal = readonly ['>=' | '<=', number]

/** A figure that could not be measured, because its yardstick is not on this machine. */
export interface Missing {
  readonly what: string
  readonly yardstick: string
  readonly remedy: string
}

/** Was the goal met? A figure without a goal is. */
export const isMet = ({ goal, value }: Figure): boolean => {
  if (goal === undefined) return true
  const [sign, bound] = goal
  return sign === '>=' ? value >= bound : value <= bound
}

export interface Comparison {
  readonly what: string
  readonly yardstick: string
  /** Of the two values, not of their ratio. */
  readonly unit: string
  readonly goal?: Goal
}

/** The figure of a subject by its yardstick: the median of the pairs' ratios. */
export const comparison = (
  { what, yardstick, unit, goal }: Comparison,
  pairs: readonly Pair[],
): Figure => ({
  what,
  value: ratio(pairs),
  unit: 'x',
  ...(goal && { goal }),
  yardstick: {
    name: yardstick,
    ours: median(pairs.map((pair) => pair.subject)),
    theirs: median(pairs.map((pair) => pair.yardstick)),
    unit,
    rounds: pairs.length,
  },
})

/** Three digits that tell something. */
export const rounded = (value: number): string =>
  Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2)

const withUnit = (value: number, unit: string): string =>
  `${rounded(value)}${unit.startsWith('/') || unit === '' ? '' : ' '}${unit}`

/** The cells of a figure: what, value, yardstick, goal, verdict, note. */
export const cellsOf = (figure: Figure): readonly string[] => {
  const { what, value, unit, goal, yardstick, note = '' } = figure
  const beside =
    yardstick === undefined
      ? ''
      : `${withUnit(yardstick.ours, yardstick.unit)} by ${withUnit(yardstick.theirs, yardstick.unit)} of ${yardstick.name}`
  return [
    what,
    withUnit(value, unit),
    beside,
    goal === undefined ? '' : goal.join(' '),
    goal === undefined ? '' : isMet(figure) ? 'met' : 'MISSED',
    note,
  ]
}

/** The cells of one that is missing. */
export const missingCells = ({ what, yardstick, remedy }: Missing): readonly string[] => [
  what,
  'missing',
  `${yardstick} is not installed`,
  '',
  'skipped',
  remedy,
]

/** Rows as columns of equal width, two blanks apart; numbers (the second) to the right. */
export const tableOf = (rows: readonly (readonly string[])[]): string => {
  const widths = (rows[0] ?? []).map((_, at) =>
    Math.max(...rows.map((row) => row[at]?.length ?? 0)),
  )
  const lineOf = (row: readonly string[]): string =>
    row
      .map((cell, at) =>
        at === 1 ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0),
      )
      .join('  ')
      .trimEnd()
  return rows.map(lineOf).join('\n')
}
