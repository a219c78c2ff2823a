// Scales: where a value stands on an axis, and which values the axis names. Pure.

/** From values to 0 (where the axis begins) up to 1 (where it ends). */
export interface Scale {
  readonly at: (value: number) => number
  readonly ticks: readonly number[]
}

const STEPS = [1, 2, 5]
/** So that 0.1 + 0.2 still counts as on the mark. */
const ROUNDING = 1.000001
/** With so many powers of ten on an axis, 2 and 5 between them are too many. */
const ENOUGH = 4

/** By powers of ten, from the last round value below to the first above. Values above 0. */
export const logScale = (values: readonly number[]): Scale => {
  const from = roundDown(Math.min(...values))
  const top = roundUp(Math.max(...values))
  const to = top > from ? top : from * 2
  const span = Math.log(to / from)
  const ticks = roundValues(from, to)
  const tens = ticks.filter((tick) => isPowerOfTen(tick))
  return {
    at: (value) => Math.log(value / from) / span,
    ticks: tens.length >= ENOUGH ? tens : ticks,
  }
}

/** From 0 to the first round value above, in four to ten steps. */
export const linearScale = (values: readonly number[]): Scale => {
  const most = Math.max(...values) || 1
  const step = roundUp(most / 10)
  const count = Math.ceil(most / step / ROUNDING)
  const to = step * count
  return {
    at: (value) => value / to,
    ticks: Array.from({ length: count + 1 }, (_, index) => step * index),
  }
}

const powerBelow = (value: number): number =>
  10 ** Math.floor(Math.log10(value * ROUNDING))

const isPowerOfTen = (value: number): boolean => value < powerBelow(value) * ROUNDING

/** The last of 1, 2, 5 times a power of ten that is not above. */
const roundDown = (value: number): number => {
  const power = powerBelow(value)
  const step = STEPS.findLast((one) => one * power <= value * ROUNDING)
  return (step ?? 1) * power
}

/** The first of them that is not below. */
const roundUp = (value: number): number => {
  const power = powerBelow(value)
  const step = STEPS.find((one) => one * power * ROUNDING >= value)
  return (step ?? 10) * power
}

const roundValues = (from: number, to: number): readonly number[] => {
  const found: number[] = []
  for (let power = powerBelow(from); power <= to * ROUNDING; power *= 10)
    for (const step of STEPS) {
      const value = step * power
      if (value * ROUNDING >= from && value <= to * ROUNDING) found.push(value)
    }
  return found
}

const SUFFIXES = [
  [1e9, 'G'],
  [1e6, 'M'],
  [1e3, 'k'],
] as const

/** `250`, `0.5`, `20k`, `1M`: as an axis has room for. */
export const shortNumber = (value: number): string => {
  const [size, suffix] = SUFFIXES.find(([least]) => value * ROUNDING >= least) ?? [1, '']
  return `${Number((value / size).toPrecision(3))}${suffix}`
}
