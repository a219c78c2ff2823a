// Task states by the words that people ask with.

import type { TaskState } from '../../protocol/index.ts'

export const STATES: Readonly<Record<string, readonly TaskState[]>> = {
  waiting: ['queued', 'sent', 'accepted'],
  running: ['running'],
  ended: ['completed', 'failed', 'aborted'],
  completed: ['completed'],
  failed: ['failed'],
  aborted: ['aborted'],
}
