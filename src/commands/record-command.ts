// What commands do to the membership by themselves, where the authority's key is, in the
// audit log of commands.

import { hostname, userInfo } from 'node:os'
import * as E from 'fp-ts/lib/Either.js'
import { recordOnce } from '../audit/record-once.ts'
import { baseNameOf } from '../identity/names.ts'
import { openState } from '../identity/state.ts'
import { type Io, Sink } from './io.ts'

export type Recorded = Parameters<typeof recordOnce>[3]

/** The mesh of a state directory, made if there is none: that is recorded too. */
export const openRecorded = async (
  io: Io,
  stateDirectory: string,
): ReturnType<typeof openState> => {
  const state = await openState(stateDirectory, baseNameOf(io.env, hostname()))
  if (E.isRight(state) && state.right.isNew)
    await recordCommand(io, stateDirectory, 'mesh-made', { mesh: state.right.meshId })
  return state
}

/** Records it, and returns when it is on disk. Where it cannot be, that is said, and nothing fails. */
export const recordCommand = async (
  io: Io,
  stateDirectory: string,
  event: string,
  fields: Recorded,
): Promise<void> => {
  const its = { user: userInfo().username, ...fields }
  const failure = await recordOnce(stateDirectory, 'commands', event, its)
  if (failure === undefined) return
  await new Sink(io.stderr).line(`manyhands: not in the audit log: ${event} (${failure})`)
}
