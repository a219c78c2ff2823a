// Members: everybody who was let into the mesh, and who was taken out of it since, as it is
// known where the authority's key is.

import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import type { MemberInfo } from '../../protocol/exchanges/membership.ts'
import { listMembers, type Member } from './names.ts'
import { readRevoked } from './revocations.ts'
import type { MeshState, StateFailure } from './state.ts'

/** Those who belong to it first, by name. */
export const membersOf = ({
  directory,
  trust,
}: MeshState): Either<StateFailure, readonly MemberInfo[]> => {
  const out = readRevoked(directory, trust)
  if (E.isLeft(out)) return out
  return E.right([
    ...listMembers(directory).map(infoOf),
    ...out.right.revoked.map(({ node_id, host_name, at_ms: since_ms }) => ({
      ...{ host_name, node_id, since_ms, state: 'revoked' as const },
    })),
  ])
}

const infoOf = (member: Member): MemberInfo => ({
  host_name: member.hostName,
  role: member.role,
  state: 'member',
  where: member.holder === undefined ? 'elsewhere' : 'here',
  since_ms: member.issuedMs,
  node_id: member.nodeId,
  ...(member.role === 'client' && { scopes: [...(member.scopes ?? [])] }),
  ...(member.labels && { labels: member.labels }),
})
