// Access: who may ask what. One table, from the rows of the exchanges: the sender's role,
// the receiver's role and the kind decide, and for a client the scope that the row takes.
//
// It is looked up per request in a map that is made once per connection; what is not in it
// may be asked.

import { WAYS, type Way } from './exchange.ts'
import { type Kind, kinds, type Respond, rowOf } from './exchanges/index.ts'
import type { HostName, NodeType } from './scalars.ts'
import { holdsAt, type Rights, type ScopeName } from './scopes.ts'

/** Who asks, as its certificate says. */
export interface Asker {
  readonly role: NodeType
  /** Of a client. */
  readonly rights?: Rights | undefined
}

/** Who is asked. */
export interface Asked {
  readonly role: NodeType
  readonly hostName: HostName
}

/** What a request is answered that its sender may not make. */
export interface Denial {
  readonly kind: 'Error' | 'NotMine' | 'Ack' | 'ManagerAnswer'
  readonly body: object
}

/** The kinds that a peer may not ask of a node of the role `to`, with their answers. */
export type Denials = ReadonlyMap<Kind, Denial>

/** For one peer; to be kept with its connection. */
export const denialsFor = (asker: Asker, to: Asked): Denials => {
  const byRole = denialsByRole(asker.role, to.role)
  if (asker.role !== 'client') return byRole
  const forbidden = scoped.flatMap((kind) => {
    const denial = byRole.has(kind) ? undefined : denialOf(kind, asker, to)
    return denial === undefined ? [] : [[kind, denial] as const]
  })
  return forbidden.length === 0 ? byRole : new Map([...byRole, ...forbidden])
}

/** What no one of a role may ask one of the other, whatever the scopes: made once for each two. */
const denialsByRole = (from: NodeType, to: NodeType): Denials => {
  const known = byRoles.get(`${from} ${to}`)
  if (known !== undefined) return known
  const wrong = kinds.filter((kind) => !isWay(kind, from, to))
  const made = new Map(wrong.map((kind) => [kind, misdirected(kind, from, to)]))
  byRoles.set(`${from} ${to}`, made)
  return made
}

const byRoles = new Map<string, Denials>()
/** The kinds that take a scope. */
const scoped = kinds.filter((kind) => rowOf(kind).scope !== undefined)

/** Why this asker does not ask that node for this kind; undefined: it may. */
export const denialOf = (
  kind: Kind,
  { role, rights }: Asker,
  to: Asked,
): Denial | undefined => {
  const { scope, isHere } = rowOf(kind)
  if (!isWay(kind, role, to.role)) return misdirected(kind, role, to.role)
  if (role !== 'client' || scope === undefined) return undefined
  const where = rights?.get(scope)
  if (where === undefined) return forbidden(lacks(scope, rights))
  if (isHere !== true || holdsAt(where, to.hostName)) return undefined
  return forbidden(
    `the certificate of this client gives the scope ${scope} on ${[...where].join(', ')}, which ${to.hostName} is not`,
  )
}

/** Is it a way of its row, from the one role to the other? */
const isWay = (kind: Kind, from: NodeType, to: NodeType): boolean => {
  const ways: readonly Way[] = WAYS[rowOf(kind).direction]
  const isOf = (way: NodeType | 'any', its: NodeType) => way === 'any' || way === its
  return ways.some(([asker, asked]) => isOf(asker, from) && isOf(asked, to))
}

const forbidden = (message: string): Denial => ({
  kind: 'Error',
  body: { code: 'forbidden', message },
})

/** Says no, if the request may not be made. Did it? */
export const isDenied = <K extends Kind>(
  denials: Denials,
  kind: K,
  respond: Respond<K>,
): boolean => {
  const denial = denials.get(kind)
  if (denial === undefined)
    return false
    // Every denial is an answer of its row; the compiler cannot carry that over to K.
  ;(respond as (kind: string, body: object) => void)(denial.kind, denial.body)
  return true
}

/**
 * The answer to the wrong role or by it. As the source protocol has it: whoever is no
 * manager does not accept, and what belongs to a relationship is NotMine to strangers, but
 * for the goodbye.
 */
const misdirected = (kind: Kind, from: NodeType, to: NodeType): Denial => {
  const { answers } = rowOf(kind)
  const message = `${kind} is nothing that a ${from} asks a ${to}`
  if ('ManagerAnswer' in answers)
    return { kind: 'ManagerAnswer', body: { accepted: false, reason: message } }
  if (kind === 'ManagerBye') return { kind: 'Ack', body: {} }
  if ('NotMine' in answers) return { kind: 'NotMine', body: {} }
  return { kind: 'Error', body: { code: 'wrong-role', message } }
}

/** What a client is told that lacks a scope, wherever that is found out. */
export const lacks = (scope: ScopeName, rights: Rights | undefined): string => {
  const given = [...(rights?.keys() ?? [])].join(', ') || 'none'
  return `this takes the scope ${scope}, and the certificate of this client gives ${given}; whoever made the mesh can give another one: manyhands invite --role client --scope ${scope} (repeat --scope for each)`
}
