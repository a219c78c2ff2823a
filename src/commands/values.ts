// Values of flags: text in, a checked value out, and the same values for people. What does
// not parse throws a UsageError with the value and what was expected.

import { HostName } from '../../protocol/scalars.ts'
import { Scope, ScopeName } from '../../protocol/scopes.ts'
import { UserName } from '../../protocol/task.ts'
import { UsageError } from './io.ts'

const DURATIONS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/** `500ms`, `1s`, `1.5h`, `2m`; milliseconds. A bare number is refused: of what? */
export const parseDuration = (text: string): number => {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|m|min|h|d)$/.exec(text) ?? []
  const ms = Math.round(Number(number) * (DURATIONS[unit] ?? Number.NaN))
  if (!Number.isSafeInteger(ms))
    throw new UsageError(
      `expected a duration such as 500ms, 10s, 5m or 1h, got '${text}'`,
    )
  return ms
}

/** `512M`, `2G`, `64K`, `1000` (bytes); K, M, G, T are powers of 1,024. */
export const parseSize = (text: string): number => {
  const [, number, unit] = /^(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?$/i.exec(text) ?? []
  const power = ['', 'K', 'M', 'G', 'T'].indexOf((unit ?? '?').toUpperCase())
  const bytes = Math.round(Number(number) * 1024 ** power)
  if (number === undefined || power < 0 || !Number.isSafeInteger(bytes))
    throw new UsageError(`expected a size such as 512M or 2G, got '${text}'`)
  return bytes
}

/** A whole number, at least `min`. */
export const parseCount =
  (min: number) =>
  (text: string): number => {
    const count = /^-?\d+$/.test(text) ? Number(text) : Number.NaN
    if (!Number.isSafeInteger(count) || count < min)
      throw new UsageError(
        `expected a whole number${min > Number.MIN_SAFE_INTEGER ? ` of at least ${min}` : ''}, got '${text}'`,
      )
    return count
  }

/** One of the given words. */
export const parseWord =
  <W extends string>(words: readonly W[]) =>
  (text: string): W => {
    const word = words.find((one) => one === text)
    if (word === undefined)
      throw new UsageError(`expected one of ${words.join(', ')}, got '${text}'`)
    return word
  }

/** `wss://host:port`, or `host:port` alone, as `--join` takes them. */
export const parseAddress = (text: string): string => {
  const url = /^[a-z]+:\/\//.test(text) ? text : `wss://${text}`
  if (!/^wss:\/\/(\[[0-9a-f:]+\]|[A-Za-z0-9.-]+):\d{1,5}\/?$/.test(url))
    throw new UsageError(`expected wss://host:port, got '${oneLine(text)}'`)
  return url.replace(/\/$/, '')
}

/** Gathers `K=V` flags. */
export const parsePair = (
  text: string,
  before: Readonly<Record<string, string>> = {},
): Record<string, string> => {
  const at = text.indexOf('=')
  if (at < 1) throw new UsageError(`expected KEY=VALUE, got '${text}'`)
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) }
}

/** Gathers `NAME=N` flags. */
export const parseAmount = (
  text: string,
  before: Readonly<Record<string, number>> = {},
): Record<string, number> => {
  const [, name, amount] = /^([A-Za-z0-9_.-]{1,63})=(\d{1,12})$/.exec(text) ?? []
  if (name === undefined)
    throw new UsageError(
      `expected NAME=N with a whole number, such as gpu=1, got '${oneLine(text)}'`,
    )
  return { ...before, [name]: Number(amount) }
}

/** As parsePair; a bare name takes the value of this process's environment. */
export const parseVariable =
  (environment: Readonly<Record<string, string | undefined>>) =>
  (text: string, before?: Readonly<Record<string, string>>): Record<string, string> => {
    if (text.includes('=')) return parsePair(text, before)
    const value = environment[text]
    if (value === undefined)
      throw new UsageError(
        `expected KEY=VALUE or the name of a set variable, got '${text}'`,
      )
    return { ...before, [text]: value }
  }

/** A user of the machine where something runs: whether there is one, that machine says. */
export const parseUser = (text: string): string => {
  if (!UserName.is(text))
    throw new UsageError(`expected the name of a user, got '${oneLine(text)}'`)
  return text
}

/** `850 ms`, `3.2 s`, `4 min 05 s`, `2 h 07 min`. */
export const formatDuration = (ms: number): string => {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`
  const seconds = Math.round(ms / 1000)
  const two = (value: number) => String(value).padStart(2, '0')
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`
  const minutes = Math.floor(seconds / 60)
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`
}

/** `512 B`, `1.5 KiB`, `2.0 GiB`. */
export const formatSize = (bytes: number): string => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}

/** A text that has a line of its own: control characters shown, cut at `max`. */
export const oneLine = (text: string, max = 120): string => {
  const shown = text.replace(
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
  return shown.length > max ? `${shown.slice(0, max - 1)}…` : shown
}

/** Gathers scopes: one of the list, perhaps `@` a pattern of host names. */
export const parseScope = (text: string, before: readonly Scope[] = []): Scope[] => {
  if (Scope.is(text)) return [...before, text]
  throw new UsageError(
    `expected one of ${ScopeName.words.join(', ')}, each alone or with @ and a pattern of host names as in tasks:run@lab-*, got '${oneLine(text)}'`,
  )
}

/** Gathers labels of a certificate, `K=V`. */
export const parseIssuedLabel = (
  text: string,
  before: Readonly<Record<string, string>> = {},
): Record<string, string> => {
  const [, name, value] = /^([A-Za-z0-9_.-]{1,63})=(.{0,255})$/.exec(text) ?? []
  if (name === undefined || value === undefined)
    throw new UsageError(
      `expected NAME=VALUE with a name of letters, digits and _.-, as in zone=lab, got '${oneLine(text)}'`,
    )
  return { ...before, [name]: value }
}

/** A name in the mesh. */
export const parseHostName = (text: string): string => {
  if (HostName.is(text)) return text
  throw new UsageError(
    `expected letters, digits, - and _, in labels joined by dots, got '${text}'`,
  )
}
