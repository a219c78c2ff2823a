// Report: tells a figure as soon as it is known, as one line, and to the run of all
// benchmarks (index.ts) if there is one: it names a file in MANYHANDS_BENCH_RECORDS.

import { appendFileSync } from 'node:fs'
import { cellsOf, type Figure, type Missing, missingCells } from './figures.ts'

const WHAT_WIDTH = 58
const VALUE_WIDTH = 12

const record = (line: object): void => {
  const { MANYHANDS_BENCH_RECORDS: file } = process.env
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(line)}\n`)
}

const print = ([what = '', value = '', ...rest]: readonly string[]): void => {
  const told = rest.filter((cell) => cell !== '').join('  ')
  console.log(`${what.padEnd(WHAT_WIDTH)} ${value.padStart(VALUE_WIDTH)}  ${told}`)
}

export const report = (figure: Figure): void => {
  print(cellsOf(figure))
  record({ figure })
}

/** A figure that is skipped, and why: visible, and no failure. */
export const reportMissing = (missing: Missing): void => {
  print(missingCells(missing))
  record({ missing })
}
