// Document: the whole protocol as one value that becomes protocol/manyhands.json, for
// programs of other languages: generators, validators, the conformance kit.
//
// Everything that a codec or a constant says comes from it. What happens before the first
// frame (the upgrade) and the roles' own times are not this folder's, and are given.

import * as t from 'io-ts'
import { type Exchange, type Feature, WAYS } from './exchange.ts'
import { ErrorAnswer, ErrorCode, type Kind, kinds, rowOf } from './exchanges/index.ts'
import { WORTH_MS } from './flow.ts'
import { INTRODUCTION_MS } from './introduction.ts'
import { CLOSE, DEFAULT_LIMITS, placeOf } from './limits.ts'
import * as scalars from './scalars.ts'
import { SCAN_LIMITS } from './scan.ts'
import { Schemas } from './schema.ts'
import * as scopes from './scopes.ts'
import { shapes } from './table.ts'
import * as task from './task.ts'

/** What the document says that is not said in this folder. */
export interface Surroundings {
  /** The WebSocket's subprotocol. */
  readonly subprotocol: string
  readonly minor: number
  /** Close codes that are the mesh's own, with why. */
  readonly closeCodes: Readonly<Record<number, string>>
  readonly upgrade: unknown
  readonly timing: Readonly<Record<string, number>>
}

/** Why a connection is closed, by the names of CLOSE. */
const CLOSE_REASONS: Readonly<Record<keyof typeof CLOSE, string>> = {
  notAFrame: 'not a frame: text, not MessagePack as here, neither or both of q and a',
  notIntroduced:
    'something else before the introduction, no introduction in time, or another node than before',
  wrongAnswer: 'an answer of another exchange',
  unknownId: 'an answer to an id never issued',
  oldRequestId: 'a request id not greater than the last',
  strikes: 'three strikes',
  twice: 'a second socket between the same two nodes',
  oneself: 'a connection to oneself',
  stalled: 'the peer does not answer, or does not read',
}

const ROLES = {
  manager: 'takes tasks from clients, hands them to workers, records every outcome',
  worker: 'runs programs for one manager at a time',
  client: 'submits, watches and cancels tasks; listens nowhere and is asked nothing',
  hub: 'kept for later',
}

/** What a node may list in its introduction. */
const FEATURES: Readonly<Record<Feature, string>> = {
  membership: 'takes part in renewing certificates and in spreading who was taken out',
  issuer: 'has the key of the authority, or leads to it',
  processes: 'starts, stops and shows programs by name',
  'host-requests': 'answers what a hub hands on',
  events: 'tells what happens there',
}

/** How values stand in JSON and on the wire, and where a schema says less than a node checks. */
const CONVENTIONS = {
  schemas:
    'JSON Schema 2020-12, of what a receiver takes. Fields that it does not know it ignores, at any depth; it sends none itself. A field that is not set is left out, never nil.',
  binary:
    'x-msgpack: bin = on the wire MessagePack bin, of at most x-maxBytes bytes; in JSON, and so for the schema, their base64. Every other text is MessagePack str, in UTF-8.',
  integers:
    'integers are written in any MessagePack integer form, or as float64 with a whole value; none is above 2^53 - 1',
  patterns: 'ECMA-262; ^ and $ are the very beginning and end, a newline is no end',
  differences: [
    'maxLength: a node counts UTF-16 units, not code points; text beyond the basic plane takes two',
    'propertyNames: a node also refuses a map key of more than 255 bytes in UTF-8',
    'x-msgpack: JSON cannot tell text in the place of bytes from bytes; a node does, and refuses it',
  ],
}

/** The content of protocol/manyhands.json. */
export const documentOf = (around: Surroundings) => {
  const named = Object.entries(scalars).flatMap(([name, value]) =>
    value instanceof t.Type ? [[value as t.Mixed, name] as const] : [],
  )
  const schemas = new Schemas(new Map<t.Mixed, string>([...named, ...shapes]))
  const exchanges = Object.fromEntries(
    kinds.map((kind) => [kind, exchangeOf(kind, rowOf(kind), schemas)]),
  )
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: 'urn:manyhands:protocol:1',
    $comment:
      'Written by npm run docs:protocol from the codecs; read protocol/README.md.',
    protocol: 'manyhands',
    major: 1,
    minor: around.minor,
    subprotocol: around.subprotocol,
    features: FEATURES,
    conventions: CONVENTIONS,
    roles: ROLES,
    upgrade: around.upgrade,
    envelope: ENVELOPE,
    scan: { ...SCAN_LIMITS, keys: 'strings; never __proto__', extensions: 'refused' },
    limits: limits(),
    timing: { introduction_ms: INTRODUCTION_MS, ...around.timing },
    close_codes: {
      ...Object.fromEntries(
        Object.entries(CLOSE).map(([name, code]) => [
          code,
          CLOSE_REASONS[name as keyof typeof CLOSE],
        ]),
      ),
      ...around.closeCodes,
    },
    error_codes: ErrorCode.known.words,
    scopes: {
      about:
        'what a client may ask: the scopes of its certificate (upgrade.certificate.rights), each optionally @ and a pattern of host names in which * is any run of characters and ? one of them; a request whose scope it lacks gets Error{forbidden}',
      names: scopes.ScopeName.words,
      default: scopes.DEFAULT_SCOPES,
    },
    error: schemas.of(ErrorAnswer),
    exchanges,
    $defs: schemas.definitions,
  }
}

const id = { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER }

const ENVELOPE = {
  about:
    'One binary WebSocket message is one frame: one MessagePack map of exactly these keys, without extension types. A request has an id of its own, an answer that of its request.',
  request: {
    type: 'object',
    properties: { q: id, k: { type: 'string' }, b: {}, t: id },
    required: ['q', 'k', 'b', 't'],
    additionalProperties: false,
  },
  answer: {
    type: 'object',
    properties: { a: id, k: { type: 'string' }, b: {} },
    required: ['a', 'k', 'b'],
    additionalProperties: false,
  },
  fields: {
    q: 'the id of a request: from 1, greater than every one before in this direction',
    a: 'the id of the request that is answered',
    k: 'the kind of the request or of the answer',
    b: 'the body',
    t: 'how many milliseconds the asker waits',
  },
}

const limits = () => ({
  max_in_flight: DEFAULT_LIMITS.maxInFlight,
  max_frame: DEFAULT_LIMITS.maxFrame,
  places: {
    ordinary: DEFAULT_LIMITS.maxInFlight,
    priority: DEFAULT_LIMITS.priorityPlaces,
    waits: DEFAULT_LIMITS.waitsPlaces,
    aborts: DEFAULT_LIMITS.waitsPlaces,
  },
  strikes: DEFAULT_LIMITS.strikes,
  timeouts_in_a_row: DEFAULT_LIMITS.timeoutsInARow,
  slow_bytes: DEFAULT_LIMITS.slowBytes,
  terminate_bytes: DEFAULT_LIMITS.terminateBytes,
  busy_retry_after_ms: DEFAULT_LIMITS.retryAfterMs,
  inline_bytes: task.INLINE_BYTES,
  data_bytes: task.DATA_BYTES,
  data_on_its_way_ms: WORTH_MS,
  tasks_per_message: task.TASKS_PER_MESSAGE,
})

const exchangeOf = (kind: Kind, row: Exchange, schemas: Schemas) => ({
  about: row.about,
  direction: row.direction,
  ways: WAYS[row.direction].map(([from, to]) => ({ from, to })),
  /** What a client's certificate must give; null: clients do not ask it. */
  scope: row.scope ?? null,
  /** Whether that scope has to hold for the host that is asked. */
  here: row.isHere ?? false,
  place: placeOf(kind),
  /** Where bytes travel that wait for room on a slow link: request, answer or nowhere. */
  data: row.data ?? null,
  /** The name that the peer must have listed before it is asked; none: part of version 1. */
  feature: row.feature ?? null,
  request: schemas.of(row.request),
  answers: Object.fromEntries(
    Object.entries(row.answers).map(([name, codec]) => [name, schemas.of(codec)]),
  ),
})
