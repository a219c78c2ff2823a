// The log behind its port: one line per event, to wherever `write` leads, as text for
// people or as JSON for programs. Never payloads, never secrets.

import type { Clock, Log, LogFields } from './ports.ts'

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]
export const LOG_FORMATS = ['text', 'json'] as const
export type LogFormat = (typeof LOG_FORMATS)[number]

export interface LogOptions {
  /** Lines below it are not written. */
  readonly level: LogLevel
  readonly format: LogFormat
  readonly clock: Clock
  /** Takes a whole line, its end included. */
  readonly write: (line: string) => void
  /** Put on every line, as the node's name. */
  readonly fields?: LogFields
}

const nothing = () => undefined

/** A log; below its level it costs a call that does nothing. */
export const makeLog = (options: LogOptions): Log => {
  const { format, clock, write, fields: always } = options
  const lineOf = format === 'json' ? jsonLine : textLine
  const at = (level: LogLevel) =>
    LOG_LEVELS.indexOf(level) < LOG_LEVELS.indexOf(options.level)
      ? nothing
      : (event: string, fields?: LogFields) =>
          write(lineOf(clock.wall(), level, event, { ...always, ...fields }))
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

const jsonLine = (wall: number, level: LogLevel, event: string, fields: LogFields) =>
  `${JSON.stringify({ at: new Date(wall).toISOString(), level, event, ...fields })}\n`

const textLine = (wall: number, level: LogLevel, event: string, fields: LogFields) => {
  const words = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${quoted(String(value))}`)
  const time = new Date(wall).toISOString().slice(11, 23)
  return `${[time, level.padEnd(5), event, ...words].join(' ')}\n`
}

/**
 * One word stays as it is; anything else is quoted, so that it cannot look like a line of
 * ours, nor steer a terminal: JSON leaves DEL, the C1 controls and what turns the
 * direction of writing as they are.
 */
const quoted = (value: string): string =>
  /^[!-~]+$/.test(value) && !value.includes('"')
    ? value
    : JSON.stringify(value).replace(STEERING, escaped)

const STEERING = /[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g

const escaped = (letter: string): string =>
  `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`
