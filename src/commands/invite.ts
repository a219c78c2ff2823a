// invite: opens an invitation and waits until it is used. What is typed on the other
// machine goes to stdout, alone; the rest is for the person who reads along.

import { networkInterfaces } from 'node:os'
import * as E from 'fp-ts/lib/Either.js'
import type { HostName } from '../../protocol/index.ts'
import { type JoinDesk, openDesk } from '../identity/join-desk.ts'
import { baseNameOf } from '../identity/names.ts'
import { listAddresses, openState, stateDirectory } from '../identity/state.ts'
import { makeInvitation, writeToken } from '../identity/token.ts'
import { type GrantOptions, grantOf } from './grant.ts'
import { type Io, Sink } from './io.ts'
import { EXIT } from './outcome.ts'
import { formatDuration } from './values.ts'

export interface InviteOptions extends GrantOptions {
  readonly state?: string
  readonly name?: HostName
  readonly ttlMs: number
  readonly uses: number
  readonly listen: string
  readonly mdns: boolean
  readonly json?: boolean
}

export const invite = async (io: Io, options: InviteOptions): Promise<number> => {
  const stderr = new Sink(io.stderr)
  const grant = grantOf(options)
  const directory = stateDirectory(options.state, io.env)
  const state = await openState(directory, baseNameOf(io.env, 'node'))
  if (E.isLeft(state)) return await fail(stderr, state.left.reason)
  const { meshId } = state.right
  const { role, uses, listen } = options
  const invitation = makeInvitation(role, meshId)
  const waiting = new Waiting(uses)
  const desk = await openDesk({
    state: state.right,
    address: listen,
    invitation,
    grant,
    hostName: options.name,
    uses,
    expiresMs: Date.now() + options.ttlMs,
    peersFor: (address) => managersFor(directory, address),
    onJoined: (party) => {
      void stderr.line(`manyhands: ${party.hostName} joined as ${party.role}`)
      waiting.used()
    },
    onRefused: (from, refusal, why) =>
      void stderr.line(
        `manyhands: refused ${from}: ${refusal}${why === undefined ? '' : ` (${why})`}`,
      ),
  })
  if (E.isLeft(desk)) return await fail(stderr, desk.left.reason)
  const undo = io.onInterrupt(() => waiting.end('withdrawn'))
  const timer = setTimeout(() => waiting.end('expired'), options.ttlMs)
  const mdns = options.mdns
    ? await (await import('../client/invites.ts')).announceInvite({
        meshId,
        role,
        port: desk.right.port,
      })
    : undefined
  try {
    await tell(io, options, {
      token: writeToken(invitation),
      directory,
      desk: desk.right,
    })
    return await conclude(stderr, await waiting.ended)
  } finally {
    clearTimeout(timer)
    undo()
    await mdns?.close()
    await desk.right.close()
  }
}

type End = 'used' | 'expired' | 'withdrawn'

/** Until all uses are taken, time is over, or it is withdrawn. */
class Waiting {
  #left: number
  #end: (how: End) => void = () => undefined
  readonly ended: Promise<End>

  constructor(uses: number) {
    this.#left = uses
    this.ended = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  used(): void {
    this.#left -= 1
    if (this.#left === 0) this.end('used')
  }

  end(how: End): void {
    this.#end(how)
  }
}

const conclude = async (stderr: Sink, how: End): Promise<number> => {
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
  readonly directory: string
  readonly desk: JoinDesk
}

const tell = async (
  io: Io,
  { role, name, ttlMs, uses, listen, json }: InviteOptions,
  { token, directory, desk }: Opened,
): Promise<void> => {
  const [stdout, stderr] = [new Sink(io.stdout), new Sink(io.stderr)]
  const at = reachable(listen).map((host) => `${host}:${desk.port}`)
  if (json === true) {
    const expires_ms = Date.now() + ttlMs
    await stdout.line(JSON.stringify({ token, role, at, expires_ms, uses }))
    return
  }
  const [first] = at
  await stdout.line(`manyhands join ${token}${first ? ` --at ${first}` : ''}`)
  const who = `${uses === 1 ? 'one' : uses} ${role}${name ? ` with the name ${name}` : ''}`
  const more = at.length > 1 ? ` (or --at ${at.slice(1).join(', ')})` : ''
  await stderr.line(
    `manyhands: type this on the other machine${more}; it is for ${who}, for ${formatDuration(ttlMs)}, while this waits; Ctrl-C withdraws it`,
  )
  const managers = listAddresses(directory).filter((node) => node.role === 'manager')
  if (managers.length === 0)
    await stderr.line(
      'manyhands: no manager runs here; start one that others can reach with: manyhands --role manager --listen 0.0.0.0',
    )
  else if (managers.every(({ listen: address = '' }) => address.startsWith('127.')))
    await stderr.line(
      'manyhands: the manager here listens on loopback alone: others can join but not reach it; start it again with: manyhands --role manager --listen 0.0.0.0',
    )
}

const isWildcard = (address: string): boolean => ['0.0.0.0', '::'].includes(address)

/** Addresses at which somebody else can come. */
const reachable = (listen: string): readonly string[] => {
  if (!isWildcard(listen)) return [listen]
  return Object.values(networkInterfaces()).flatMap((addresses = []) =>
    addresses
      .filter(({ internal, family }) => !internal && family === 'IPv4')
      .map(({ address }) => address),
  )
}

/** The managers here, at an address that whoever came to `address` can reach. */
const managersFor = (directory: string, address: string): readonly string[] => {
  const here = address.replace(/^::ffff:/, '')
  return listAddresses(directory).flatMap(({ role, url, listen = '' }) => {
    if (role !== 'manager') return []
    const isLoopback = listen.startsWith('127.')
    if (isLoopback && !here.startsWith('127.')) return []
    if (!isWildcard(listen)) return [url]
    return [url.replace('127.0.0.1', here.includes(':') ? `[${here}]` : here)]
  })
}
