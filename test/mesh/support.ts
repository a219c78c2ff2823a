// What the mesh's tests share: nodes with real sockets on loopback and an echo for a role.

import * as E from 'fp-ts/lib/Either.js'
import type { AnswerOf, Introduction, Kind, RequestOf } from '../../protocol/index.ts'
import { systemClock, systemRandom } from '../../src/clock.ts'
import type { AskFailure } from '../../src/failures.ts'
import { NodeMesh, type NodeMeshOptions, type Role } from '../../src/mesh/mesh.ts'
import type { Log, LogFields, Peer } from '../../src/ports.ts'
import { memberOf } from './members.ts'

/** A list that grows, and can be waited on. */
export const watched = <A>() => {
  const items: A[] = []
  const waiting = new Set<() => void>()
  const add = (item: A) => {
    items.push(item)
    for (const check of [...waiting]) check()
  }
  /** The `count`-th item that fits, once it is there. */
  const when = (fits: (item: A) => boolean, count = 1) =>
    new Promise<A>((resolve) => {
      const check = () => {
        const item = items.filter(fits)[count - 1]
        if (item === undefined) return
        waiting.delete(check)
        resolve(item)
      }
      waiting.add(check)
      check()
    })
  return { items, add, when }
}

/** A log that is kept. */
export const keptLog = () => {
  const lines = watched<{
    readonly level: keyof Log
    readonly event: string
    readonly fields: LogFields
  }>()
  const at =
    (level: keyof Log) =>
    (event: string, fields: LogFields = {}) =>
      lines.add({ level, event, fields })
  const log: Log = {
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    debug: at('debug'),
  }
  return { log, lines }
}

interface Heard {
  readonly what: 'up' | 'down'
  readonly peer: Peer
  readonly clean?: boolean
  readonly isExpelled?: true
}

/** A role that answers pings and goodbyes, and keeps what it hears. */
export const echoRole = () => {
  const { items: heard, add, when } = watched<Heard>()
  const role: Role = {
    handlers: {
      ManagerPing: ({ rel }, respond) => respond('ManagerPong', { rel }),
      ManagerBye: (_body, respond) => respond('Ack', {}),
    },
    peerConnected: (peer) => add({ what: 'up', peer }),
    peerLost: (peer, how) => add({ what: 'down', peer, ...how }),
  }
  return {
    role,
    heard,
    when: (what: Heard['what'], count = 1) => when((one) => one.what === what, count),
  }
}

type Options = Partial<Omit<NodeMeshOptions, 'self'>> & {
  readonly self?: Partial<Introduction>
  /** What is done with the mesh before it listens. */
  readonly before?: (mesh: NodeMesh) => void
}

/** A node on loopback, listening at any free port. The caller closes `mesh`. */
export const openNode = async (options: Options = {}) => {
  const { log, lines } = keptLog()
  const echo = echoRole()
  const fatal = watched<string>()
  const { self, transport } = await memberOf(options.self)
  const mesh = new NodeMesh({
    transport,
    address: '127.0.0.1',
    port: 0,
    keeps: ['manager'],
    clock: systemClock,
    random: systemRandom,
    log,
    onFatal: fatal.add,
    ...options,
    self,
  })
  options.before?.(mesh)
  const opened = await mesh.open(echo.role)
  if (E.isLeft(opened)) throw new Error(opened.left.reason)
  const { url, port } = opened.right
  return { mesh, self, url, port, lines, fatal, ...echo }
}

interface Asker {
  ask<K extends Kind>(
    kind: K,
    body: RequestOf<K>,
    timeoutMs: number,
    settle: (outcome: E.Either<AskFailure, AnswerOf<K>>) => void,
  ): void
}

/** An ask on a connection, as a promise. */
export const askOn = <K extends Kind>(
  connection: Asker,
  kind: K,
  body: RequestOf<K>,
): Promise<E.Either<AskFailure, AnswerOf<K>>> =>
  new Promise((resolve) => connection.ask(kind, body, 2000, resolve))

/** An ask of a node, as a promise. */
export const askNode = <K extends Kind>(
  mesh: NodeMesh,
  to: string,
  kind: K,
  body: RequestOf<K>,
): Promise<E.Either<AskFailure, AnswerOf<K>>> =>
  new Promise((resolve) => mesh.ask(to, kind, body, 2000, resolve))
