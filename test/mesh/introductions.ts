// Introductions for tests: complete, and of somebody new each time.

import { randomBytes } from 'node:crypto'
import type { Introduction } from '../../protocol/index.ts'

export const introductionOf = (given: Partial<Introduction> = {}): Introduction => ({
  node_type: 'worker',
  node_id: randomBytes(16).toString('hex'),
  boot_id: randomBytes(8).toString('hex'),
  host_name: 'node',
  minor: 0,
  features: [],
  max_in_flight: 1024,
  max_frame: 1024 * 1024,
  ...given,
})
