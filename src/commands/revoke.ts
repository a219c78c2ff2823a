// revoke: takes members out of the mesh, where the authority's key is; from elsewhere it is
// asked of the node there. Nodes hear of it within a second, cut their connections, and let
// them in no more.

import * as E from 'fp-ts/lib/Either.js'
import { isAuthorityHere } from '../identity/issue.ts'
import { revoke as revokeMember } from '../identity/revocations.ts'
import { type MeshState, readState, stateDirectory } from '../identity/state.ts'
import { type Io, type MeshOptions, Sink, withClient } from './io.ts'
import { EXIT } from './outcome.ts'
import { recordCommand } from './record-command.ts'

export const revoke = async (
  io: Io,
  names: readonly string[],
  options: MeshOptions,
): Promise<number> => {
  const teller = new Teller(io)
  const state = readState(stateDirectory(options.state, io.env))
  if (E.isLeft(state)) return await teller.fail(state.left.reason)
  if (isAuthorityHere(state.right))
    return await revokeHere(io, teller, names, state.right)
  return await withClient(io, options, async (client) => {
    const issuer = await client.issuer()
    const { revoked, unknown } = await issuer.revoke(names)
    for (const { host_name, role } of revoked) await teller.out(host_name, role)
    for (const name of unknown) await teller.unknown(name)
    return teller.code
  })
}

const revokeHere = async (
  io: Io,
  teller: Teller,
  names: readonly string[],
  state: MeshState,
): Promise<number> => {
  for (const name of names) {
    if (name.toLowerCase() === state.client.party.hostName.toLowerCase()) {
      await teller.fail(`${name} is this command line itself`)
      continue
    }
    const out = await revokeMember(state, name)
    if (E.isLeft(out)) return await teller.fail(out.left.reason)
    if (out.right.length === 0) await teller.unknown(name)
    for (const { hostName, role, nodeId: node_id } of out.right) {
      await recordCommand(io, state.directory, 'revoked', {
        peer: hostName,
        role,
        node_id,
      })
      await teller.out(hostName, role)
    }
  }
  return teller.code
}

/** Says what became of each, and keeps the exit code. */
class Teller {
  readonly #stdout: Sink
  readonly #stderr: Sink
  code: number = EXIT.ok

  constructor(io: Io) {
    this.#stdout = new Sink(io.stdout)
    this.#stderr = new Sink(io.stderr)
  }

  async out(hostName: string, role: string): Promise<void> {
    await this.#stdout.line(`${hostName} (${role}) is no member any more`)
  }

  unknown(name: string): Promise<number> {
    return this.fail(`no member is called ${name}; see manyhands members`, EXIT.notFound)
  }

  async fail(reason: string, code: number = EXIT.failed): Promise<number> {
    await this.#stderr.line(`manyhands: ${reason}`)
    this.code = code
    return code
  }
}
