// Pairs: two nodes keep one connection. What to do when there is a second one, decided
// from who they are and who opened which. Pure; the mesh acts on it.

import type { BootId, NodeId, NodeType } from '../../protocol/index.ts'

/** Two connections that crossed were opened within this time of each other. */
export const CROSSING_MS = 2000
/** How long an older connection has to show that it lives. */
export const PROBE_MS = 1000

/** One end of a pair. */
export interface NodeLife {
  readonly nodeId: NodeId
  readonly bootId: BootId
}

/** A far end, with the role that it has for all of one life. */
interface PeerLife extends NodeLife {
  readonly role: NodeType
}

/** An introduced connection to `peer`. */
export interface PairedLink {
  readonly peer: PeerLife
  /** Did this node open it? */
  readonly isOurs: boolean
  readonly openedAtMs: number
}

export type Verdict =
  /** There is no other: take it. */
  | 'admit'
  /** Take the new one; the current one is the one too many. */
  | 'replace'
  /** Keep the current one; the new one is the one too many. */
  | 'refuse'
  /** Keep the current one if it answers: then the new one is the one too many. Else replace. */
  | 'probe'
  /** As 'probe', but if the current one answers, somebody copied a state directory. */
  | 'probe-copied'
  /** The same life says that it has another role than before: both connections end. */
  | 'role-changed'
  /** It is this very node. */
  | 'oneself'
  /** It has this node's id and is another life: a copied state directory. */
  | 'copied'

/** What to do with a `newcomer`, given the `current` connection to the same node, if any. */
export const judgePair = (
  self: NodeLife,
  current: PairedLink | undefined,
  newcomer: PairedLink,
): Verdict => {
  const { peer } = newcomer
  if (peer.nodeId === self.nodeId)
    return peer.bootId === self.bootId ? 'oneself' : 'copied'
  if (current === undefined) return 'admit'
  if (peer.bootId !== current.peer.bootId) return 'probe-copied'
  if (peer.role !== current.peer.role) return 'role-changed'
  // Two finders had the address. Who opened both ends the second: the far end, which may
  // have got them in the other order, would hold one back while this end holds the other.
  if (current.isOurs && newcomer.isOurs) return 'refuse'
  const isCrossing =
    current.isOurs !== newcomer.isOurs &&
    Math.abs(newcomer.openedAtMs - current.openedAtMs) < CROSSING_MS
  if (!isCrossing) return 'probe'
  // Both ends come to the same choice: the one that the smaller node id opened stays.
  const smallerOpenedIt = newcomer.isOurs === self.nodeId < peer.nodeId
  return smallerOpenedIt ? 'replace' : 'refuse'
}
