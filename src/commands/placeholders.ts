// Placeholders of `run --each`: replaced inside one argv element each, by text, never by a
// shell, so an item with spaces or quotes stays one argument.
//
//   {}    the item               photos/a.b.png
//   {.}   without its extension  photos/a.b
//   {/}   its last part          a.b.png
//   {//}  its directory          photos
//   {#}   its number, from 1     17

import { UsageError } from './io.ts'

const PLACEHOLDER = /\{(\.|\/\/|\/|#|)\}/g
/** The most characters that one argument may have (the protocol's limit). */
export const ARGUMENT_MAX = 128 * 1024

/** Fills a command for an item; without a placeholder the item becomes its last argument. */
export const commandTemplate = (
  command: readonly string[],
): ((item: string, number: number) => readonly string[]) => {
  const hasPlaceholder = command.some((part) => part.search(PLACEHOLDER) >= 0)
  if (!hasPlaceholder) return (item) => [...command, item]
  return (item, number) =>
    command.map((part) =>
      part.replace(PLACEHOLDER, (_, which: string) => replacement(which, item, number)),
    )
}

const replacement = (which: string, item: string, number: number): string => {
  switch (which) {
    case '.':
      return withoutExtension(item)
    case '/':
      return lastPart(item)
    case '//':
      return directoryOf(item)
    case '#':
      return String(number)
    default:
      return item
  }
}

const lastPart = (item: string): string => item.slice(item.lastIndexOf('/') + 1)

const directoryOf = (item: string): string => {
  const at = item.lastIndexOf('/')
  if (at < 0) return '.'
  return at === 0 ? '/' : item.slice(0, at)
}

/** A leading dot begins a name, not an extension. */
const withoutExtension = (item: string): string => {
  const dot = item.lastIndexOf('.')
  return dot > item.lastIndexOf('/') + 1 ? item.slice(0, dot) : item
}

/** Throws a UsageError for what cannot be an argument of a program. */
export const checkItem = (item: string, where: string): void => {
  if (item.includes('\0'))
    throw new UsageError(`${where} contains a NUL, which no argument can`)
  if (item.length > ARGUMENT_MAX)
    throw new UsageError(
      `${where} has ${item.length} characters, an argument at most ${ARGUMENT_MAX}; pass such data in files`,
    )
}
