// Adds a sample of bytes to test/fixtures/wire for each body that has none. What is there
// is never written again: old bytes must decode for ever.
//
//   npm run build && node scripts/add-wire-samples.mjs

import { existsSync, writeFileSync } from 'node:fs'
import { bodies } from '../dist/test/support/rows.js'
import { sampleBytes } from '../dist/test/support/samples.js'

for (const body of bodies) {
  const file = new URL(`../test/fixtures/wire/${body.name}.hex`, import.meta.url)
  if (existsSync(file)) continue
  const hex = Buffer.from(sampleBytes(body)).toString('hex')
  writeFileSync(file, `${hex.replace(/.{1,80}/g, '$&\n')}`)
  process.stdout.write(`added ${body.name}\n`)
}
