// What the command line costs as a whole process, beside `node -e 0` in the same run.

import { binary, commandMs, startMesh } from './support/mesh.ts'
import { report } from './support/report.ts'
import { interleave, median, ratio } from './support/rounds.ts'

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
    const ms = median(pairs.map((pair) => pair.subject))
    const bareMs = median(pairs.map((pair) => pair.yardstick))
    report({
      what: `${what}, by node -e 0`,
      value: ratio(pairs),
      unit: 'x',
      goal: ['<=', goal],
      note: `${ms.toFixed(0)} ms by ${bareMs.toFixed(0)} ms`,
    })
  }
} finally {
  await mesh.close()
}
