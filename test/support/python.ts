// Is there a Python that examples/worker.py runs on? Tests that need it are skipped
// visibly where there is none.

import { spawnSync } from 'node:child_process'

export const WORKER = 'examples/worker.py'

const asked = spawnSync('python3', [
  '-c',
  'import sys; print(sys.version_info >= (3, 9))',
])

/** What tap takes as `skip`: false, or why. */
export const noPython: false | string =
  asked.stdout?.toString().trim() === 'True'
    ? false
    : 'no python3 >= 3.9 here: scripts/install-test-peers.sh'
