// The client's own certificate, kept fresh by whoever uses it: made anew here where the
// authority's key is, else asked for over the connection that is there anyway. It costs a
// command line one question in sixty days; whether it is answered or not, nobody waits long
// for it. A program that stays connected looks again every hour, and shows the new one.

import { ALL_SCOPES } from '../../protocol/scopes.ts'
import { systemClock } from '../clock.ts'
import type { Credentials } from '../identity/credentials.ts'
import { dueMs, keepRenewed, renewedHere } from '../identity/renewal.ts'
import { type MeshState, placesOf } from '../identity/state.ts'
import { parseCertificate } from '../identity/subject.ts'
import type { Clock, Log } from '../ports.ts'
import type { Link } from './link.ts'

const ASK_MS = 2000
const LOOK_MS = 3_600_000

/**
 * What to show, before anybody is dialled. Who has the authority's key may do everything,
 * also with a certificate that was made before there were scopes.
 */
export const freshHere = (state: MeshState): Promise<Credentials> => {
  const { directory, client } = state
  const { party } = client
  return renewedHere({
    state,
    place: placesOf(directory).client,
    credentials: client,
    ...(party.scopes === undefined && { as: { ...party, scopes: ALL_SCOPES } }),
  })
}

export interface KeepFreshOptions {
  readonly link: Pick<Link, 'ask' | 'isClosed'>
  readonly state: MeshState
  readonly own: Credentials
  /** New connections show these from now on. */
  readonly onRenewed: (credentials: Credentials) => void
  readonly log?: Log | undefined
  readonly clock?: Clock
}

/** Looks now, and again while the link is open; resolves after the first look. Never rejects. */
export const keepFresh = async (options: KeepFreshOptions): Promise<void> => {
  const { link, clock = systemClock, onRenewed } = options
  const own = clock.wall() < dueMs(options.own) ? undefined : await renewOver(options)
  if (own !== undefined) onRenewed(own)
  const next = { ...options, own: own ?? options.own }
  clock.after(LOOK_MS, () => {
    if (!link.isClosed) void keepFresh(next)
  })
}

const renewOver = async ({
  link,
  state: { directory, trust },
  own,
  log,
}: KeepFreshOptions): Promise<Credentials | undefined> => {
  const limit = { timeoutMs: ASK_MS, signal: AbortSignal.timeout(ASK_MS) }
  try {
    const body = { certificate: derOf(own) }
    const answer = await link.ask('CertificateRenew', body, limit)
    if (answer.kind === 'Refused') throw new Error(answer.body.message)
    const { certificate } = answer.body
    const fresh = keepRenewed(placesOf(directory).client, trust, own, certificate)
    if (fresh === undefined) throw new Error('what came is not what was asked for')
    await link.ask('CertificateShow', { certificate: derOf(fresh) }, limit)
    return fresh
  } catch (error) {
    // It is good for another thirty days; its end is told by whoever refuses it.
    const reason = error instanceof Error ? error.message : String(error)
    log?.warn('certificate not renewed', { reason })
    return undefined
  }
}

const derOf = ({ certificatePem }: Credentials): Buffer =>
  parseCertificate(certificatePem)?.raw ?? Buffer.alloc(0)
