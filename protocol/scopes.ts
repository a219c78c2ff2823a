// Scopes: what a client may do, as its certificate says it: `read`, `tasks:run@lab-*`.
//
// A scope gives what the rows of the table name it for and nothing else: none holds another.
// With `@glob` it is for the hosts whose name matches: `*` is any run of characters, `?` any
// one of them, everything else itself.

import type * as t from 'io-ts'
import { Pattern, Word } from './scalars.ts'

/** What there is to give. */
export const ScopeName = Word('ScopeName', [
  /** Look at tasks, processes, their output, and nodes. */
  'read',
  /** Submit tasks, feed and cancel them. */
  'tasks:run',
  /** Start, stop and feed processes. */
  'processes',
  'modules',
  /** Let members in and take them out, and so everything; variables that make other code run. */
  'admin',
])
export type ScopeName = t.TypeOf<typeof ScopeName>

/** A pattern of host names. */
export const HostGlob = Pattern('HostGlob', 200, /^[A-Za-z0-9_.*?-]+$/)

/** A scope, perhaps for some hosts alone. */
export const Scope = Pattern(
  'Scope',
  220,
  /^(read|tasks:run|processes|modules|admin)(@[A-Za-z0-9_.*?-]{1,200})?$/,
)
export type Scope = t.TypeOf<typeof Scope>

/** What an invitation gives that says nothing else. */
export const DEFAULT_SCOPES: readonly Scope[] = ['read', 'tasks:run']
/** What the user has who made the mesh. */
export const ALL_SCOPES: readonly Scope[] = ScopeName.words

/** Where a scope holds: everywhere, or on hosts that match one of these. */
export type Where = 'anywhere' | readonly string[]

/** The scopes of a client, by name; one that is not there was not given. */
export type Rights = ReadonlyMap<ScopeName, Where>

/** The rights that scopes give together: what one gives, no other takes away. */
export const rightsOf = (scopes: readonly Scope[]): Rights => {
  const rights = new Map<ScopeName, Where>()
  for (const scope of scopes) {
    const [name = '', glob] = scope.split('@')
    if (!ScopeName.is(name)) continue
    const before = rights.get(name) ?? []
    const isAnywhere = glob === undefined || glob === '*' || before === 'anywhere'
    rights.set(name, isAnywhere ? 'anywhere' : [...before, glob])
  }
  return rights
}

/** Does the host's name match the whole pattern? Takes no longer than their lengths' product. */
export const matchesGlob = (glob: string, hostName: string): boolean => {
  let [at, atName] = [0, 0]
  // The last `*`, and where what it stands for ends so far.
  let [star, starName] = [-1, 0]
  while (atName < hostName.length) {
    if (glob[at] === '*') {
      star = at++
      starName = atName
    } else if (glob[at] === '?' || (at < glob.length && glob[at] === hostName[atName])) {
      at++
      atName++
    } else if (star >= 0) {
      at = star + 1
      atName = ++starName
    } else return false
  }
  while (glob[at] === '*') at++
  return at === glob.length
}

/** Is the host one where the scope holds? */
export const holdsAt = (where: Where, hostName: string): boolean =>
  where === 'anywhere' || where.some((glob) => matchesGlob(glob, hostName))
