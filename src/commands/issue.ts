// issue: a new member's state directory, to be copied to its machine.

import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import type { HostName, NodeType } from '../../protocol/index.ts'
import { makeBundle } from '../identity/issue.ts'
import { openState, stateDirectory } from '../identity/state.ts'
import { type Io, Sink } from './io.ts'
import { EXIT } from './outcome.ts'

export interface IssueOptions {
  readonly state?: string
  readonly role: NodeType
  readonly name: HostName
  readonly out: string
}

export const issue = async (io: Io, options: IssueOptions): Promise<number> => {
  const { role, name: hostName } = options
  const out = resolve(io.cwd, options.out)
  const state = existsSync(out)
    ? E.left({ reason: `${out} is there already` })
    : await openState(stateDirectory(options.state, io.env))
  if (E.isLeft(state)) return await fail(io, state.left)
  const made = await makeBundle(state.right, out, { role, hostName })
  if (E.isLeft(made)) return await fail(io, made.left)
  const start =
    role === 'client'
      ? `manyhands nodes --state DIR --at HOST:PORT`
      : `manyhands --role ${role} --state DIR --join HOST:PORT`
  await new Sink(io.stdout).line(
    `${out} makes its bearer the ${role} ${hostName}; there: ${start}`,
  )
  return EXIT.ok
}

const fail = async (io: Io, { reason }: { readonly reason: string }): Promise<number> => {
  await new Sink(io.stderr).line(`manyhands: ${reason}`)
  return EXIT.failed
}
