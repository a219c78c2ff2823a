// Runs seeds against the code in a folder until one breaks a rule, and says which:
//
//   node dist/test/sim/seek.js FOLDER SEEDS
//
// A process of its own, so that code with a bug in it can do no harm to who looks for it.

import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { simulate as Simulate } from '../../src/sim/simulate.ts'

const [folder = '', seeds = '0'] = process.argv.slice(2)
const { href } = pathToFileURL(join(folder, 'src/sim/simulate.js'))
const { simulate }: { readonly simulate: typeof Simulate } = await import(href)

for (let seed = 1; seed <= Number(seeds); seed++) {
  const [violation] = simulate(seed).violations
  if (violation === undefined) continue
  process.stdout.write(JSON.stringify({ seed, violation }))
  break
}
