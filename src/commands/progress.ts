// Progress of a batch as text: a bar for a terminal, a plain line for a file. Pure: times
// and widths come in.

import { formatDuration } from './values.ts'

export interface Progress {
  /** Undefined while the input is still being read. */
  readonly total: number | undefined
  readonly done: number
  readonly failed: number
  readonly running: number
  readonly elapsedMs: number
}

/** Time left at the rate so far; undefined while there is none to speak of. */
export const timeLeftMs = (progress: Progress): number | undefined => {
  const { total, done, elapsedMs } = progress
  if (total === undefined || done === 0 || done >= total) return undefined
  return (elapsedMs / done) * (total - done)
}

/** `1200 of 2000 done, 3 failed, 8 running, 12 s left`. */
export const progressLine = (progress: Progress): string => {
  const { total, done, failed, running } = progress
  const left = timeLeftMs(progress)
  return [
    total === undefined ? `${done} done` : `${done} of ${total} done`,
    `${failed} failed`,
    `${running} running`,
    ...(left === undefined ? [] : [`${formatDuration(left)} left`]),
  ].join(', ')
}

const BAR_MAX = 30

/** `[#######......] 1200 of 2000 done, …`, at most `columns - 1` wide. */
export const progressBar = (progress: Progress, columns: number): string => {
  const text = progressLine(progress)
  const room = Math.min(BAR_MAX, columns - 1 - text.length - 3)
  const { total, done } = progress
  if (total === undefined || total === 0 || room < 5) return text.slice(0, columns - 1)
  const filled = Math.floor((room * Math.min(done, total)) / total)
  return `[${'#'.repeat(filled)}${'.'.repeat(room - filled)}] ${text}`
}

/** What a host did of a batch. */
export interface HostTally {
  tasks: number
  failed: number
  runMs: number
}
