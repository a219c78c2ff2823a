// Frames to bytes and back, by msgpackr alone: plain maps, no records.

import { Packr } from 'msgpackr'
import type { Body } from './protocol.ts'

const packr = new Packr({ useRecords: false, int64AsType: 'number' })

export interface Frame {
  readonly q?: number
  readonly a?: number
  readonly k: string
  readonly b: Body
  readonly t?: number
}

export const pack = (value: unknown): Uint8Array => packr.pack(value)

export const unpack = (bytes: Uint8Array): Frame => packr.unpack(bytes) as Frame
