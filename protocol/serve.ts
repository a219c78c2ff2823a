// Serve: a table of handlers as the one function that a conversation calls.

import type { Handlers, Kind, RequestOf, Respond } from './exchanges/index.ts'
import type { Handle } from './requests.ts'

/** Calls the handler of a kind with `from`; a kind without one gets Error{wrong-role}. */
export const serve =
  <From>(handlers: Handlers<From>, from: From): Handle =>
  <K extends Kind>(kind: K, body: RequestOf<K>, respond: Respond<K>) => {
    const handler = handlers[kind]
    if (handler !== undefined) handler(body, respond, from)
    // Error answers every kind; the compiler does not see it for a K that is open.
    else (respond as Respond<Kind>)('Error', { code: 'wrong-role' })
  }
