// Tables and lists for the reading verbs: aligned columns for people, `--json` for programs.

/** Rows of cells under headings; numbers are aligned right. No trailing spaces. */
export const table = (
  headings: readonly string[],
  rows: readonly (readonly (string | number | undefined)[])[],
): string => {
  const isNumeric = headings.map((_, column) =>
    rows.every((row) => typeof row[column] !== 'string'),
  )
  const cells = [headings, ...rows].map((row) =>
    headings.map((_, column) => String(row[column] ?? '-')),
  )
  const widths = headings.map((_, column) =>
    Math.max(...cells.map((row) => row[column]?.length ?? 0)),
  )
  return cells
    .map((row) =>
      row
        .map((cell, column) => {
          const width = widths[column] ?? 0
          return isNumeric[column] ? cell.padStart(width) : cell.padEnd(width)
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/**
 * A value as a line of JSON. A field of bytes becomes text where it is UTF-8, else
 * `<field>_base64`: a reader knows by the name what it has.
 */
export const json = (value: unknown): string => JSON.stringify(value, bytesAsText)

// Called with the holder as `this`, before Buffer's own toJSON has spoilt the value.
function bytesAsText(this: unknown, _key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  const fields = Object.entries(value)
  if (!fields.some(([, field]) => field instanceof Uint8Array)) return value
  return Object.fromEntries(
    fields.flatMap(([name, field]) =>
      field instanceof Uint8Array
        ? Object.entries(textField(name, field))
        : [[name, field]],
    ),
  )
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** `{name: text}`, or `{name_base64: …}` for what is not UTF-8. */
export const textField = (name: string, bytes: Uint8Array): Record<string, string> => {
  try {
    return { [name]: utf8.decode(bytes) }
  } catch {
    return { [`${name}_base64`]: Buffer.from(bytes).toString('base64') }
  }
}
