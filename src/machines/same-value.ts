// Same value: whether two decoded messages say the same. Compared when a message comes a
// second time, which is rare, instead of hashing each that comes once.

/** Equal in content; the order of fields does not matter, bytes are compared by value. */
export const isSameValue = (one: unknown, other: unknown): boolean => {
  if (one === other) return true
  if (typeof one !== 'object' || typeof other !== 'object' || !one || !other) return false
  if (one instanceof Uint8Array || other instanceof Uint8Array) {
    return one instanceof Uint8Array && other instanceof Uint8Array
      ? one.length === other.length && one.every((byte, index) => byte === other[index])
      : false
  }
  if (Array.isArray(one) !== Array.isArray(other)) return false
  const fields = new Map<string, unknown>(Object.entries(other))
  const own = Object.entries(one)
  return (
    own.length === fields.size &&
    own.every(([name, value]) => fields.has(name) && isSameValue(value, fields.get(name)))
  )
}
