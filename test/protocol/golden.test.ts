// Golden bytes: what was once sent still decodes, and is sent as the same value today.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import { encodeAnswer, encodeRequest } from '../../protocol/codec.ts'
import {
  decodeAnswer,
  decodeRequest,
  type Envelope,
  fromBytes,
  isRequest,
  type Kind,
  toBytes,
} from '../../protocol/index.ts'
import { bodies } from '../support/rows.ts'

const folder = 'test/fixtures/wire'
const open = (bytes: Uint8Array): Envelope => {
  const frame = fromBytes(bytes)
  if (E.isLeft(frame)) throw new Error('not a frame')
  return frame.right
}
const decode = (kind: Kind, frame: Envelope) =>
  isRequest(frame)
    ? decodeRequest(frame.k, frame.b)
    : decodeAnswer(kind, frame.k, frame.b)

t.test('every body has its sample', async (t) => {
  for (const { name } of bodies)
    t.ok(
      existsSync(`${folder}/${name}.hex`),
      `${name}: node scripts/add-wire-samples.mjs`,
    )
})

t.test('old bytes still decode, and mean today what they meant', async (t) => {
  for (const file of readdirSync(folder)) {
    const [kind] = file.split('.') as [Kind]
    const hex = readFileSync(`${folder}/${file}`, 'utf8').replaceAll('\n', '')
    const frame = open(Buffer.from(hex, 'hex'))
    const decoded = decode(kind, frame)
    if (E.isLeft(decoded)) {
      t.fail(`${file}: ${JSON.stringify(decoded.left)}`)
      continue
    }
    const { body } = decoded.right
    t.same(body, frame.b, `${file}: nothing of it is dropped`)
    const sent = isRequest(frame)
      ? { ...frame, b: encodeRequest(kind, body) }
      : { ...frame, b: encodeAnswer(kind, frame.k, body) }
    t.same(open(toBytes(sent)), frame, `${file}: sent again`)
  }
})
