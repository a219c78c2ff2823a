// issue: a new member, as a state directory to be copied to its machine, or as a slot here
// for a program that is no node of ours.

import { existsSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import type { HostName, NodeType } from '../../protocol/index.ts'
import { makePrivateDirectory } from '../identity/files.ts'
import { makeBundle, makeMember } from '../identity/issue.ts'
import { identityPath } from '../identity/slots.ts'
import { type MeshState, openState, stateDirectory } from '../identity/state.ts'
import { type Io, Sink } from './io.ts'
import { EXIT } from './outcome.ts'

export interface IssueOptions {
  readonly state?: string
  readonly role: NodeType
  readonly name: HostName
  /** Undefined: into this state directory. */
  readonly out?: string
}

export const issue = async (io: Io, options: IssueOptions): Promise<number> => {
  const directory = stateDirectory(options.state, io.env)
  if (options.out !== undefined && existsSync(resolve(io.cwd, options.out)))
    return await fail(io, { reason: `${options.out} is there already` })
  const state = await openState(directory)
  if (E.isLeft(state)) return await fail(io, state.left)
  const line = await (options.out === undefined
    ? issueHere(state.right, options)
    : issueAway(state.right, options, resolve(io.cwd, options.out)))
  if (E.isLeft(line)) return await fail(io, line.left)
  await new Sink(io.stdout).line(line.right)
  return EXIT.ok
}

type Line = E.Either<{ readonly reason: string }, string>

/** For a program of this machine that is no node of ours. */
const issueHere = async (
  state: MeshState,
  { role, name: hostName }: IssueOptions,
): Promise<Line> => {
  const place = identityPath(state.directory, role, hostName)
  makePrivateDirectory(dirname(place))
  const made = await makeMember(state, { role, hostName, place })
  return E.map(
    () => `${place} has the key and the certificate of the ${role} ${hostName}`,
  )(made)
}

const issueAway = async (
  state: MeshState,
  { role, name: hostName }: IssueOptions,
  out: string,
): Promise<Line> => {
  const made = await makeBundle(state, out, { role, hostName })
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
