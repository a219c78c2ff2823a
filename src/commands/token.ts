// token: what programs show to the HTTP faces of this machine's nodes.

import * as E from 'fp-ts/lib/Either.js'
import type { Scope } from '../../protocol/scopes.ts'
import { readState, stateDirectory } from '../identity/state.ts'
import { createToken, listTokens, revokeToken } from '../identity/tokens.ts'
import { describeScopes } from './grant.ts'
import { type Io, Sink } from './io.ts'
import { EXIT } from './outcome.ts'
import { recordCommand } from './record-command.ts'
import { json, table } from './table.ts'
import { formatDuration } from './values.ts'

export interface TokenOptions {
  readonly state?: string
  readonly json?: boolean
}

export interface TokenCreateOptions extends TokenOptions {
  readonly scope?: readonly Scope[]
  readonly ttl: number
  readonly name?: string
}

/** Prints the token, and nothing else on stdout: for `TOKEN=$(manyhands token create …)`. */
export const tokenCreate = async (
  io: Io,
  { scope = ['read'], ttl: ttlMs, name, ...options }: TokenCreateOptions,
): Promise<number> => {
  const directory = await directoryOf(io, options)
  if (directory === undefined) return EXIT.noMesh
  const scopes = [...new Set(scope)]
  const { text, token } = createToken(directory, { scopes, ttlMs, name })
  await recordCommand(io, directory, 'token-created', {
    ...{ id: token.id, scopes },
    ...(name !== undefined && { name }),
  })
  const { id, endsMs: ends_ms } = token
  const line = options.json === true ? json([{ token: text, id, scopes, ends_ms }]) : text
  await new Sink(io.stdout).line(line)
  if (options.json !== true)
    await new Sink(io.stderr).line(
      `gives ${describeScopes(scopes)} for ${formatDuration(ttlMs)}; shown this once; take it back with: manyhands token revoke ${id}`,
    )
  return EXIT.ok
}

export const tokenList = async (io: Io, options: TokenOptions): Promise<number> => {
  const directory = await directoryOf(io, options)
  if (directory === undefined) return EXIT.noMesh
  const nowMs = Date.now()
  const tokens = listTokens(directory)
  const text =
    options.json === true
      ? json(
          tokens.map(({ id, scopes, createdMs, endsMs, name }) => ({
            ...{ id, scopes, created_ms: createdMs, ends_ms: endsMs },
            ...(name !== undefined && { name }),
          })),
        )
      : table(
          ['ID', 'SCOPES', 'ENDS IN', 'NAME'],
          tokens.map(({ id, scopes, endsMs, name }) => [
            id,
            describeScopes(scopes),
            endsMs <= nowMs ? 'ended' : formatDuration(endsMs - nowMs),
            name ?? '',
          ]),
        )
  await new Sink(io.stdout).line(text)
  return EXIT.ok
}

export const tokenRevoke = async (
  io: Io,
  ids: readonly string[],
  options: TokenOptions,
): Promise<number> => {
  const directory = await directoryOf(io, options)
  if (directory === undefined) return EXIT.noMesh
  let code: number = EXIT.ok
  for (const id of ids) {
    if (revokeToken(directory, id))
      await recordCommand(io, directory, 'token-revoked', { id })
    else {
      code = EXIT.notFound
      await new Sink(io.stderr).line(
        `manyhands: there is no token ${id}; list what there is with: manyhands token list`,
      )
    }
  }
  return code
}

/** Undefined: there is no mesh here, and that was said. */
const directoryOf = async (
  io: Io,
  options: TokenOptions,
): Promise<string | undefined> => {
  const directory = stateDirectory(options.state, io.env)
  const state = readState(directory)
  if (E.isRight(state)) return directory
  await new Sink(io.stderr).line(`manyhands: ${state.left.reason}`)
  return undefined
}
