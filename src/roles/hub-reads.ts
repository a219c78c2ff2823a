// Hub reads: what a hub asks a node for itself, unpacked. It never asks for more than reads.

import { decodeAnswer } from '../../protocol/codec.ts'
import {
  type AnswerOf,
  type Kind,
  packed,
  type RequestOf,
  unpacked,
} from '../../protocol/index.ts'
import type { Clock, Mesh, Peer } from '../ports.ts'

export interface HubReadPorts {
  readonly clock: Clock
  readonly mesh: Pick<Mesh, 'ask'>
}

/** A node is given up by its connection when it was silent for so long three times: not sooner. */
const PATIENCE_MS = 10_000

/** Calls `done` once, within the time: with the answer, or undefined where there is none. */
export const readHost = <K extends Kind>(
  { clock, mesh }: HubReadPorts,
  { nodeId }: Peer,
  kind: K,
  body: RequestOf<K>,
  withinMs: number,
  done: (answer: AnswerOf<K> | undefined, bytes: number) => void,
): void => {
  let isDone = false
  const settle = (answer: AnswerOf<K> | undefined, bytes: number): void => {
    if (isDone) return
    isDone = true
    cancel()
    done(answer, bytes)
  }
  const cancel = clock.after(withinMs, () => settle(undefined, 0))
  const ask = { kind, body: packed(body) }
  const patienceMs = Math.max(withinMs, PATIENCE_MS)
  mesh.ask(nodeId, 'HostRequest', ask, patienceMs, (outcome) => {
    if (outcome._tag === 'Left' || outcome.right.kind !== 'HostAnswer') {
      settle(undefined, 0)
      return
    }
    const { kind: answerKind, body: bytes } = outcome.right.body
    const map = unpacked(bytes)
    const answer = map._tag === 'Left' ? map : decodeAnswer(kind, answerKind, map.right)
    settle(answer._tag === 'Right' ? answer.right : undefined, bytes.byteLength)
  })
}

/** Does it answer what a hub hands on? */
export const takesHostRequests = ({ introduction }: Peer): boolean =>
  introduction.features.includes('host-requests')
