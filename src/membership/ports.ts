// What a node's membership needs of its mesh: a part of NodeMesh, so that tests hand in a
// plain object.

import type { NodeId } from '../../protocol/index.ts'
import type { Ask, Peer } from '../ports.ts'

/** Understands the exchanges of membership. */
export const MEMBERSHIP = 'membership'
/** Has the authority's key: certifies and renews. */
export const ISSUER = 'issuer'

export interface MembershipMesh {
  readonly ask: Ask
  readonly peers: readonly Peer[]
  /** The node showed that it is a member until then. */
  extend(nodeId: NodeId, notAfterMs: number): void
  /** Ends the connections of whoever was taken out of the mesh. */
  expel(isRevoked: (nodeId: string) => boolean): void
}

export const lists = ({ introduction }: Peer, feature: string): boolean =>
  introduction.features.includes(feature)
