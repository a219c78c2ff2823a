// All benchmarks, or those whose name contains one of the words: `npm run bench -- noop`.
// Each is a program of its own; a figure that misses its goal is said so and does not fail.

import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('.', import.meta.url))
const words = process.argv.slice(2)
const names = readdirSync(folder)
  .filter((name) => name.endsWith('.js') && name !== 'index.js')
  .filter((name) => words.length === 0 || words.some((word) => name.includes(word)))
  .sort()
if (names.length === 0) {
  console.error(`no benchmark's name contains ${words.join(' or ')}`)
  process.exitCode = 2
}
for (const name of names) {
  console.log(`\n${name.slice(0, -3)}`)
  const { status } = spawnSync(process.execPath, [folder + name], { stdio: 'inherit' })
  if (status !== 0) process.exitCode = 1
}
