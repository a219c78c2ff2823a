// The manager: keeps tasks, gives them to workers, and answers clients.
//
// Decisions are the machines' (roster.ts, tasks.ts, placement.ts); here their effects are
// performed and what comes of them is told to them again. What comes in together is dealt
// with together: placement, the commit, long polls and timers run once, at the end of a
// turn. It needs nothing of the outside but its ports, so a simulator can drive it.

import type { Handlers, Kind, Respond } from '../../protocol/index.ts'
import { concerns } from '../machines/entitlement.ts'
import { managerDefaults } from '../machines/manager-config.ts'
import { recordedAddresses } from '../machines/recorded-addresses.ts'
import type { TaskEffect } from '../machines/task-events.ts'
import { TaskTable } from '../machines/tasks.ts'
import type { Cancel, Loss, Peer } from '../ports.ts'
import type { RecordedTask } from '../records.ts'
import { ManagerClients } from './manager-clients.ts'
import { Commits } from './manager-commits.ts'
import type { Contact, Kernel, ManagerDeps } from './manager-kernel.ts'
import { ManagerLogs } from './manager-logs.ts'
import { ManagerNews } from './manager-news.ts'
import { Waits } from './manager-waits.ts'
import { ManagerWorkers } from './manager-workers.ts'

export type { ManagerDeps } from './manager-kernel.ts'

export interface Manager {
  readonly handlers: Handlers<Peer>
  peerConnected(peer: Peer): void
  /** `clean`: the socket ended by FIN or RST, not by silence. */
  peerLost(peer: Peer, how: Loss): void
  readonly counts: TaskTable['counts']
  /** Takes nothing more, records what is decided. Workers keep their tasks and come back. */
  close(): Promise<void>
}

/** Of so many open tasks a few milliseconds more are nothing to anybody. */
const MANY = 32

/** Reads the ledger, then manages. */
export const startManager = async (deps: ManagerDeps): Promise<Manager> => {
  const replayed: RecordedTask[] = []
  for await (const task of deps.ledger.replay()) replayed.push(task)
  return createManager(deps, replayed)
}

/** A manager over a ledger whose open tasks were read. */
export const createManager = (
  deps: ManagerDeps,
  replayed: readonly RecordedTask[] = [],
): Manager => {
  const { clock, ledger, log, mesh, soon } = deps
  const config = { ...managerDefaults, ...deps.config }
  const table = new TaskTable(config, ledger.id, ledger.nextSequence())
  const waits = new Waits(clock, config.waitsPerClient)
  const peers = new Map<Peer, Contact>()
  let isTurning = false
  let alarm: Cancel | undefined
  let alarmAtMs = Number.POSITIVE_INFINITY

  const kernel: Kernel = {
    deps,
    config,
    ledgerId: ledger.id,
    table,
    find: (taskId, where) => {
      const task = table.find(taskId)
      return task !== undefined && concerns(task, where) ? task : undefined
    },
    waits,
    peers,
    sinceMs: clock.now(),
    isClosing: false,
    run: (event, own) => {
      for (const effect of table.apply(event)) if (own?.(effect) !== true) perform(effect)
      kernel.turn()
    },
    turn: () => {
      if (isTurning) return
      isTurning = true
      soon(endTurn)
    },
    afterCommit: (ack) => commits.afterwards(ack),
    at: () => ({ nowMs: clock.now(), wallMs: clock.wall() }),
  }
  const workers = new ManagerWorkers(kernel)
  const clients = new ManagerClients(kernel)
  const logs = new ManagerLogs(kernel, workers)
  const news = new ManagerNews(deps)

  const commits = new Commits(ledger, clock, {
    durable: (changes) => kernel.run({ kind: 'durable', changes, ...kernel.at() }),
    notStored: (change) => {
      const batch = table.batch(change.submission.batch)
      if (batch !== undefined) waits.stir(batch)
      kernel.run({ kind: 'not-stored', change })
      clients.notStored(change)
    },
    hasMany: () => table.open >= MANY,
    stopped: (why) => {
      log.error('ledger-stopped', { why })
      kernel.isClosing = true
      for (const peer of peers.keys()) mesh.terminate(peer.nodeId, why)
      deps.stopped?.(why)
    },
  })

  const perform = (effect: TaskEffect): void => {
    switch (effect.kind) {
      case 'record':
        commits.add(effect.change)
        return
      case 'submitted':
        clients.submitted(effect.submission)
        news.submitted(effect.submission, (seq) => `${ledger.id}-${seq}`)
        return
      case 'execute':
        workers.asks.execute(effect.worker, effect.tasks)
        return
      case 'abort':
        workers.asks.abort(effect.worker, effect.tasks)
        return
      case 'ask':
        workers.asks.askStatus(effect.worker, effect.tasks)
        return
      case 'closed':
        waits.closed(effect.task)
        news.closed(effect.task)
        return
      case 'moved':
        waits.moved(effect.task)
        return
      case 'cancelled':
        clients.cancelled(effect.ticket)
        return
      case 'retire':
        retire(effect.seqs, effect.refs)
        return
      case 'note':
        log.warn(effect.event, { task: effect.taskId, node: effect.nodeId })
        return
      case 'taken':
      case 'refuse':
      case 'ack':
      case 'drop':
        return // taken by the handler whose event they answer
    }
  }

  const retire = (
    seqs: readonly number[],
    refs: ReadonlyMap<string, readonly string[]>,
  ): void => {
    ledger.retire(seqs)
    for (const [nodeId, all] of refs) {
      const there = workers.reach(nodeId)
      if (there === undefined) continue // its own retention will do
      for (let i = 0; i < all.length; i += 1000)
        mesh.ask(
          there.peerId,
          'BlobRelease',
          { refs: all.slice(i, i + 1000) },
          10_000,
          () => {},
        )
    }
  }

  const endTurn = (): void => {
    isTurning = false
    if (!kernel.isClosing)
      for (const effect of table.apply({ kind: 'place', ...kernel.at() })) perform(effect)
    commits.flush()
    waits.tell()
    setAlarm()
    if (table.wantsPlacing) clock.after(1, kernel.turn)
  }

  const setAlarm = (): void => {
    const dueMs = table.nextDueMs(clock.now())
    if (dueMs === alarmAtMs) return
    alarm?.()
    alarmAtMs = dueMs
    if (dueMs === Number.POSITIVE_INFINITY || kernel.isClosing) return
    alarm = clock.after(Math.max(1, dueMs - clock.now()), () => {
      alarmAtMs = Number.POSITIVE_INFINITY
      kernel.run({ kind: 'tick', ...kernel.at() })
    })
  }

  /** A client's request, while there is a ledger to serve it from. */
  const forClients =
    <K extends Kind, B>(serve: (body: B, respond: Respond<K>, from: Peer) => void) =>
    (body: B, respond: Respond<K>, from: Peer): void => {
      // `Error` is an answer of every kind; the compiler cannot see that for an open K.
      const refuse = respond as unknown as Respond<'NodesList'>
      if (commits.isStopped) {
        refuse('Error', { code: 'shutting-down' })
        return
      }
      serve(body, respond, from)
    }

  const handlers: Handlers<Peer> = {
    ManagerRequest: (body, respond, from) =>
      workers.onManagerRequest(body, respond, from),
    ManagerBye: (body, respond, from) => {
      respond('Ack', {})
      workers.onManagerBye(body, from)
    },
    ManagerPing: ({ rel }, respond, from) => {
      if (workers.managed(rel, from) === undefined) return respond('NotMine', {})
      respond('ManagerPong', { rel })
    },
    TaskStarted: (body, respond, from) => {
      const worker = workers.managed(body.rel, from)
      if (worker === undefined) return respond('NotMine', {})
      const { task_id: taskId, attempt, at_ms: atMs, pid } = body
      kernel.run({ kind: 'started', worker, taskId, attempt, atMs, pid, ...kernel.at() })
      news.started(() => {
        const task = table.find(taskId)
        return task?.worker === worker && task.attempt === attempt ? task : undefined
      }, pid)
      respond('Ack', {})
    },
    TaskCompleted: (body, respond, from) => {
      const worker = workers.managed(body.rel, from)
      if (worker === undefined) return respond('NotMine', {})
      const { task_id: taskId, attempt, result } = body
      const { nodeId } = worker
      kernel.run(
        { kind: 'completed', nodeId, taskId, attempt, result, ...kernel.at() },
        (effect) => acked(effect, () => respond('Ack', {})),
      )
    },
    TaskError: (body, respond, from) => {
      const worker = workers.managed(body.rel, from)
      if (worker === undefined) return respond('NotMine', {})
      const { task_id: taskId, attempt, error, result } = body
      const { nodeId } = worker
      kernel.run(
        { kind: 'error', nodeId, taskId, attempt, error, result, ...kernel.at() },
        (effect) => acked(effect, () => respond('Ack', {})),
      )
    },
    BlobRead: (_, respond) => respond('NotFound', {}),
    BlobRelease: (_, respond) => respond('Ack', {}),
    TasksSubmit: forClients((body, respond, from) => clients.submit(body, respond, from)),
    TasksList: forClients((body, respond, from) => clients.list(body, respond, from)),
    TaskShow: forClients((body, respond, from) => clients.show(body, respond, from)),
    TasksWait: forClients((body, respond, from) => clients.wait(body, respond, from)),
    TasksCancel: forClients((body, respond, from) => clients.cancel(body, respond, from)),
    TasksRetry: forClients((body, respond, from) => clients.retry(body, respond, from)),
    TasksExplain: forClients((body, respond, from) =>
      clients.explain(body, respond, from),
    ),
    TaskInput: forClients((body, respond, from) => logs.input(body, respond, from)),
    TaskLogRead: forClients((body, respond, from) => logs.read(body, respond, from)),
    NodesList: forClients((_, respond, from) => clients.nodes(respond, from)),
  }

  const acked = (effect: TaskEffect, ack: () => void): boolean => {
    if (effect.kind !== 'ack') return false
    if (effect.when === 'durable') commits.afterwards(ack)
    else ack()
    return true
  }

  for (const task of replayed) {
    const forgotten = ledger.forgotten(task.submission.batch)
    table.apply({ kind: 'restored', task, forgotten, ...kernel.at() })
  }
  for (const effect of table.apply({ kind: 'began', ...kernel.at() })) perform(effect)
  workers.awaitRestored()
  const open = replayed.filter(({ closed }) => closed === undefined)
  for (const address of recordedAddresses(open)) mesh.dial(address)
  kernel.turn()

  return {
    handlers,
    peerConnected: (peer) => {
      peers.set(peer, { sinceMs: clock.now() })
      news.connected(peer)
      workers.peerConnected(peer)
    },
    peerLost: (peer, how) => {
      peers.delete(peer)
      news.lost(peer, how)
      waits.peerLost(peer)
      clients.peerLost(peer)
      workers.peerLost(peer, how)
    },
    get counts() {
      return table.counts
    },
    close: async () => {
      kernel.isClosing = true
      await commits.drained()
      waits.close()
      workers.close()
      alarm?.()
    },
  }
}
