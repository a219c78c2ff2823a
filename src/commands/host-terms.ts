// Host terms: which nodes are meant by `host=arm* label.gpu=yes`: terms separated by commas
// or blanks, each a name and a pattern (`*` any letters, `?` one); all have to match.

import type { NodeInfo } from '../../protocol/index.ts'
import { matchesGlob } from '../../protocol/scopes.ts'
import { UsageError } from './io.ts'

export type HostTerm = (node: NodeInfo) => boolean

const EXPECTED =
  'expected terms as host=arm*, role=worker or label.gpu=yes, separated by commas or blanks'

/** Throws a UsageError for a term that is none. */
export const parseHostTerms = (text: string): HostTerm => {
  const terms = text.split(/[\s,]+/).filter((term) => term !== '')
  if (terms.length === 0) throw new UsageError(`${EXPECTED}, got none`)
  const all = terms.map(parseTerm)
  return (node) => all.every((matches) => matches(node))
}

const parseTerm = (term: string): HostTerm => {
  const [, name, glob] = /^([^=]+)=(.*)$/.exec(term) ?? [undefined, 'host', term]
  if (glob === undefined || glob === '' || name === undefined)
    throw new UsageError(`${EXPECTED}, got ${term}`)
  if (name === 'host') return ({ host_name }) => matchesGlob(glob, host_name)
  if (name === 'role') return ({ role }) => matchesGlob(glob, role)
  const label = /^label\.(.+)$/.exec(name)?.[1]
  if (label === undefined) throw new UsageError(`${EXPECTED}, got ${term}`)
  return ({ labels }) => {
    const value = labels?.[label]
    return value !== undefined && matchesGlob(glob, value)
  }
}
