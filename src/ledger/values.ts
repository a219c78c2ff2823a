// Values: what a record of the ledger is in bytes. One byte says by which version it was
// written, four are a checksum (CRC-32): what the disk changed is told from what was meant.

import { Buffer } from 'node:buffer'
import { crc32 } from 'node:zlib'
import { Packr } from 'msgpackr'

const VERSION = 1
const HEAD_BYTES = 5

// Copied: what is read stands in memory that the database uses again.
const packr = new Packr({
  useRecords: false,
  int64AsType: 'number',
  useToJSON: false,
  copyBuffers: true,
})

/** A record that is not what was written. */
export class DamagedRecordError extends Error {
  override readonly name = 'DamagedRecordError'
}

export const toValue = (content: unknown): Buffer => {
  const body = packr.pack(content)
  const value = Buffer.allocUnsafe(HEAD_BYTES + body.length)
  value[0] = VERSION
  value.writeUInt32LE(crc32(body), 1)
  body.copy(value, HEAD_BYTES)
  return value
}

/** What was packed, whole by its checksum; else throws DamagedRecordError. `where` names the record for a person. */
export const bodyOf = (value: Uint8Array, where: string): Buffer => {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  const body = bytes.subarray(HEAD_BYTES)
  if (bytes.length <= HEAD_BYTES || bytes[0] !== VERSION)
    throw new DamagedRecordError(`${where} was written by another version, or not at all`)
  if (crc32(body) !== bytes.readUInt32LE(1))
    throw new DamagedRecordError(`${where} is not what was written`)
  return body
}

/** Throws DamagedRecordError. */
export const fromValue = (value: Uint8Array, where: string): unknown =>
  packr.unpack(bodyOf(value, where))
