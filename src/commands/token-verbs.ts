// The verb `token` with its own three: what programs show to the HTTP faces of nodes here.

import type { Command } from 'commander'
import { ScopeName } from '../../protocol/scopes.ts'
import type { Io } from './io.ts'
import { parseDuration, parseScope } from './values.ts'
import { type Done, jsonFlag, parsed, stateFlag, verb } from './verb-parts.ts'

const DAY_MS = 86_400_000

export const addToken = (program: Command, io: Io, done: Done): void => {
  const token = verb(program, 'token', {
    about: 'tokens for programs that use the HTTP faces of nodes here',
    examples: `manyhands token create --scope read --scope processes --ttl 30d --name grafana
manyhands token list
manyhands token revoke 1f2e3d4c5b`,
  })
  stateFlag(
    jsonFlag(
      verb(token, 'create', {
        about: 'make one and print it, once',
        examples: 'TOKEN=$(manyhands token create --scope read --scope processes)',
        notes: `It is good on this machine's nodes, for what its scopes say and the face itself may.`,
      })
        .option(
          '--scope <scope>',
          `what its holder may do: ${ScopeName.words.join(', ')}, each alone or @ a pattern of hosts; repeatable (default: read)`,
          parsed(parseScope),
        )
        .option(
          '--ttl <time>',
          'how long it is good for (default: 90d)',
          parsed(parseDuration),
          90 * DAY_MS,
        )
        .option('--name <name>', 'what it is for, shown in the list'),
    ),
  ).action(async (options) => {
    const { tokenCreate } = await import('./token.ts')
    done(await tokenCreate(io, options))
  })
  stateFlag(
    jsonFlag(
      verb(token, 'list', {
        about: 'list them, without their secrets',
        examples: 'manyhands token list',
      }),
    ),
  ).action(async (options) => {
    const { tokenList } = await import('./token.ts')
    done(await tokenList(io, options))
  })
  stateFlag(
    verb(token, 'revoke', {
      about: 'take tokens back, at once',
      examples: 'manyhands token revoke 1f2e3d4c5b',
    }).argument('<id...>', 'as the list shows them'),
  ).action(async (ids: string[], options) => {
    const { tokenRevoke } = await import('./token.ts')
    done(await tokenRevoke(io, ids, options))
  })
}
