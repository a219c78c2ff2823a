// doctor: what is well here and what is not, each with what to do.

import { examine, type Finding } from '../doctor/doctor.ts'
import { stateDirectory } from '../identity/state.ts'
import { type Io, Sink } from './io.ts'
import { EXIT } from './outcome.ts'
import { json } from './table.ts'

/** 0; 1 if something is broken. */
export const doctor = async (
  io: Io,
  options: { readonly state?: string; readonly json?: boolean },
): Promise<number> => {
  const findings = await examine(stateDirectory(options.state, io.env))
  const text = options.json === true ? json(findings) : findings.map(lineOf).join('\n')
  await new Sink(io.stdout).line(text)
  return findings.some(({ state }) => state === 'fail') ? EXIT.failed : EXIT.ok
}

const lineOf = ({ about, state, says, remedy }: Finding): string =>
  [
    `${state.padEnd(4)}  ${about}: ${says}`,
    ...(remedy === undefined ? [] : [`      -> ${remedy}`]),
  ].join('\n')
