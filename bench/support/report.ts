// Report: one line per figure: what, what came out, the goal, and whether it was met.

export interface Figure {
  readonly what: string
  readonly value: number
  readonly unit: string
  /** `>=` or `<=` and a number; left out where there is only something to tell. */
  readonly goal?: readonly ['>=' | '<=', number]
  /** Absolute numbers and conditions beside it. */
  readonly note?: string
}

const rounded = (value: number): string =>
  Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2)

/** Was the goal met? A figure without a goal is. */
export const isMet = (figure: Figure): boolean => {
  if (figure.goal === undefined) return true
  const [sign, bound] = figure.goal
  return sign === '>=' ? figure.value >= bound : figure.value <= bound
}

/** Prints a figure as one line. */
export const report = (figure: Figure): void => {
  const goal = figure.goal === undefined ? '' : `goal ${figure.goal[0]} ${figure.goal[1]}`
  const verdict = figure.goal === undefined ? '' : isMet(figure) ? 'met' : 'MISSED'
  const note = figure.note === undefined ? '' : `  (${figure.note})`
  console.log(
    `${figure.what.padEnd(58)} ${`${rounded(figure.value)} ${figure.unit}`.padStart(14)}  ${goal.padEnd(14)} ${verdict}${note}`,
  )
}
