// An open invitation: a token, and the desk where its bearer becomes a member. It ends when
// it was used, when its time is over, or when whoever opened it closes it.

import { networkInterfaces } from 'node:os'
import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import type { NodeType } from '../../protocol/scalars.ts'
import { type DeskOptions, type JoinDesk, openDesk } from './join-desk.ts'
import { listAddresses, type NodeAddress } from './state.ts'
import { makeInvitation, writeToken } from './token.ts'

export interface InvitationOptions
  extends Omit<DeskOptions, 'address' | 'invitation' | 'expiresMs' | 'peersFor'> {
  readonly role: NodeType
  /** The address at which it waits. */
  readonly listen: string
  readonly ttlMs: number
  /** Addresses of managers that are not of this state directory. */
  readonly otherManagers?: readonly string[]
}

export interface OpenInvitation {
  readonly token: string
  readonly port: number
  /** HOST:PORT, where others can come. */
  readonly at: readonly string[]
  readonly expiresMs: number
  /** Resolves with how it ended; it is closed then. */
  readonly ended: Promise<InvitationEnd>
  /** Ends it. Calling it twice does nothing. */
  withdraw(): Promise<void>
}

export type InvitationEnd = 'used' | 'expired' | 'withdrawn'

/** The longest that a timer takes is longer than anybody should be expected. */
const LONGEST_MS = 7 * 86_400_000

export const openInvitation = async (
  options: InvitationOptions,
): Promise<Either<{ readonly reason: string }, OpenInvitation>> => {
  const { state, role, listen, otherManagers = [] } = options
  const ttlMs = Math.min(options.ttlMs, LONGEST_MS)
  const invitation = makeInvitation(role, state.meshId)
  const expiresMs = Date.now() + ttlMs
  const waiting = new Waiting(options.uses)
  const desk = await openDesk({
    ...options,
    address: listen,
    invitation,
    expiresMs,
    peersFor: (address) => [...managersFor(state.directory, address), ...otherManagers],
    onJoined: (party) => {
      options.onJoined(party)
      waiting.used()
    },
  })
  if (E.isLeft(desk)) return desk
  const { port } = desk.right
  return E.right({
    token: writeToken(invitation),
    port,
    at: reachable(listen).map((host) => `${host}:${port}`),
    expiresMs,
    ended: waiting.until(ttlMs, desk.right),
    withdraw: () => waiting.withdraw(desk.right),
  })
}

/** Until all uses are taken, time is over, or it is withdrawn. */
class Waiting {
  #left: number
  #end: (how: InvitationEnd) => void = () => undefined
  readonly #ended: Promise<InvitationEnd>

  constructor(uses: number) {
    this.#left = uses
    this.#ended = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  used(): void {
    this.#left -= 1
    if (this.#left === 0) this.#end('used')
  }

  async until(ttlMs: number, desk: JoinDesk): Promise<InvitationEnd> {
    const timer = setTimeout(() => this.#end('expired'), ttlMs)
    const how = await this.#ended
    clearTimeout(timer)
    await desk.close()
    return how
  }

  async withdraw(desk: JoinDesk): Promise<void> {
    this.#end('withdrawn')
    await desk.close()
  }
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
  return managersIn(directory).flatMap(({ url, listen = '' }) => {
    const isLoopback = listen.startsWith('127.')
    if (isLoopback && !here.startsWith('127.')) return []
    if (!isWildcard(listen)) return [url]
    return [url.replace('127.0.0.1', here.includes(':') ? `[${here}]` : here)]
  })
}

/** The managers of a state directory that run now. */
export const managersIn = (directory: string): readonly NodeAddress[] =>
  listAddresses(directory).filter(({ role }) => role === 'manager')
