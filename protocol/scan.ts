// Scan: one pass over a frame's bytes before the unpacker may see them.
//
// The unpacker builds classes from extension bytes and can be kept busy for seconds by a
// legal map of a few megabytes. So a frame is first read as a sequence of headers, payloads
// skipped: what is too deep, too much, not plain MessagePack, cut off or followed by more
// is refused. No recursion and no allocation; the work is linear in the headers.

/** The bounds of a frame's structure. A string key's length is in bytes. */
export const SCAN_LIMITS = {
  depth: 32,
  nodes: 200_000,
  mapKeys: 4096,
  keyBytes: 255,
} as const

/** Not a frame. */
export const REFUSED = -1

const kinds = { refused: 0, scalar: 1, string: 2, binary: 3, array: 4, map: 5 } as const

// Per header byte: what it begins, the length or count that is in it, and how many bytes
// of length follow it.
const CLASS = new Uint8Array(256)
const INLINE = new Uint8Array(256)
const LENGTH_BYTES = new Uint8Array(256)

const define = (
  from: number,
  to: number,
  kind: number,
  inline: (byte: number) => number,
  lengthBytes = 0,
) => {
  for (let byte = from; byte <= to; byte++) {
    CLASS[byte] = kind
    INLINE[byte] = inline(byte)
    LENGTH_BYTES[byte] = lengthBytes
  }
}
const none = () => 0
define(0x00, 0x7f, kinds.scalar, none) // small unsigned integers
define(0x80, 0x8f, kinds.map, (byte) => byte & 0x0f)
define(0x90, 0x9f, kinds.array, (byte) => byte & 0x0f)
define(0xa0, 0xbf, kinds.string, (byte) => byte & 0x1f)
define(0xc0, 0xc0, kinds.scalar, none) // nil
define(0xc2, 0xc3, kinds.scalar, none) // false, true
define(0xc4, 0xc6, kinds.binary, none)
define(0xca, 0xca, kinds.scalar, () => 4) // floats
define(0xcb, 0xcb, kinds.scalar, () => 8)
define(0xcc, 0xcf, kinds.scalar, (byte) => 1 << (byte - 0xcc)) // unsigned integers
define(0xd0, 0xd3, kinds.scalar, (byte) => 1 << (byte - 0xd0)) // signed integers
define(0xd9, 0xdb, kinds.string, none)
define(0xdc, 0xdd, kinds.array, none)
define(0xde, 0xdf, kinds.map, none)
define(0xe0, 0xff, kinds.scalar, none) // small negative integers
for (const [byte, bytes] of [
  [0xc4, 1],
  [0xc5, 2],
  [0xc6, 4],
  [0xd9, 1],
  [0xda, 2],
  [0xdb, 4],
  [0xdc, 2],
  [0xdd, 4],
  [0xde, 2],
  [0xdf, 4],
] as const)
  LENGTH_BYTES[byte] = bytes
// 0xc1 and the extensions 0xc7-0xc9, 0xd4-0xd8 stay refused.

// Items still to come at each depth, and whether that depth is a map (then an even number
// of them means that a key is next). Shared by all scans: a scan never yields.
const left = new Int32Array(SCAN_LIMITS.depth + 1)
const inMap = new Uint8Array(SCAN_LIMITS.depth + 1)

/**
 * How many entries the frame's map has, or REFUSED if the bytes are not exactly one map
 * of plain MessagePack within the limits.
 */
export const scan = (bytes: Uint8Array): number => {
  const end = bytes.length
  // Nothing else than a map is a frame; the first value decides.
  if (end === 0 || CLASS[bytes[0] as number] !== kinds.map) return REFUSED
  const entries = sizeAt(bytes, 0)
  left[0] = 1
  inMap[0] = 0
  let depth = 0
  let at = 0
  let nodes = 0
  while (depth >= 0) {
    if (left[depth] === 0) {
      depth--
      continue
    }
    const header = bytes[at] as number // past the end: undefined, for which sizeAt is Infinity
    const kind = CLASS[header] as number
    const size = sizeAt(bytes, at)
    const payload = at + 1 + (LENGTH_BYTES[header] as number)
    const items = itemsOf(kind, size)
    if (isBadKey(bytes, payload, kind, size, depth)) return REFUSED
    left[depth] = (left[depth] as number) - 1
    at = payload + bytesOf(kind, size)
    nodes += items
    // Each item is a byte at least: more items than bytes left cannot be there.
    if (at > end - items || nodes > SCAN_LIMITS.nodes) return REFUSED
    if (kind < kinds.array) continue
    if (++depth > SCAN_LIMITS.depth) return REFUSED
    left[depth] = items
    inMap[depth] = kind - kinds.array
  }
  return at === end ? entries : REFUSED
}

/** The length or count that the header at `at` states; of what is refused or cut off, too much. */
const sizeAt = (bytes: Uint8Array, at: number): number => {
  const header = bytes[at]
  if (header === undefined || CLASS[header] === kinds.refused)
    return Number.POSITIVE_INFINITY
  let following = LENGTH_BYTES[header] as number
  if (following === 0) return INLINE[header] as number
  let size = 0
  for (let next = at + 1; following > 0; next++, following--)
    size = size * 256 + (bytes[next] ?? Number.POSITIVE_INFINITY)
  return size
}

const bytesOf = (kind: number, size: number): number => (kind < kinds.array ? size : 0)

const itemsOf = (kind: number, size: number): number => {
  if (kind < kinds.array) return 0
  if (kind === kinds.array) return size
  return size > SCAN_LIMITS.mapKeys ? Number.POSITIVE_INFINITY : size * 2
}

/** `__proto__` is no key: the unpacker would rename it, and others would obey it. */
const PROTO = Uint8Array.from('__proto__', (letter) => letter.charCodeAt(0))

const isBadKey = (
  bytes: Uint8Array,
  at: number,
  kind: number,
  size: number,
  depth: number,
): boolean => {
  const isKey = inMap[depth] === 1 && ((left[depth] as number) & 1) === 0
  if (!isKey) return false
  if (kind !== kinds.string || size > SCAN_LIMITS.keyBytes) return true
  if (size !== PROTO.length || bytes[at] !== PROTO[0]) return false
  return PROTO.every((letter, index) => bytes[at + index] === letter)
}
