// By way of a hub: asks any host of the mesh by its name over what leads to a hub. What only
// reads a host the hub asks for itself; everything else is signed here, and means the same
// however often it arrives.

import { decodeAnswer, encodeRequest } from '../../protocol/codec.ts'
import {
  type AnswerBodyOf,
  type AnswerOf,
  type ErrorAnswer,
  type Kind,
  packed,
  type RequestOf,
  rowOf,
  unpacked,
} from '../../protocol/index.ts'
import { newRequestId, type RequestSigner } from '../identity/signed-requests.ts'
import { ClientError, rejectedBy } from './failures.ts'
import type { Answered, AskOptions } from './link.ts'
import { pause } from './pause.ts'

/** Hands a request to a hub; resolves with what came of it. Rejects with a ClientError. */
export type Forward = (
  body: RequestOf<'HubForward'>,
  options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
) => Promise<Answered<'HubForward'>>

/** How a hub is asked, and who asks. */
export interface HubRoute {
  readonly forward: Forward
  /** Read anew at each request: its certificate may have been renewed. */
  readonly signer: () => RequestSigner
  /** Hosts that have its certificate. */
  readonly known: Set<string>
}

/** For the hub's own answer, after the host's time is over. */
const GRACE_MS = 2_000
const AGAIN_MS = 100
/** Between looks at a host that is away. */
const AWAY_MS = 500

/** Asks the host `hostName`. Rejects with `not-found`, `unreachable`, or as a direct ask. */
export const askViaHub = async <K extends Kind>(
  route: HubRoute,
  hostName: string,
  kind: K,
  body: RequestOf<K>,
  { timeoutMs = 10_000, signal }: AskOptions = {},
): Promise<Answered<K>> => {
  const asking = new Asking(route, hostName, kind, packed(encodeRequest(kind, body)))
  const untilMs = performance.now() + timeoutMs
  for (;;) {
    const leftMs = Math.max(1, Math.ceil(untilMs - performance.now()))
    const { answer, unreachable } = await asking.once(leftMs, signal)
    if (unreachable !== undefined) {
      // Who waits for something waits for its host too: a cut cable is mended.
      if (rowOf(kind).waits !== true || leftMs <= AWAY_MS) throw unreachable
      await pause(AWAY_MS, signal)
    }
    if (answer === undefined) continue
    if (answer.kind !== 'Error') return answer as Answered<K> // the union minus Error
    const error = answer.body as ErrorAnswer // the body of the kind just checked
    const waitMs = againMs(error)
    if (performance.now() + waitMs >= untilMs) throw rejectedBy(kind, error)
    await pause(waitMs, signal)
  }
}

/** How long until it may be asked again; for ever, if the answer is final. */
const againMs = ({ code, retry_after_ms = AGAIN_MS }: ErrorAnswer): number =>
  code === 'busy' || code === 'not-ready' ? retry_after_ms : Number.POSITIVE_INFINITY

/** What came of it; nothing: once more, for the host wants the certificate. */
interface Told<K extends Kind> {
  readonly answer?: AnswerOf<K>
  /** It is not connected to the hub. */
  readonly unreachable?: ClientError
}

/** One request, however often it is sent. */
class Asking<K extends Kind> {
  readonly #route: HubRoute
  readonly #hostName: string
  readonly #kind: K
  readonly #bytes: Uint8Array
  /** The same for each time that it is sent. */
  #id: string | undefined
  readonly #isPlain: boolean
  /** The certificate went with it the last time. */
  #hasShown = false

  constructor(route: HubRoute, hostName: string, kind: K, bytes: Uint8Array) {
    this.#route = route
    this.#hostName = hostName
    this.#kind = kind
    this.#bytes = bytes
    const { scope, isHere } = rowOf(kind)
    this.#isPlain = scope === 'read' && isHere === true
  }

  once(withinMs: number, signal: AbortSignal | undefined): Promise<Told<K>> {
    const body = { host_name: this.#hostName, within_ms: withinMs, ...this.#ask() }
    const options = { timeoutMs: withinMs + GRACE_MS, signal }
    return this.#route.forward(body, options).then((answer) => this.#read(answer))
  }

  #read(answer: Answered<'HubForward'>): Told<K> {
    const { known } = this.#route
    if (answer.kind === 'HubFailed') {
      const failure = failedBy(this.#hostName, answer.body)
      if (answer.body.reason === 'host-unreachable') return { unreachable: failure }
      throw failure
    }
    if (answer.kind === 'CertificateNeeded') {
      // It was there: asked for again it would be asked for for ever.
      if (this.#hasShown) throw notUnderstood(this.#kind)
      known.delete(this.#hostName)
      return {}
    }
    if (!this.#isPlain) known.add(this.#hostName)
    return { answer: readAnswer(this.#kind, answer.body) }
  }

  #ask() {
    if (this.#isPlain) return { kind: this.#kind, body: this.#bytes }
    const { signer, known } = this.#route
    this.#id ??= newRequestId()
    const signed = signer().sign(this.#hostName, this.#kind, this.#bytes, this.#id)
    this.#hasShown = !known.has(this.#hostName)
    if (this.#hasShown) return signed
    const { cert: _, ...rest } = signed
    return rest
  }
}

const readAnswer = <K extends Kind>(
  kind: K,
  { kind: answerKind, body }: AnswerBodyOf<'HubForward', 'HubForwarded'>,
): AnswerOf<K> => {
  const map = unpacked(body)
  if (map._tag === 'Left') throw notUnderstood(kind)
  const answer = decodeAnswer(kind, answerKind, map.right)
  if (answer._tag === 'Left') throw notUnderstood(kind)
  return answer.right
}

const notUnderstood = (exchange: Kind): ClientError =>
  new ClientError({ kind: 'protocol', exchange, detail: 'handed on by a hub' })

const failedBy = (
  host: string,
  { reason, message, since_ms }: AnswerBodyOf<'HubForward', 'HubFailed'>,
): ClientError =>
  reason === 'unknown-host'
    ? new ClientError({
        kind: 'not-found',
        what: `host ${host}`,
        list: 'manyhands nodes',
      })
    : new ClientError({
        kind: 'unreachable',
        host,
        reason: message,
        ...(since_ms !== undefined && { sinceMs: since_ms }),
      })
