// Trace: the W3C trace context of a request, handed to the program that it starts: in its
// environment, where tracing libraries look for it.

import type { Asked } from './route.ts'

const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/

/** TRACEPARENT, and TRACESTATE beside it; nothing where the request has none that is one. */
export const traceOf = ({
  header,
}: Pick<Asked, 'header'>): Readonly<Record<string, string>> => {
  const parent = header('traceparent')
  if (parent === undefined || !TRACEPARENT.test(parent)) return {}
  const state = header('tracestate')
  const isSensible = state !== undefined && state.length <= 512
  return { TRACEPARENT: parent, ...(isSensible && { TRACESTATE: state }) }
}

/** What is started, with the trace in its environment; what it says itself, wins. */
export const traced = <A extends { readonly env?: Readonly<Record<string, string>> }>(
  one: A,
  trace: Readonly<Record<string, string>>,
): A =>
  Object.keys(trace).length === 0 ? one : { ...one, env: { ...trace, ...one.env } }
