// A mesh on several machines, each played by a state directory of its own: the one that
// made it, and those that got theirs from it.

import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import type { Test } from 'tap'
import { type Credentials, readCredentials } from '../../src/identity/credentials.ts'
import { makeBundle, readAuthority } from '../../src/identity/issue.ts'
import { identityPath } from '../../src/identity/slots.ts'
import { type MeshState, openState, readState } from '../../src/identity/state.ts'
import type { Party } from '../../src/identity/subject.ts'
import { certify, type Life, publicKeyOf } from '../../src/identity/x509.ts'

const must = <A>(result: E.Either<{ readonly reason: string }, A>): A => {
  if (E.isLeft(result)) throw new Error(result.left.reason)
  return result.right
}

/** The machine that makes the mesh. */
export const makeMesh = async (t: Test): Promise<MeshState> =>
  must(await openState(join(t.testdir({}), 'maker'), 'maker'))

/** The directory of another machine, with a member in it. */
export const issueTo = async (
  maker: MeshState,
  role: 'manager' | 'worker',
  hostName: string,
): Promise<string> => {
  const path = join(dirname(maker.directory), hostName)
  must(await makeBundle(maker, path, { role, hostName }))
  return path
}

/** Gives what is certified in a folder of keys another life. */
export const certifyAgain = async (
  maker: MeshState,
  place: string,
  life: Life,
  as?: Party,
): Promise<Credentials> => {
  const authority = must(await readAuthority(maker))
  const own = must(readCredentials(place, maker.trust))
  if (own === undefined) throw new Error(`Expected credentials in ${place}`)
  const pem = await certify(authority, as ?? own.party, publicKeyOf(own.keyPem), life)
  writeFileSync(join(place, 'cert.pem'), pem)
  return must(readCredentials(place, maker.trust)) ?? own
}

export const certifyNode = (
  maker: MeshState,
  directory: string,
  role: 'manager' | 'worker',
  hostName: string,
  life: Life,
): Promise<Credentials> =>
  certifyAgain(maker, identityPath(directory, role, hostName), life)

export const stateIn = (directory: string): MeshState => must(readState(directory))
