// Writes what is generated in protocol/: the exchanges in README.md and manyhands.json
// from the codecs, golden.json from test/fixtures/wire.
//
//   npm run docs:protocol                      writes
//   node scripts/docs-protocol.mjs --check     says which are stale, and fails

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { documentOf } from '../dist/protocol/document.js'
import { withTable } from '../dist/protocol/table.js'
import { fromBytes } from '../dist/protocol/wire.js'
import { refusedFrames } from '../dist/test/support/refused-frames.js'
import { surroundings } from './protocol-upgrade.mjs'

const at = (path) => new URL(`../${path}`, import.meta.url)
const hexOf = (bytes) => Buffer.from(bytes).toString('hex')

const toJson = (value) => `${JSON.stringify(value, undefined, 2)}\n`

/** Bytes as base64, as manyhands.json says. */
const plain = (value) => {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64')
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, it]) => [name, plain(it)]))
}

const goldenFrame = (file) => {
  const hex = readFileSync(at(`test/fixtures/wire/${file}`), 'utf8').replaceAll('\n', '')
  const frame = fromBytes(Buffer.from(hex, 'hex'))
  if (frame._tag === 'Left') throw new Error(`${file} is not a frame`)
  const [kind, answer] = file.replace('.hex', '').split('.')
  return { kind, ...(answer && { answer }), frame: plain(frame.right), hex }
}

const golden = () => ({
  about:
    'Frames as bytes (hex) and as what they decode to; what is bytes on the wire is base64 here. An implementation decodes every one of `frames` to this value, and refuses every one of `refused` (close 4400).',
  frames: readdirSync(at('test/fixtures/wire')).sort().map(goldenFrame),
  refused: refusedFrames.map(({ why, bytes }) => ({ why, hex: hexOf(bytes) })),
})

const readme = 'protocol/README.md'
const files = {
  [readme]: withTable(readFileSync(at(readme), 'utf8')),
  'protocol/manyhands.json': toJson(documentOf(surroundings())),
  'protocol/golden.json': toJson(golden()),
}
const stale = Object.entries(files).filter(
  ([path, text]) => !existsSync(at(path)) || readFileSync(at(path), 'utf8') !== text,
)
if (process.argv.includes('--check')) {
  for (const [path] of stale)
    process.stderr.write(`stale: ${path}; npm run docs:protocol\n`)
  process.exitCode = stale.length > 0 ? 1 : 0
} else for (const [path, text] of stale) writeFileSync(at(path), text)
