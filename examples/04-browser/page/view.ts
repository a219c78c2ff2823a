// The page's table of frames and its log. Everything from the wire goes in as text, never
// as markup, and the oldest rows leave: a page may stay open for days.

import { fromBytes } from 'manyhands/protocol'

const MAX_ROWS = 200

const element = (id: string): HTMLElement => {
  const found = document.getElementById(id)
  if (found === null) throw new Error(`Expected an element \`${id}\` in the page`)
  return found
}

/** JSON, with bytes as text where they are, else as their number. */
const readable = (body: unknown): string =>
  JSON.stringify(body, (_key, value: unknown) => {
    if (!(value instanceof Uint8Array)) return value
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(value)
    } catch {
      return `${value.length} bytes`
    }
  })

const show = (direction: string, bytes: Uint8Array): void => {
  const row = document.createElement('tr')
  const cells = [direction, ...decoded(bytes), String(bytes.length)]
  for (const text of cells) row.insertCell().textContent = text
  element('frames').prepend(row)
  if (element('frames').childElementCount > MAX_ROWS)
    element('frames').lastChild?.remove()
}

const decoded = (bytes: Uint8Array): readonly [string, string, string] => {
  const frame = fromBytes(bytes)
  if (frame._tag === 'Left') return ['-', frame.left, '']
  const envelope = frame.right
  const which = 'q' in envelope ? `request ${envelope.q}` : `answer ${envelope.a}`
  return [which, envelope.k, readable(envelope.b)]
}

export const frames = {
  sent: (bytes: Uint8Array): void => show('sent', bytes),
  received: (bytes: Uint8Array): void => show('received', bytes),
}

/** A line of the log. */
export const note = (text: string): void => {
  const line = document.createElement('li')
  line.textContent = text
  element('log').append(line)
  if (element('log').childElementCount > MAX_ROWS) element('log').firstChild?.remove()
}

export const status = (text: string): void => {
  element('status').textContent = text
}

export const onClick = (id: string, fn: () => void): void =>
  element(id).addEventListener('click', fn)
