// Claims: what a worker says of itself, as far as its manager believes it.
//
// Decided ("how much can we trust the specs sent by A?"): they serve placement alone, the
// worker itself refuses what it cannot run. They are cut to what there may be; labels in
// the issuer's namespace come from the certificate and from nowhere else; and what a worker
// refuses although it claims to have it is not offered to that life of it again.

import type { ManagerConfig } from './manager-config.ts'
import type { Need } from './placement.ts'
import { isSameValue } from './same-value.ts'
import type { WorkerClaims } from './task-events.ts'
import type { Worker } from './task-record.ts'

/** The namespace of labels that only the issuer of a certificate gives. */
export const ISSUER = 'issuer/'

/** As many as one node may show (protocol, Labels). */
const MOST_LABELS = 64
/** Refused needs that are kept of a worker; the newest. */
const MOST_MISFITS = 32

type Labels = Readonly<Record<string, string>>

/** The labels of a certificate, as tasks ask for them. */
export const issuedLabels = (labels: Labels = {}): Labels =>
  Object.fromEntries(
    Object.entries(labels).map(([name, value]) => [ISSUER + name, value]),
  )

/** What is believed of a claim. `issued`: the labels of the worker's certificate. */
export const believed = (
  claims: WorkerClaims,
  issued: Labels | undefined,
  config: ManagerConfig,
): WorkerClaims => ({
  ...claims,
  cores: Math.min(claims.cores, config.mostCores),
  memory: Math.min(claims.memory, config.mostMemoryBytes),
  labels: labelsOf(claims.labels, issued),
  resources: claims.resources && capped(claims.resources, config.mostOfResource),
})

const labelsOf = (own: Labels = {}, issued: Labels | undefined): Labels => {
  const free = Object.entries(own).filter(([name]) => !name.startsWith(ISSUER))
  const given = Object.entries(issuedLabels(issued))
  return Object.fromEntries([...given, ...free].slice(0, MOST_LABELS))
}

const capped = (
  resources: Readonly<Record<string, number>>,
  most: number,
): Readonly<Record<string, number>> =>
  Object.fromEntries(
    Object.entries(resources).map(([name, amount]) => [name, Math.min(amount, most)]),
  )

/** What a worker refused for good, by what it needs: `specs`, or the kind of job. */
export interface Misfit {
  readonly need: Need
  readonly isKind: boolean
}

/** It refused a task of that need, which by its claims it could run. */
export const noteMisfit = (worker: Worker, need: Need, isKind: boolean): void => {
  if (misfitFor(need, worker) !== undefined) return
  worker.misfits = [...worker.misfits, { need, isKind }].slice(-MOST_MISFITS)
}

/** What it refused before that asked for no more than this does. */
export const misfitFor = (need: Need, { misfits }: Worker): Misfit | undefined =>
  misfits.find((misfit) =>
    misfit.isKind ? misfit.need.kind === need.kind : isAsMuch(need, misfit.need),
  )

const isAsMuch = (need: Need, { cores, memory, ...rest }: Need): boolean =>
  need.cores >= cores &&
  need.memory >= memory &&
  isSameValue({ ...need, cores: 0, memory: 0 }, { ...rest, cores: 0, memory: 0 })
