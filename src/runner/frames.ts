// Frames: how a node and its launchers talk, over the launcher's stdin and stdout.
//
// u32 length of what follows, u8 type, u32 run, body. The two ends are always of one
// build, so there is no version and nothing is checked but the length.

import type { RunSpec } from '../ports.ts'

/** Node to launcher below 16, launcher to node from 16 on. */
export const FrameType = {
  /** Body: JSON StartRequest. */
  start: 1,
  /** Body: the signal's name. */
  kill: 2,
  /** Body: JSON list of paths at which FIFOs are to be made. */
  makeFifos: 3,
  /** The launcher listens. */
  ready: 16,
  /** It runs on (a short program's start is told with its end). Body: f64 pid, f64 start time. */
  started: 17,
  /** Body: JSON SpawnFailure. */
  failed: 18,
  /** Body: JSON Exit. */
  exited: 19,
  /** Body: empty, or the reason why not. */
  fifosMade: 20,
} as const

/** What a launcher needs to start a program. A path of a descriptor left out is /dev/null. */
export interface StartRequest
  extends Pick<
    RunSpec,
    'program' | 'calledAs' | 'arguments' | 'directory' | 'environment' | 'account'
  > {
  readonly stdin?: string
  readonly stdout?: string
  readonly stderr?: string
}

/** Why a program could not be started; `code` as the system's. */
export interface SpawnFailure {
  readonly code: string
  readonly reason: string
}

/** How a program ended: `code` or `signal`. `left`: others of its group live on. */
export interface Exit {
  readonly pid: number
  readonly code: number | null
  readonly signal: string | null
  readonly runMs: number
  readonly left: boolean
}

const HEADER_BYTES = 9

/** One frame as bytes. */
export const encodeFrame = (type: number, run: number, body: Buffer | string): Buffer => {
  const size = typeof body === 'string' ? Buffer.byteLength(body) : body.length
  const frame = Buffer.allocUnsafe(HEADER_BYTES + size)
  frame.writeUInt32LE(size + 5, 0)
  frame.writeUInt8(type, 4)
  frame.writeUInt32LE(run, 5)
  if (typeof body === 'string') frame.write(body, HEADER_BYTES)
  else body.copy(frame, HEADER_BYTES)
  return frame
}

/** Returns a function that takes bytes as they come and calls `take` for each whole frame. */
export const frameDecoder = (
  take: (type: number, run: number, body: Buffer) => void,
): ((bytes: Buffer) => void) => {
  let parts: Buffer[] = []
  let have = 0
  let want = HEADER_BYTES
  return (bytes) => {
    parts.push(bytes)
    have += bytes.length
    if (have < want) return
    let all = parts.length === 1 ? bytes : Buffer.concat(parts)
    want = HEADER_BYTES
    while (all.length >= HEADER_BYTES) {
      const size = all.readUInt32LE(0) + 4
      if (all.length < size) {
        want = size
        break
      }
      take(all.readUInt8(4), all.readUInt32LE(5), all.subarray(HEADER_BYTES, size))
      all = all.subarray(size)
    }
    parts = all.length === 0 ? [] : [all]
    have = all.length
  }
}
