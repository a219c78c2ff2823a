// members: who was let into the mesh, where that is known: on the machine that made it.

import * as E from 'fp-ts/lib/Either.js'
import { isAuthorityHere } from '../identity/issue.ts'
import { listMembers } from '../identity/names.ts'
import { readRevoked } from '../identity/revocations.ts'
import { readState, stateDirectory } from '../identity/state.ts'
import { describeScopes } from './grant.ts'
import { type Io, Sink } from './io.ts'
import { EXIT } from './outcome.ts'
import { json, table } from './table.ts'

interface Listed {
  readonly host_name: string
  readonly role?: string
  readonly state: string
  readonly where?: string
  /** A client's. */
  readonly scopes?: readonly string[]
  /** A worker's, by its certificate. */
  readonly labels?: Readonly<Record<string, string>>
  readonly since_ms: number
  readonly node_id: string
}

export const members = async (
  io: Io,
  options: { readonly state?: string; readonly json?: boolean },
): Promise<number> => {
  const state = readState(stateDirectory(options.state, io.env))
  if (E.isLeft(state)) return await fail(io, state.left.reason)
  if (!isAuthorityHere(state.right))
    return await fail(
      io,
      'the members are known where the mesh was made; see also: manyhands nodes',
    )
  const { directory, trust } = state.right
  const revoked = readRevoked(directory, trust)
  if (E.isLeft(revoked)) return await fail(io, revoked.left.reason)
  const listed: Listed[] = [
    ...listMembers(directory).map((member) => ({
      host_name: member.hostName,
      role: member.role,
      state: 'member',
      where: member.holder === undefined ? 'elsewhere' : 'here',
      since_ms: member.issuedMs,
      node_id: member.nodeId,
      ...(member.role === 'client' && { scopes: member.scopes ?? [] }),
      ...(member.labels && { labels: member.labels }),
    })),
    ...revoked.right.revoked.map(({ node_id, host_name, at_ms: since_ms }) => ({
      ...{ host_name, node_id, since_ms, state: 'revoked' },
    })),
  ]
  const rows = listed.map((member) => {
    const { host_name, role, state, where, since_ms, node_id } = member
    const since = new Date(since_ms).toISOString().slice(0, 16).replace('T', ' ')
    return [host_name, role, state, where, since, node_id, mayOf(member)]
  })
  const text =
    options.json === true
      ? json(listed)
      : table(['NAME', 'ROLE', 'STATE', 'WHERE', 'SINCE (UTC)', 'ID', 'GIVEN'], rows)
  await new Sink(io.stdout).line(text)
  return EXIT.ok
}

const mayOf = ({ scopes, labels = {} }: Listed): string =>
  scopes === undefined
    ? Object.entries(labels)
        .map(([name, value]) => `issuer/${name}=${value}`)
        .join(', ')
    : describeScopes(scopes)

const fail = async (io: Io, reason: string): Promise<number> => {
  await new Sink(io.stderr).line(`manyhands: ${reason}`)
  return EXIT.failed
}
