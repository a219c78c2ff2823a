// Table: the exchanges written out for readers, from the same rows that decode them.
//
// The text stands between markers in the README of this folder; a test compares.

import type * as t from 'io-ts'
import { denialOf } from './access.ts'
import { type Exchange, WAYS, type Way } from './exchange.ts'
import { ErrorAnswer, ErrorCode, exchanges, kinds, rowOf } from './exchanges/index.ts'
import { OutputData, RefusalReason } from './exchanges/tasks.ts'
import { placeOf } from './limits.ts'
import { fieldsOf } from './predicate.ts'
import { NodeType } from './scalars.ts'
import * as task from './task.ts'

export const BEGIN =
  '<!-- the exchanges, from the table in code: npm run docs:protocol -->'
export const END = '<!-- end of the exchanges -->'

/** The README with its generated part written anew. Throws if the markers are not there. */
export const withTable = (readme: string): string => {
  const [before, rest] = readme.split(BEGIN)
  const after = rest?.split(END)[1]
  if (before === undefined || after === undefined)
    throw new Error(`Expected the markers \`${BEGIN}\` and \`${END}\``)
  return `${before}${BEGIN}\n\n${table()}\n\n${END}${after}`
}

const table = (): string => {
  const rows: [string, Exchange][] = Object.entries(exchanges)
  return [
    accessTable(),
    ...rows.map(([kind, row]) => exchangeText(kind, row)),
    `### Error\n\nAlways allowed as an answer: ${show(ErrorAnswer)}`,
    '## Shapes',
    ...[...shapes].map(([codec, name]) => `**${name}**: ${describe(codec)}`),
  ].join('\n\n')
}

/** Who may ask what, a row for each kind. */
const accessTable = (): string => {
  const rows = kinds.map((kind) => {
    const { direction, scope, isHere } = rowOf(kind)
    const ways: readonly Way[] = WAYS[direction]
    const asked = ways.map(([from, to]) => `${from} to ${to}`).join(', ')
    // Nobody asks a client, so this is what strangers get.
    const denial = denialOf(kind, { role: 'hub' }, { role: 'client', hostName: '' })
    const wrong = denial?.kind === 'Error' ? 'Error{wrong-role}' : denial?.kind
    const here = isHere === true ? ', for that host' : ''
    return `| ${kind} | ${asked} | ${scope ?? ''}${here} | ${wrong ?? ''} |`
  })
  return [
    '| request | asked by, of | scope of a client | anybody else gets |',
    '| --- | --- | --- | --- |',
    ...rows,
  ].join('\n')
}

const exchangeText = (kind: string, row: Exchange): string => {
  const place = placeOf(kind as keyof typeof exchanges)
  const places = place === 'ordinary' ? '' : ` Places: ${place}.`
  const data = row.data === undefined ? '' : ` Data: in the ${row.data}.`
  const scope = row.scope === undefined ? '' : ` Scope of clients: \`${row.scope}\`.`
  const feature =
    row.feature === undefined ? '' : ` To peers that list the feature \`${row.feature}\`.`
  const answers = Object.entries(row.answers).map(
    ([name, codec]) => `- answer \`${name}\` ${show(codec)}`,
  )
  return [
    `### ${kind}\n\n${row.direction}. ${row.about}${scope}${feature}${places}${data}\n`,
    `- request ${show(row.request)}`,
    ...answers,
  ].join('\n')
}

/** Codecs that are written out once and then named. */
export const shapes: ReadonlyMap<t.Mixed, string> = new Map<t.Mixed, string>([
  ...Object.entries(task).flatMap(([name, value]) =>
    typeof value === 'object' && 'decode' in value ? [[value, name] as const] : [],
  ),
  [OutputData, 'OutputData'],
  [RefusalReason, 'RefusalReason'],
  [NodeType, 'NodeType'],
  [ErrorCode, 'ErrorCode'],
])

const show = (codec: t.Mixed): string => {
  const name = shapes.get(codec)
  return name ?? describe(codec)
}

/** What a codec takes, in the words of the README. */
const describe = (codec: t.Mixed): string => {
  if ('words' in codec) return oneOf((codec.words as string[]).map(quoted))
  if ('known' in codec) {
    const { known, otherwise } = codec as t.Mixed & { known: t.Mixed; otherwise?: string }
    const read =
      otherwise === undefined ? '' : `; any other is read as ${quoted(otherwise)}`
    return describe(known) + read
  }
  // Read by tag only, as io-ts itself does for unions.
  const type = codec as unknown as {
    readonly _tag?: string
    readonly type: t.Mixed
    readonly types: t.Mixed[]
    readonly codomain: t.Mixed
    readonly value: unknown
  }
  switch (type._tag) {
    case 'ExactType':
      return `{ ${fieldsOf(codec).map(field).join(', ')} }`.replace('{  }', '{}')
    case 'UnionType':
      return oneOf(type.types.map(show))
    case 'TupleType':
      return `[${type.types.map(show).join(', ')}]`
    case 'DictionaryType':
      return `map of ${show(type.codomain)}`
    case 'LiteralType':
      return quoted(type.value)
    case 'RefinementType':
      return describeRefined(codec, type.type)
    case 'ArrayType':
      return `list of ${show(type.type)}`
    default:
      return codec.name
  }
}

const describeRefined = (codec: t.Mixed, inner: t.Mixed): string => {
  if (codec.name === 'Int') return 'Int'
  const max = /^List\(.*, (\d+)\)$/.exec(codec.name)?.[1]
  return max === undefined ? describe(inner) : `${describe(inner)}, at most ${max}`
}

const field = ({ name, codec, need }: { name: string; codec: t.Mixed; need: 0 | 1 }) =>
  `\`${name}\`${need === 1 ? '' : '?'}: ${parenthesised(show(codec))}`

/** Commas of a list's limit would be read as the end of a field. */
const parenthesised = (text: string): string =>
  text.startsWith('list of') && text.includes(', at most') ? `(${text})` : text

const oneOf = (texts: readonly string[]): string => texts.join(' or ')
const quoted = (value: unknown): string => `\`${JSON.stringify(value)}\``
