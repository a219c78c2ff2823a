// The client's own certificate, kept fresh by whoever uses it: made anew here where the
// authority's key is, else asked for over the connection that is there anyway. It costs one
// question in sixty days; whether it is answered or not, nobody waits long for it.

import { ALL_SCOPES } from '../../protocol/scopes.ts'
import type { Credentials } from '../identity/credentials.ts'
import { dueMs, keepRenewed, renewedHere } from '../identity/renewal.ts'
import { type MeshState, placesOf } from '../identity/state.ts'
import { parseCertificate } from '../identity/subject.ts'
import type { Connection } from '../mesh/dial.ts'
import type { Log } from '../ports.ts'

const ASK_MS = 2000

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

/** Asks for a new one, if the time has come; resolves with it when it is kept. Never rejects. */
export const renewOver = (
  { peer, ask }: Pick<Connection, 'peer' | 'ask'>,
  { directory, trust }: MeshState,
  own: Credentials,
  log?: Log,
): Promise<Credentials | undefined> => {
  const der = parseCertificate(own.certificatePem)?.raw
  const isAskable = peer.introduction.features.includes('membership')
  if (Date.now() < dueMs(own) || !isAskable || der === undefined)
    return Promise.resolve(undefined)
  return new Promise((resolve) =>
    ask('CertificateRenew', { certificate: der }, ASK_MS, (outcome) => {
      const answer = outcome._tag === 'Right' ? outcome.right : undefined
      if (answer?.kind === 'CertificateRenewed')
        return resolve(keep(directory, trust, own, answer.body.certificate, log))
      const reason = answer?.kind === 'Refused' ? answer.body.message : 'no answer'
      log?.warn('certificate not renewed', { reason })
      resolve(undefined)
    }),
  )
}

const keep = (
  directory: string,
  trust: MeshState['trust'],
  own: Credentials,
  der: Uint8Array,
  log: Log | undefined,
): Credentials | undefined => {
  try {
    return keepRenewed(placesOf(directory).client, trust, own, der)
  } catch (error) {
    // A full disk: what is there is good for another thirty days.
    const reason = error instanceof Error ? error.message : String(error)
    log?.warn('certificate not renewed', { reason })
    return undefined
  }
}
