// An error in a few words, for records that people read.

import type { ErrorKind } from '../../protocol/index.ts'

/** Its kind, and what is most asked for of it: `RunningError, exit code 3`. */
export const errorText = (error: ErrorKind): string => `${error.kind}${detailOf(error)}`

const detailOf = (error: ErrorKind): string => {
  if (error.kind === 'RunningError')
    return error.exit_code === undefined
      ? `, ended by ${error.signal ?? 'a signal'}`
      : `, exit code ${error.exit_code}`
  if ('reason' in error && error.reason !== undefined)
    return `, ${error.reason.slice(0, 800)}`
  return ''
}
