// Users: as whom a host runs programs, and whether it does so for somebody who asks. Its
// owner says it at the start of the node; what he does not name is refused. Pure.

import type { Account } from '../records.ts'

export interface Users {
  /** The name of the user that the node itself runs as; undefined: it has none. */
  readonly own: string | undefined
  /** As whom programs run that name nobody; undefined: as the node itself. */
  readonly byDefault: Account | undefined
  /** Who may be asked for, by name. */
  readonly others: ReadonlyMap<string, Account>
}

/** A host that runs everything as its node. */
export const ITSELF: Users = { own: undefined, byDefault: undefined, others: new Map() }

/** `account` undefined: as the node itself. */
export type Judged =
  | { readonly account: Account | undefined }
  | { readonly fault: string }

export const userFor = (
  { own, byDefault, others }: Users,
  name: string | undefined,
): Judged => {
  if (name === undefined) return { account: byDefault }
  const account = others.get(name) ?? (byDefault?.name === name ? byDefault : undefined)
  if (account !== undefined) return { account }
  // With a default of another name, to be the node's own user is a privilege.
  if (name === own && byDefault === undefined) return { account: undefined }
  return {
    fault: `programs do not run as ${name} here: its owner has not named that user`,
  }
}

/** Of labels that a worker claims: a manager sends it nothing for anybody else. */
export const USER_LABEL = 'user/'
export const userLabel = (name: string): string => `${USER_LABEL}${name}`

export const userLabels = ({ own, byDefault, others }: Users) => {
  const names = new Set(others.keys())
  if (byDefault !== undefined) names.add(byDefault.name)
  else if (own !== undefined) names.add(own)
  return Object.fromEntries([...names].map((name) => [userLabel(name), 'yes']))
}

/** What a program finds of its user in its environment. */
export const environmentOf = ({ name, home }: Account) => ({
  HOME: home,
  USER: name,
  LOGNAME: name,
})
