// join: makes this machine a member of the mesh that an invitation is from. All that can
// be wrong here is found before the invitation is used.

import { hostname } from 'node:os'
import * as E from 'fp-ts/lib/Either.js'
import type { HostName } from '../../protocol/index.ts'
import { type JoinFailure, joinMesh, type Membership } from '../identity/join.ts'
import { baseNameOf } from '../identity/names.ts'
import {
  obstacleTo,
  placeMembership,
  type Standing,
  standingOf,
} from '../identity/place-membership.ts'
import { stateDirectory } from '../identity/state.ts'
import { type Invitation, readToken } from '../identity/token.ts'
import { describeScopes } from './grant.ts'
import { type Io, Sink, UsageError } from './io.ts'
import { EXIT } from './outcome.ts'
import { recordCommand } from './record-command.ts'

export interface JoinVerbOptions {
  readonly state?: string
  readonly at?: string
  readonly name?: HostName
  readonly force?: boolean
}

/** How long an invitation is listened for. */
const FIND_MS = 8000

export const join = async (
  io: Io,
  token: string,
  options: JoinVerbOptions,
): Promise<number> => {
  const invitation = readToken(token)
  if (invitation === undefined)
    throw new UsageError(
      'this is no invitation: letters are missing or misspelt; copy it whole from where manyhands invite printed it',
    )
  const directory = stateDirectory(options.state, io.env)
  const { meshId } = invitation
  const standing = standingOf(directory, meshId, options.force === true)
  if (standing.kind === 'refused') return await fail(io, standing)
  const name = options.name ?? nameFor(io, invitation)
  const obstacle = obstacleTo(directory, invitation.role, name)
  if (obstacle !== undefined) return await fail(io, obstacle)
  const place = await placeOf(options.at, invitation)
  if ('reason' in place) return await fail(io, place)
  const isFixed = options.name !== undefined
  const joined = await joinMesh({ invitation, ...place, name, isFixed })
  if (E.isLeft(joined)) return await fail(io, joined.left)
  return await settle(io, directory, joined.right, { standing, meshId })
}

const settle = async (
  io: Io,
  directory: string,
  membership: Membership,
  { standing, meshId }: { readonly standing: Standing; readonly meshId: string },
): Promise<number> => {
  const { warning, hostName, role, peers, scopes } = membership
  const stderr = new Sink(io.stderr)
  if (warning !== undefined) await stderr.line(`manyhands: ${warning}`)
  const placed = placeMembership(directory, membership, standing)
  if (E.isLeft(placed)) return await fail(io, placed.left)
  if (placed.right !== undefined)
    await stderr.line(
      `manyhands: the unused mesh that was here is now in ${placed.right}`,
    )
  await recordCommand(io, directory, 'joined-mesh', {
    mesh: meshId,
    ...{ peer: hostName, role, scopes },
    ...(placed.right !== undefined && { replaced: placed.right }),
  })
  const next =
    role === 'client'
      ? 'manyhands nodes'
      : `manyhands --role ${role}${stateFlag(io, directory)}`
  await new Sink(io.stdout).line(`joined as ${role} ${hostName}; now: ${next}`)
  await stderr.line(`manyhands: the command line here may do: ${describeScopes(scopes)}`)
  if (peers.length === 0 && role !== 'manager')
    await stderr.line(
      'manyhands: no manager was reachable where the invitation came from; it is looked for by mDNS, or give it with --join HOST:PORT',
    )
  return EXIT.ok
}

const stateFlag = (io: Io, directory: string): string =>
  directory === stateDirectory(undefined, io.env) ? '' : ` --state ${directory}`

const fail = async (io: Io, { reason }: JoinFailure): Promise<number> => {
  await new Sink(io.stderr).line(`manyhands: ${reason}`)
  return EXIT.failed
}

/** As a node names itself at its start. */
const nameFor = (io: Io, { role }: Invitation): HostName => {
  const base = baseNameOf(io.env, hostname())
  return role === 'worker' ? base : `${base}-${role}`
}

type Place = { readonly host: string; readonly port: number }

const placeOf = async (
  at: string | undefined,
  { meshId, role }: Invitation,
): Promise<Place | JoinFailure> => {
  if (at !== undefined) return parsePlace(at)
  const { findInvite } = await import('../client/invites.ts')
  return (
    (await findInvite({ meshId, role, limitMs: FIND_MS })) ?? {
      reason: `no open invitation of this mesh was heard of on the network in ${FIND_MS / 1000} s; is manyhands invite still running? give its address with --at HOST:PORT`,
    }
  )
}

const parsePlace = (at: string): Place => {
  const [, host = '', port = ''] = /^\[?([0-9A-Za-z.:_-]+?)\]?:(\d{1,5})$/.exec(at) ?? []
  if (host === '' || Number(port) > 65_535 || Number(port) === 0)
    throw new UsageError(`--at: expected HOST:PORT, got \`${at}\``)
  return { host, port: Number(port) }
}
