// members: who was let into the mesh, as the machine that made it knows; from elsewhere it
// is asked of the node there.

import * as E from 'fp-ts/lib/Either.js'
import type { MemberInfo } from '../../protocol/index.ts'
import { isAuthorityHere } from '../identity/issue.ts'
import { membersOf } from '../identity/members.ts'
import { readState, stateDirectory } from '../identity/state.ts'
import { describeScopes } from './grant.ts'
import { type Io, type MeshOptions, Sink, withClient } from './io.ts'
import { EXIT } from './outcome.ts'
import { json, table } from './table.ts'

type MembersOptions = MeshOptions & { readonly json?: boolean }

export const members = async (io: Io, options: MembersOptions): Promise<number> => {
  const state = readState(stateDirectory(options.state, io.env))
  if (E.isLeft(state)) return await fail(io, state.left.reason)
  if (!isAuthorityHere(state.right))
    return await withClient(io, options, async (client) => {
      const issuer = await client.issuer()
      return await show(io, await issuer.members(), options)
    })
  const known = membersOf(state.right)
  return E.isLeft(known)
    ? await fail(io, known.left.reason)
    : await show(io, known.right, options)
}

const show = async (
  io: Io,
  listed: readonly MemberInfo[],
  options: MembersOptions,
): Promise<number> => {
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

const mayOf = ({ scopes, labels = {} }: MemberInfo): string =>
  scopes === undefined
    ? Object.entries(labels)
        .map(([name, value]) => `issuer/${name}=${value}`)
        .join(', ')
    : describeScopes(scopes)

const fail = async (io: Io, reason: string): Promise<number> => {
  await new Sink(io.stderr).line(`manyhands: ${reason}`)
  return EXIT.failed
}
