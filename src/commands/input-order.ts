// Input order: outcomes held until those before them have come. What waits is bounded in
// bytes: beyond that an output is dropped here and read again from the mesh at its turn.

import type { TaskDone } from '../../protocol/index.ts'

/** Inline outputs held in memory. */
const HELD_BYTES = 16 * 1024 * 1024

export class InputOrder {
  readonly #held = new Map<number, TaskDone>()
  #next = 0
  #bytes = 0

  /** Takes an outcome; gives those whose turn has come. */
  add(index: number, done: TaskDone): (readonly [number, TaskDone])[] {
    const due: (readonly [number, TaskDone])[] = []
    const bytes = inlineBytes(done)
    const isKept = index === this.#next || this.#bytes + bytes <= HELD_BYTES
    this.#held.set(index, isKept ? done : withoutInline(done))
    if (isKept) this.#bytes += bytes
    for (;;) {
      const next = this.#held.get(this.#next)
      if (next === undefined) return due
      const at = this.#next++
      this.#held.delete(at)
      this.#bytes -= inlineBytes(next)
      due.push([at, next])
    }
  }

  /** All that are held, in order, whatever is missing between them. */
  rest(): (readonly [number, TaskDone])[] {
    const due = [...this.#held].sort(([a], [b]) => a - b)
    this.#held.clear()
    return due
  }
}

const inlineBytes = ({ result }: TaskDone): number =>
  (result?.stdout?.inline?.byteLength ?? 0) + (result?.stderr?.inline?.byteLength ?? 0)

const withoutInline = (done: TaskDone): TaskDone => {
  const { result } = done
  if (result === undefined) return done
  const { stdout, stderr, ...other } = result
  const strip = ({ inline: _, ...kept }: NonNullable<typeof stdout>) => kept
  return {
    ...done,
    result: {
      ...other,
      ...(stdout && { stdout: strip(stdout) }),
      ...(stderr && { stderr: strip(stderr) }),
    },
  }
}
