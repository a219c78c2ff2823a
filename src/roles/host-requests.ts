// Host requests: what clients ask of this node by way of a hub. What only reads is done on
// the hub's word; all else only with the client's own signature, once, whoever carries it
// how often. Each request then meets the same table of who may ask what, and the same
// handlers, as if the client had asked here itself.

import { denialOf } from '../../protocol/access.ts'
import { decodeRequest, encodeAnswer } from '../../protocol/codec.ts'
import {
  type AnswerOf,
  type ErrorAnswer,
  type Handlers,
  isKind,
  type Kind,
  packed,
  type RequestOf,
  type Respond,
  type Rights,
  rightsOf,
  rowOf,
  serve,
  unpacked,
} from '../../protocol/index.ts'
import { type Answer, ReplayTable } from '../machines/replay-table.ts'
import { LONGEST_MS, signedFault } from '../machines/signed-request.ts'
import type { Audit, Clock, Log, Peer, Signer, Verified, VerifySigned } from '../ports.ts'

export interface HostRequestsPorts {
  readonly clock: Clock
  readonly log: Log
  readonly audit: Audit
  readonly self: Pick<Peer, 'hostName' | 'role'>
  readonly verify: VerifySigned
  /** Of everything that this node serves. */
  readonly handlers: Handlers<Peer>
  /** Why that hub is not heard here; undefined: it is. */
  readonly objection: (hub: Peer) => string | undefined
}

export type HostAsk = RequestOf<'HostRequest'>

/** What a hub may ask by itself: everything that only reads. */
const READS = rightsOf(['read'])

export class HostRequests {
  readonly handlers: Handlers<Peer>
  readonly #ports: HostRequestsPorts
  readonly #replays = new ReplayTable()
  readonly #readers = new WeakMap<Peer, Peer>()
  readonly #bootMs: number
  readonly #objected = new Set<string>()

  constructor(ports: HostRequestsPorts) {
    this.#ports = ports
    this.#bootMs = ports.clock.wall()
    this.handlers = {
      HostRequest: (body, respond, from) => {
        const no = this.#objectionTo(from)
        if (no !== undefined) respond('Error', { code: 'forbidden', message: no })
        else this.answer(body, respond, from)
      },
    }
  }

  /** `carrier`: who brings it, a hub or this node itself. */
  answer(ask: HostAsk, respond: Respond<'HostRequest'>, carrier: Peer): void {
    const { kind, body, s, sig, cert_id, cert } = ask
    if (s !== undefined && sig !== undefined && cert_id !== undefined) {
      this.#signed({ s, sig, cert_id, cert }, respond, carrier)
      return
    }
    // Half of a signature is none, and not a read either.
    const isHalf = s !== undefined || sig !== undefined || cert_id !== undefined
    if (isHalf || kind === undefined || body === undefined) {
      respond('Error', { code: 'malformed', path: isHalf ? 'sig' : 'kind' })
      return
    }
    this.#serve(kind, body, this.#readerBy(carrier), (answer) =>
      respond('HostAnswer', { ...answer }),
    )
  }

  /** Who reads by way of that hub: the same for as long as it is connected. */
  #readerBy(carrier: Peer): Peer {
    const known = this.#readers.get(carrier)
    if (known !== undefined) return known
    const reader = askerOf(carrier, READS)
    this.#readers.set(carrier, reader)
    return reader
  }

  /** What a face of this node asks of it, with what that may: it need not sign to itself. */
  askHere<K extends Kind>(
    kind: K,
    body: RequestOf<K>,
    asker: Signer,
    self: Peer,
    done: (answer: AnswerOf<K>) => void,
  ): void {
    const read = decodeRequest(kind, body)
    if (read._tag === 'Left') {
      done({ kind: 'Error', body: read.left } as AnswerOf<K>)
      return
    }
    const respond = (answerKind: string, answer: object): void =>
      // An answer of the row of K, whose pairs of kind and body the compiler cannot follow.
      done({ kind: answerKind, body: answer } as unknown as AnswerOf<K>)
    this.#handle(read.right, askerOf(self, asker.rights, asker), respond)
  }

  #signed(
    ask: Parameters<VerifySigned>[0],
    respond: Respond<'HostRequest'>,
    carrier: Peer,
  ): void {
    const verdict = this.#ports.verify(ask)
    if (verdict === 'certificate-needed') {
      respond('CertificateNeeded', {})
      return
    }
    if ('fault' in verdict) {
      this.#refused(carrier, undefined, verdict.fault)
      respond('Error', { code: 'forbidden', message: verdict.fault })
      return
    }
    const fault = this.#do(verdict, carrier, (answer) =>
      respond('HostAnswer', { ...answer }),
    )
    if (fault === undefined) return
    this.#refused(carrier, verdict.signer, fault.message ?? fault.code)
    respond('Error', fault)
  }

  /** Once, whatever comes again. Gives why it is not done. */
  #do(
    { request, signer, content }: Verified,
    carrier: Peer,
    tell: (answer: Answer) => void,
  ): ErrorAnswer | undefined {
    const nowMs = this.#ports.clock.wall()
    const { hostName } = this.#ports.self
    const here = { hostName, signer: signer.nodeId, nowMs, bootMs: this.#bootMs }
    const fault = signedFault(request, here)
    if (fault !== undefined) return fault
    const { id, exp, kind, body } = request
    const asker = askerOf(carrier, signer.rights, signer)
    // Reading twice is reading.
    if (isReading(kind)) {
      this.#serve(kind, body, asker, tell)
      return undefined
    }
    const key = `${signer.nodeId} ${id}`
    const untilMs = Math.min(exp, nowMs + LONGEST_MS)
    switch (this.#replays.take(key, content, untilMs, nowMs, tell)) {
      case 'again':
        return undefined
      case 'other':
        return { code: 'forbidden', message: OTHER }
      case 'full':
        return { code: 'busy', message: FULL, retry_after_ms: 1000 }
      case 'new':
        this.#serve(kind, body, asker, (answer, isUndone) =>
          isUndone
            ? this.#replays.undone(key, answer)
            : this.#replays.answered(key, answer),
        )
        return undefined
    }
  }

  /** Calls `done` once. `isUndone`: nothing was done, and it may be tried again. */
  #serve(
    kind: string,
    bytes: Uint8Array,
    asker: Peer,
    done: (answer: Answer, isUndone?: boolean) => void,
  ): void {
    const read = readRequest(kind, bytes)
    if ('code' in read) {
      done(answerOf('Error', read))
      return
    }
    this.#handle(read, asker, (answerKind, answer) => {
      const clean = encodeAnswer(read.kind, answerKind, answer)
      done(answerOf(answerKind, clean), isBusy(answerKind, answer))
    })
  }

  /** By the table of who may ask what, then by the handler of the kind; one answer. */
  #handle(
    { kind, body }: Read,
    asker: Peer,
    told: (kind: string, answer: object) => void,
  ): void {
    let isOver = false
    const respond = ((answerKind: string, answer: object): void => {
      if (isOver) throw new Error(`Expected one answer to ${kind}, got ${answerKind} too`)
      isOver = true
      told(answerKind, answer)
    }) as Respond<Kind>
    const { self, handlers, log } = this.#ports
    const denial = denialOf(kind, asker, self)
    if (denial !== undefined) {
      told(denial.kind, denial.body)
      return
    }
    try {
      serve(handlers, asker)(kind, body, respond)
    } catch (error) {
      log.error('a bug while serving a host request', { kind, error: String(error) })
      if (!isOver) told('Error', { code: 'internal' })
    }
  }

  #objectionTo(hub: Peer): string | undefined {
    const no = this.#ports.objection(hub)
    if (no === undefined || this.#objected.has(hub.nodeId)) return no
    this.#objected.add(hub.nodeId)
    this.#refused(hub, undefined, no)
    return no
  }

  #refused(carrier: Peer, signer: Signer | undefined, reason: string): void {
    this.#ports.audit.record('refused', {
      kind: 'HostRequest',
      reason,
      by: signer?.hostName ?? carrier.hostName,
      role: signer === undefined ? carrier.role : 'client',
      node_id: signer?.nodeId ?? carrier.nodeId,
      via: carrier.hostName,
    })
  }
}

const OTHER = 'its id was used for another request'
const FULL = 'too many signed requests in 90 s; try again later'

/** What clients ask: nothing of the relationship between nodes, and nothing in a second cover. */
const isHandedOn = (kind: Kind): boolean =>
  rowOf(kind).scope !== undefined && kind !== 'HubForward'

type Read = { readonly kind: Kind; readonly body: RequestOf<Kind> }

const readRequest = (kind: string, bytes: Uint8Array): Read | ErrorAnswer => {
  if (!isKind(kind) || !isHandedOn(kind)) return { code: 'unknown-kind' }
  const map = unpacked(bytes)
  if (map._tag === 'Left') return { code: 'malformed', path: '' }
  const request = decodeRequest(kind, map.right)
  if (request._tag === 'Right') return request.right
  return request.left.code === 'malformed' ? request.left : { code: 'unknown-kind' }
}

const isReading = (kind: string): boolean => isKind(kind) && rowOf(kind).scope === 'read'

const isBusy = (kind: string, body: object): boolean =>
  kind === 'Error' && 'code' in body && body.code === 'busy'

const answerOf = (kind: string, body: unknown): Answer => ({ kind, body: packed(body) })

/** Who asks, as the handlers see it: the client, at the address of who brings its words. */
const askerOf = (carrier: Peer, rights: Rights, signer?: Signer): Peer => {
  const nodeId = signer?.nodeId ?? carrier.nodeId
  const hostName = signer?.hostName ?? carrier.hostName
  const { bootId, remoteAddress } = carrier
  const introduction = {
    ...carrier.introduction,
    node_type: 'client' as const,
    node_id: nodeId,
    host_name: hostName,
    features: [],
  }
  return {
    nodeId,
    bootId,
    hostName,
    role: 'client',
    introduction,
    remoteAddress,
    address: undefined,
    rights,
  }
}
