// Guard: who gets past the door of an HTTP face, decided from the head of a request alone,
// before its body is read and before any route sees it.
//
// A face speaks to programs. So whatever only a browser sends is refused: no page can make
// a browser ask here in its user's name, by any trick with names, forms or scripts. A Unix
// socket is its directory's; everybody else brings a token.

import type { IncomingHttpHeaders } from 'node:http'
import type { Rights } from '../../protocol/index.ts'

/** What somebody may ask. Undefined: all that the face itself may. */
export interface Grant {
  readonly rights: Rights | undefined
  /** Who, for the audit log: a token's id, `socket`, or `open`. */
  readonly by: string
}

export interface Refusal {
  readonly status: 400 | 401 | 403 | 405 | 415
  readonly code: string
  /** What is wrong, and what to do. */
  readonly detail: string
}

export interface GuardOptions {
  /** Host headers that are this face: name or IP with its port. Undefined: a Unix socket's. */
  readonly hosts: ReadonlySet<string> | undefined
  /** Without tokens: for clients that cannot send one, on loopback alone. */
  readonly isOpen: boolean
  /** The content types that it takes, without parameters, in lower case. */
  readonly contentTypes: ReadonlySet<string>
  /** What a token gives; undefined: it gives nothing (any more). */
  readonly tokenRights: (token: string) => { rights: Rights; id: string } | undefined
}

export interface RequestHead {
  readonly method: string
  readonly headers: IncomingHttpHeaders
}

/** Headers that browsers send, and programs do not. (Not sec-fetch-mode: Node.js sends it.) */
const OF_BROWSERS = [
  'origin',
  'referer',
  'cookie',
  'sec-fetch-site',
  'sec-fetch-dest',
  'sec-fetch-user',
  'sec-ch-ua',
  'sec-websocket-key',
  'access-control-request-method',
  'access-control-request-headers',
  'access-control-request-private-network',
  'upgrade-insecure-requests',
  'ping-from',
  'ping-to',
  'service-worker',
  'x-requested-with',
] as const

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'])
const WITH_BODY = new Set(['POST', 'PUT', 'PATCH'])

export const guard = (
  { method, headers }: RequestHead,
  options: GuardOptions,
): Grant | Refusal => {
  const browser = OF_BROWSERS.find((name) => headers[name] !== undefined)
  if (browser !== undefined)
    return no(403, 'browser', `a request with ${browser} is a browser's: use a program`)
  if (headers.upgrade !== undefined)
    return no(400, 'upgrade', 'this speaks HTTP and nothing else')
  const { hosts } = options
  const host = headers.host?.toLowerCase()
  if (hosts !== undefined && (host === undefined || !hosts.has(host)))
    return no(403, 'host', `the Host header has to be one of ${[...hosts].join(', ')}`)
  if (!METHODS.has(method)) return no(405, 'method', `${method} is nothing to ask here`)
  const type = headers['content-type']?.split(';')[0]?.trim().toLowerCase()
  if (WITH_BODY.has(method) && (type === undefined || !options.contentTypes.has(type)))
    return no(
      415,
      'content-type',
      `the Content-Type has to be ${[...options.contentTypes].join(' or ')}`,
    )
  return grantOf(headers.authorization, options)
}

const grantOf = (
  authorization: string | undefined,
  { hosts, isOpen, tokenRights }: GuardOptions,
): Grant | Refusal => {
  if (authorization === undefined) {
    if (hosts === undefined) return { rights: undefined, by: 'socket' }
    return isOpen ? { rights: undefined, by: 'open' } : NO_TOKEN
  }
  const token = /^Bearer ([A-Za-z0-9_-]{1,200})$/i.exec(authorization)?.[1]
  const given = token === undefined ? undefined : tokenRights(token)
  return given === undefined ? BAD_TOKEN : { rights: given.rights, by: given.id }
}

const no = (status: Refusal['status'], code: string, detail: string): Refusal => ({
  status,
  code,
  detail,
})

const HOW =
  'make one where this node runs, with: manyhands token create, and send it as Authorization: Bearer TOKEN'
const NO_TOKEN = no(401, 'no-token', `this takes a token; ${HOW}`)
const BAD_TOKEN = no(401, 'token', `this token is unknown, or has ended; ${HOW}`)
