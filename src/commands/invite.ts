// invite: opens an invitation and waits until it is used; on a machine that joined its mesh
// it is opened at the node with the authority's key instead, and stays open there. What is
// typed on the other machine goes to stdout, alone; the rest is for the person who reads
// along.

import * as E from 'fp-ts/lib/Either.js'
import type { HostName } from '../../protocol/index.ts'
import { isAuthorityHere } from '../identity/issue.ts'
import { managersIn, openInvitation } from '../identity/open-invitation.ts'
import { type MeshState, stateDirectory } from '../identity/state.ts'
import { type GrantOptions, grantOf } from './grant.ts'
import { type Io, type MeshOptions, Sink, UsageError, withClient } from './io.ts'
import { EXIT } from './outcome.ts'
import { openRecorded, type Recorded, recordCommand } from './record-command.ts'
import { formatDuration } from './values.ts'

export interface InviteOptions extends GrantOptions, MeshOptions {
  readonly name?: HostName
  readonly ttlMs: number
  readonly uses: number
  /** Default: every address of this machine. */
  readonly listen?: string
  readonly mdns: boolean
  readonly json?: boolean
}

type Granted = ReturnType<typeof grantOf>

export const invite = async (io: Io, options: InviteOptions): Promise<number> => {
  const grant = grantOf(options)
  const directory = stateDirectory(options.state, io.env)
  const state = await openRecorded(io, directory)
  if (E.isLeft(state)) return await fail(new Sink(io.stderr), state.left.reason)
  return isAuthorityHere(state.right)
    ? await inviteHere(io, options, grant, state.right)
    : await inviteAfar(io, options, grant)
}

const inviteHere = async (
  io: Io,
  options: InviteOptions,
  grant: Granted,
  state: MeshState,
): Promise<number> => {
  const stderr = new Sink(io.stderr)
  const { role, uses, listen = '0.0.0.0', ttlMs } = options
  let recorded: Promise<void> = Promise.resolve()
  const record = (event: string, fields: Recorded): void => {
    recorded = recorded.then(() => recordCommand(io, state.directory, event, fields))
  }
  const opened = await openInvitation({
    ...{ state, role, grant, listen, uses, ttlMs },
    hostName: options.name,
    onJoined: ({ hostName: peer, role: its, nodeId: node_id }) => {
      record('joined', { peer, role: its, node_id })
      void stderr.line(`manyhands: ${peer} joined as ${its}`)
    },
    onRefused: (from, reason, why) => {
      record('refused', { from, reason, why })
      void stderr.line(
        `manyhands: refused ${from}: ${reason}${why === undefined ? '' : ` (${why})`}`,
      )
    },
  })
  if (E.isLeft(opened)) return await fail(stderr, opened.left.reason)
  const { meshId, directory } = state
  const { scopes } = grant
  record('invited', { role, name: options.name, uses, scopes })
  const { token, at, port, expiresMs, ended, withdraw } = opened.right
  const undo = io.onInterrupt(() => void withdraw())
  const mdns = options.mdns
    ? await (await import('../client/invites.ts')).announceInvite({ meshId, role, port })
    : undefined
  try {
    const close = 'while this waits; Ctrl-C withdraws it'
    await tell(io, options, { token, at, expires_ms: expiresMs }, close)
    if (options.json !== true) await tellOfManagers(stderr, directory)
    const how = await ended
    await recorded
    return await conclude(stderr, how)
  } finally {
    undo()
    await mdns?.close()
  }
}

/** The certificate of this command line says whether it may. */
const inviteAfar = (io: Io, options: InviteOptions, grant: Granted): Promise<number> =>
  withClient(io, options, async (client) => {
    if (options.listen !== undefined)
      throw new UsageError(
        '--listen: the invitation waits where the mesh was made, at the address of the node there',
      )
    const { role, uses, ttlMs: ttl_ms, name } = options
    const issuer = await client.issuer()
    const { scopes, labels } = grant
    const invited = await issuer.invite({
      ...{ role, uses, ttl_ms },
      ...(scopes && { scopes: [...scopes] }),
      ...(labels && { labels }),
      ...(name !== undefined && { name }),
    })
    const where = `at ${issuer.hostName}, until it is used or that node ends`
    await tell(io, options, invited, where)
    const isNear = invited.at.every((address) => address.startsWith('127.'))
    if (isNear && options.json !== true)
      await new Sink(io.stderr).line(
        `manyhands: ${issuer.hostName} listens on loopback alone: nobody else can come there; start it again with --listen 0.0.0.0`,
      )
    return EXIT.ok
  })

const conclude = async (
  stderr: Sink,
  how: 'used' | 'expired' | 'withdrawn',
): Promise<number> => {
  if (how === 'used') return EXIT.ok
  if (how === 'withdrawn') return EXIT.interrupted
  return await fail(stderr, 'the invitation has expired')
}

const fail = async (stderr: Sink, reason: string): Promise<number> => {
  await stderr.line(`manyhands: ${reason}`)
  return EXIT.failed
}

interface Opened {
  readonly token: string
  readonly at: readonly string[]
  readonly expires_ms: number
}

const tell = async (
  io: Io,
  { role, name, ttlMs, uses, json }: InviteOptions,
  { token, at, expires_ms }: Opened,
  where: string,
): Promise<void> => {
  const [stdout, stderr] = [new Sink(io.stdout), new Sink(io.stderr)]
  if (json === true) {
    await stdout.line(JSON.stringify({ token, role, at, expires_ms, uses }))
    return
  }
  const [first] = at
  await stdout.line(`manyhands join ${token}${first ? ` --at ${first}` : ''}`)
  const who = `${uses === 1 ? 'one' : uses} ${role}${name ? ` with the name ${name}` : ''}`
  const more = at.length > 1 ? ` (or --at ${at.slice(1).join(', ')})` : ''
  await stderr.line(
    `manyhands: type this on the other machine${more}; it is for ${who}, for ${formatDuration(ttlMs)}, ${where}`,
  )
}

const tellOfManagers = async (stderr: Sink, directory: string): Promise<void> => {
  const managers = managersIn(directory)
  if (managers.length === 0)
    await stderr.line(
      'manyhands: no manager runs here; start one that others can reach with: manyhands --role manager --listen 0.0.0.0',
    )
  else if (managers.every(({ listen: address = '' }) => address.startsWith('127.')))
    await stderr.line(
      'manyhands: the manager here listens on loopback alone: others can join but not reach it; start it again with: manyhands --role manager --listen 0.0.0.0',
    )
}
