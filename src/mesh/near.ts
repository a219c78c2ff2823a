// Near: addresses that an announcement may lead to. What the network says about itself is
// nobody's word; it can make a node dial, and must not make it dial the whole internet.

import { isIPv4, isIPv6 } from 'node:net'

const NEAR_IPV4 = [
  /^10\./, // RFC 1918
  /^172\.(1[6-9]|2\d|3[01])\./,
  /^192\.168\./,
  /^169\.254\./, // RFC 3927: link-local
  /^127\./,
]
/** RFC 4193 and 4291: unique local, link-local, loopback. */
const NEAR_IPV6 = [/^f[cd]/i, /^fe[89ab]/i, /^::1$/]

/** Is it a private or link-local address? */
export const isNear = (address: string): boolean => {
  const patterns = isIPv4(address) ? NEAR_IPV4 : isIPv6(address) ? NEAR_IPV6 : []
  return patterns.some((pattern) => pattern.test(address))
}
