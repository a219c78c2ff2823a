// Cases: one rule each, with the sentence of protocol/README.md that says it.

import type { Stage } from './stage.ts'

export interface Case {
  readonly name: string
  readonly role: 'worker' | 'manager' | 'any'
  /** The sentence of protocol/README.md that it checks, or two, joined by ` … `. */
  readonly rule: string
  /** Needs the one relationship of a worker: such cases go one after the other. */
  readonly isAlone?: true
  readonly run: (stage: Stage) => Promise<void>
}
