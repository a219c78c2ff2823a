// Process readiness: watches a run for what its spec calls ready: a text in its output, a
// port that is open. It tells once, and stops when it is told to.

import type { Readiness } from '../../protocol/index.ts'
import { DATA_BYTES } from '../../protocol/index.ts'
import type { Cancel, Clock, Mesh, Run } from '../ports.ts'

export interface ReadinessPorts {
  readonly clock: Clock
  readonly mesh: Pick<Mesh, 'isRefused'>
}

/** How often a port is knocked at. */
const KNOCK_MS = 200
const READ_MS = 20_000

/** Watches until it is ready or cancelled; `tell` is never called inside. */
export const watchReadiness = (
  { clock, mesh }: ReadinessPorts,
  run: Run,
  { log, port }: Readiness,
  tell: () => void,
): Cancel => {
  let isDone = false
  let cancelKnock: Cancel = () => undefined
  const done = (): void => {
    isDone = true
    cancelKnock()
  }
  const ready = (): void => {
    if (isDone) return
    done()
    tell()
  }
  if (log !== undefined && log !== '')
    for (const fd of [1, 2] as const) seek(run, fd, log, () => isDone, ready)
  const knock = (): void =>
    mesh.isRefused('127.0.0.1', port ?? 0, (isRefused) => {
      if (isDone) return
      if (isRefused) cancelKnock = clock.after(KNOCK_MS, knock)
      else ready()
    })
  if (port !== undefined) knock()
  return done
}

/** Reads along until the text was there, also where two stretches meet. */
const seek = (
  run: Run,
  fd: 1 | 2,
  text: string,
  isDone: () => boolean,
  found: () => void,
): void => {
  const wanted = new TextEncoder().encode(text)
  let tail = new Uint8Array(0)
  const from = (offset: number): void =>
    run.read(fd, offset, DATA_BYTES, READ_MS, ({ offset: at, data, eof }) => {
      if (isDone()) return
      const both = new Uint8Array(tail.length + data.length)
      both.set(tail)
      both.set(data, tail.length)
      if (indexOf(both, wanted) >= 0) return found()
      tail = both.slice(Math.max(0, both.length - wanted.length + 1))
      if (!eof) from(at + data.length)
    })
  from(0)
}

const indexOf = (bytes: Uint8Array, wanted: Uint8Array): number => {
  const [first = 0] = wanted
  for (let at = bytes.indexOf(first); at >= 0; at = bytes.indexOf(first, at + 1)) {
    if (wanted.every((byte, of) => bytes[at + of] === byte)) return at
  }
  return -1
}
