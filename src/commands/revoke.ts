// revoke: takes members out of the mesh. Nodes on this machine cut their connections within
// a second and let them in no more.

import * as E from 'fp-ts/lib/Either.js'
import { isAuthorityHere } from '../identity/issue.ts'
import { revoke as revokeMember } from '../identity/revocations.ts'
import { readState, stateDirectory } from '../identity/state.ts'
import { type Io, Sink } from './io.ts'
import { EXIT } from './outcome.ts'

export const revoke = async (
  io: Io,
  names: readonly string[],
  options: { readonly state?: string },
): Promise<number> => {
  const stderr = new Sink(io.stderr)
  const fail = async (reason: string, code: number = EXIT.failed): Promise<number> => {
    await stderr.line(`manyhands: ${reason}`)
    return code
  }
  const state = readState(stateDirectory(options.state, io.env))
  if (E.isLeft(state)) return await fail(state.left.reason)
  if (!isAuthorityHere(state.right))
    return await fail('members are taken out where the mesh was made')
  let code: number = EXIT.ok
  for (const name of names) {
    if (name.toLowerCase() === state.right.client.party.hostName.toLowerCase()) {
      code = await fail(`${name} is this command line itself`)
      continue
    }
    const out = await revokeMember(state.right, name)
    if (E.isLeft(out)) return await fail(out.left.reason)
    if (out.right.length === 0)
      code = await fail(
        `no member is called ${name}; see manyhands members`,
        EXIT.notFound,
      )
    for (const { hostName, role } of out.right)
      await new Sink(io.stdout).line(`${hostName} (${role}) is no member any more`)
  }
  return code
}
