// Query: the parameters of a request's URL, each with its meaning; what is not understood is
// a problem that names it.

import { bad } from './problem.ts'

const SPANS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
}

export class Query {
  readonly #url: URL

  constructor(url: string) {
    this.#url = new URL(url)
  }

  get #parameters(): URLSearchParams {
    return this.#url.searchParams
  }

  /** The same URL, without its origin, with that parameter. */
  with(name: string, value: string): string {
    const parameters = new URLSearchParams(this.#parameters)
    parameters.set(name, value)
    return `${this.#url.pathname}?${parameters}`
  }

  text(name: string): string | undefined {
    return this.#parameters.get(name) ?? undefined
  }

  all(name: string): readonly string[] {
    return this.#parameters.getAll(name)
  }

  /** `1`, `true`, or nothing behind the name. */
  flag(name: string): boolean {
    const text = this.text(name)
    if (text === undefined || text === '0' || text === 'false') return false
    if (text === '' || text === '1' || text === 'true') return true
    throw bad(`${name}: expected 1 or 0, got ${text}`)
  }

  count(name: string, byDefault: number, most = Number.MAX_SAFE_INTEGER): number {
    const text = this.text(name)
    if (text === undefined) return byDefault
    const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
    if (Number.isSafeInteger(value) && value <= most) return value
    throw bad(`${name}: expected a whole number up to ${most}, got ${text}`)
  }

  /** `30s`, `500ms`; in milliseconds. */
  span(name: string, byDefault: number): number {
    const text = this.text(name)
    if (text === undefined) return byDefault
    const [, amount, unit = ''] = /^(\d{1,9})(ms|s|m|h)$/.exec(text) ?? []
    const ms = Number(amount) * (SPANS[unit] ?? Number.NaN)
    if (Number.isSafeInteger(ms)) return ms
    throw bad(`${name}: expected a time as 500ms, 30s or 5m, got ${text}`)
  }

  word<W extends string>(name: string, words: readonly W[], byDefault: W): W {
    const text = this.text(name)
    const word = words.find((one) => one === text)
    if (text === undefined || word !== undefined) return word ?? byDefault
    throw bad(`${name}: expected ${words.join(', ')}, got ${text}`)
  }

  /** `K=V`, as often as it is given. */
  pairs(name: string): Readonly<Record<string, string>> {
    return Object.fromEntries(
      this.all(name).map((text) => {
        const at = text.indexOf('=')
        if (at <= 0) throw bad(`${name}: expected K=V, got ${text}`)
        return [text.slice(0, at), text.slice(at + 1)]
      }),
    )
  }
}
