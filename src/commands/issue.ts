// issue: a new member, as a state directory to be copied to its machine, or as a slot here
// for a program that is no node of ours.

import { existsSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import type { HostName } from '../../protocol/index.ts'
import { makePrivateDirectory } from '../identity/files.ts'
import { makeBundle, makeMember } from '../identity/issue.ts'
import { identityPath } from '../identity/slots.ts'
import { type MeshState, stateDirectory } from '../identity/state.ts'
import type { Grant } from '../identity/subject.ts'
import { type GrantOptions, grantOf } from './grant.ts'
import { type Io, Sink, UsageError } from './io.ts'
import { EXIT } from './outcome.ts'
import { openRecorded, recordCommand } from './record-command.ts'

export interface IssueOptions extends GrantOptions {
  readonly state?: string
  readonly name: HostName
  /** Undefined: into this state directory. */
  readonly out?: string
}

export const issue = async (io: Io, options: IssueOptions): Promise<number> => {
  const { role, scope, out } = options
  if (scope !== undefined && role !== 'client' && out === undefined)
    throw new UsageError(
      '--scope: a slot here has no command line of its own; give --out, or --role client',
    )
  const grant = grantOf(options)
  const directory = stateDirectory(options.state, io.env)
  if (out !== undefined && existsSync(resolve(io.cwd, out)))
    return await fail(io, { reason: `${out} is there already` })
  const state = await openRecorded(io, directory)
  if (E.isLeft(state)) return await fail(io, state.left)
  const line = await (out === undefined
    ? issueHere(state.right, options, grant)
    : issueAway(state.right, options, { ...grant, out: resolve(io.cwd, out) }))
  if (E.isLeft(line)) return await fail(io, line.left)
  const its = { peer: options.name, role, scopes: grant.scopes }
  await recordCommand(io, state.right.directory, 'certified', its)
  await new Sink(io.stdout).line(line.right)
  return EXIT.ok
}

type Line = E.Either<{ readonly reason: string }, string>

/** For a program of this machine that is no node of ours. */
const issueHere = async (
  state: MeshState,
  { role, name: hostName }: IssueOptions,
  { scopes, labels }: Grant,
): Promise<Line> => {
  const place = identityPath(state.directory, role, hostName)
  makePrivateDirectory(dirname(place))
  const its = role === 'client' ? scopes && { scopes } : labels && { labels }
  const made = await makeMember(state, { role, hostName, place, ...its })
  return E.map(
    () => `${place} has the key and the certificate of the ${role} ${hostName}`,
  )(made)
}

const issueAway = async (
  state: MeshState,
  { role, name: hostName }: IssueOptions,
  { out, ...grant }: Grant & { readonly out: string },
): Promise<Line> => {
  const made = await makeBundle(state, out, { role, hostName, ...grant })
  const start =
    role === 'client'
      ? 'manyhands nodes --state DIR --at HOST:PORT'
      : `manyhands --role ${role} --state DIR --join HOST:PORT`
  return E.map(() => `${out} makes its bearer the ${role} ${hostName}; there: ${start}`)(
    made,
  )
}

const fail = async (io: Io, { reason }: { readonly reason: string }): Promise<number> => {
  await new Sink(io.stderr).line(`manyhands: ${reason}`)
  return EXIT.failed
}
