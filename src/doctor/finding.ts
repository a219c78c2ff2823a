// Finding: what a look at one thing says.

export interface Finding {
  /** What was looked at. */
  readonly about: string
  /** `warn`: it works, and something will fail or is not as one would want it. */
  readonly state: 'ok' | 'warn' | 'fail'
  readonly says: string
  /** What to do about it; never without a state other than ok. */
  readonly remedy?: string
}

export const ok = (about: string, says: string): Finding => ({ about, state: 'ok', says })

export const warn = (about: string, says: string, remedy: string): Finding => ({
  ...{ about, state: 'warn', says, remedy },
})

export const fail = (about: string, says: string, remedy: string): Finding => ({
  ...{ about, state: 'fail', says, remedy },
})
