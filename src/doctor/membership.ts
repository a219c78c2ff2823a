// What the state directory holds: the mesh, keys and certificates, the room beside them.

import { existsSync, readdirSync, statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { type Credentials, readCredentials } from '../identity/credentials.ts'
import { dueMs } from '../identity/renewal.ts'
import { type MeshState, placesOf, readState } from '../identity/state.ts'
import { type Finding, fail, ok, warn } from './finding.ts'

const DAY_MS = 86_400_000
/** A clock that was set by a person is off by less. */
const SKEW_MS = 60_000
const LITTLE_BYTES = 256 * 1024 ** 2

/** The mesh of the state directory, if it can be read; and what there is to say. */
export const checkState = (
  directory: string,
  nowMs: number,
): { readonly state: MeshState | undefined; readonly findings: readonly Finding[] } => {
  const state = readState(directory)
  if (E.isRight(state))
    return { state: state.right, findings: checkMesh(state.right, nowMs) }
  const { kind, reason } = state.left
  if (kind === 'no-mesh')
    return {
      state: undefined,
      findings: [
        warn(
          'mesh',
          `none in ${directory}`,
          'the first start makes one: manyhands up; or join one: manyhands join TOKEN',
        ),
      ],
    }
  const [says = reason, ...remedy] = reason.split('; ')
  const findings = [fail('mesh', says, remedy.join('; ') || 'see SECURITY.md')]
  return { state: undefined, findings }
}

const checkMesh = (state: MeshState, nowMs: number): readonly Finding[] => {
  const { directory, meshId, client, trust } = state
  const hasKey = existsSync(placesOf(directory).authorityKey)
  return [
    ok('mesh', `${meshId} in ${directory}`),
    ok(
      'authority',
      hasKey
        ? 'its key is here: this machine certifies, renews and invites'
        : 'its key is on another machine, which renews the certificates here',
    ),
    checkClock(directory, Date.parse(trust.certificate.validFrom), nowMs),
    checkRoom(directory),
    checkCertificate('the command line', client, nowMs),
    ...checkSlots(state, nowMs),
  ]
}

const checkClock = (directory: string, madeMs: number, nowMs: number): Finding => {
  const newestMs = Math.max(
    ...[directory, ...slotsOf(directory).map(({ path }) => path)].map(
      (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0,
    ),
  )
  const remedy = 'set the clock, for example: timedatectl set-ntp true'
  if (nowMs < madeMs)
    return fail(
      'clock',
      `it says ${dateOf(nowMs)}, and the mesh was made on ${dateOf(madeMs)}`,
      remedy,
    )
  if (newestMs > nowMs + SKEW_MS)
    return warn(
      'clock',
      `it says ${dateOf(nowMs)}, and files here are from ${dateOf(newestMs)}`,
      remedy,
    )
  return ok('clock', `${dateOf(nowMs)}, after everything here`)
}

const checkRoom = (directory: string): Finding => {
  const { bavail, bsize } = statfsSync(directory)
  const free = bavail * bsize
  const says = `${(free / 1024 ** 3).toFixed(1)} GiB free in ${directory}`
  if (free >= LITTLE_BYTES) return ok('disk', says)
  return (free < LITTLE_BYTES / 16 ? fail : warn)(
    'disk',
    says,
    'make room, or choose another place with --state',
  )
}

const checkSlots = ({ directory, trust }: MeshState, nowMs: number): readonly Finding[] =>
  slotsOf(directory).flatMap(({ name, path }) => {
    const credentials = readCredentials(join(path, 'identity'), trust)
    if (E.isLeft(credentials)) {
      const [says = '', ...remedy] = credentials.left.reason.split('; ')
      return [fail(`certificate of ${name}`, says, remedy.join('; '))]
    }
    const { right: found } = credentials
    return found === undefined ? [] : [checkCertificate(name, found, nowMs)]
  })

/** When it ends, and whether it should have been renewed by now. */
export const checkCertificate = (
  name: string,
  dates: Pick<Credentials, 'notBeforeMs' | 'notAfterMs'>,
  nowMs: number,
): Finding => {
  const about = `certificate of ${name}`
  const { notBeforeMs, notAfterMs } = dates
  if (nowMs > notAfterMs)
    return fail(
      about,
      `it ended on ${dateOf(notAfterMs)}`,
      'where the mesh was made: start the node again; elsewhere: manyhands join TOKEN',
    )
  if (nowMs < notBeforeMs)
    return fail(about, `it begins on ${dateOf(notBeforeMs)}`, 'set the clock')
  const days = Math.floor((notAfterMs - nowMs) / DAY_MS)
  if (nowMs < dueMs(dates)) return ok(about, `good for ${days} days more`)
  return warn(
    about,
    `it ends in ${days} days and was not renewed`,
    'start the node, and see that it reaches a manager',
  )
}

const slotsOf = (directory: string) => {
  const { nodes } = placesOf(directory)
  if (!existsSync(nodes)) return []
  return readdirSync(nodes).map((name) => ({ name, path: join(nodes, name) }))
}

const dateOf = (ms: number): string =>
  new Date(ms).toISOString().slice(0, 16).replace('T', ' ')
