// Is there a Python that examples/worker.py runs on? Tests that need it are skipped
// visibly where there is none.

import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { makeMember } from '../../src/identity/issue.ts'
import { identityPath } from '../../src/identity/slots.ts'
import { openState } from '../../src/identity/state.ts'

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

/** A certificate for the worker in Python, in the state directory that it is given. */
export const issueTo = async (state: string, hostName: string): Promise<void> => {
  const opened = await openState(state)
  if (E.isLeft(opened)) throw new Error(opened.left.reason)
  const place = identityPath(state, 'worker', hostName)
  mkdirSync(dirname(place), { recursive: true, mode: 0o700 })
  const made = await makeMember(opened.right, { role: 'worker', hostName, place })
  if (E.isLeft(made)) throw new Error(made.left.reason)
}
