// What the command line costs as a whole process, beside `node -e 0` in the same run.

import { comparison } from './support/figures.ts'
import { binary, commandMs, startMesh } from './support/mesh.ts'
import { report } from './support/report.ts'
import { interleave } from './support/rounds.ts'

const ROUNDS = 25

const mesh = await startMesh()
try {
  const bare = (): Promise<number> => commandMs(process.execPath, ['-e', '0'])
  const verbs: readonly (readonly [string, readonly string[], number])[] = [
    ['manyhands --version', ['--version'], 1.6],
    ['manyhands nodes', ['nodes', '--state', mesh.state], 2.5],
  ]
  for (const [what, args, goal] of verbs) {
    const pairs = await interleave(
      ROUNDS,
      () => commandMs(process.execPath, [binary, ...args]),
      bare,
    )
    const beside = { what: `${what}, whole process`, yardstick: 'node -e 0', unit: 'ms' }
    report(comparison({ ...beside, goal: ['<=', goal] }, pairs))
  }
} finally {
  await mesh.close()
}
