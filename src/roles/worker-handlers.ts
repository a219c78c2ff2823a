// Worker handlers: which part of a worker answers each exchange. What belongs to a
// relationship is answered within it; to everybody else it is NotMine.

import type { Handlers } from '../../protocol/index.ts'
import { ledgerOf } from '../machines/worker-task.ts'
import type { WorkerTasks } from '../machines/worker-tasks.ts'
import type { Peer } from '../ports.ts'
import { parseRef } from './kept-outputs.ts'
import type { WorkerLink } from './worker-link.ts'
import type { WorkerOrders } from './worker-orders.ts'
import type { WorkerStreams } from './worker-streams.ts'

export interface HandlersPorts {
  readonly tasks: WorkerTasks
  readonly link: WorkerLink
  readonly orders: WorkerOrders
  readonly streams: WorkerStreams
}

/** The handlers of a worker made of these parts. */
export const workerHandlers = (ports: HandlersPorts): Handlers<Peer> => {
  const { tasks, link, orders, streams } = ports
  return {
    ManagerBye: (body, respond, from) => {
      respond('Ack', {})
      link.bye(from, body.rel)
    },
    ManagerPing: ({ rel }, respond, from) => {
      if (!link.isFromManager(from, rel)) return respond('NotMine', {})
      const { freeSlots: free_slots, running } = tasks
      respond('ManagerPong', { rel, free_slots, running })
    },
    TasksExecute: (body, respond, from) => orders.execute(body, respond, from),
    TasksPing: (body, respond, from) => orders.status(body, respond, from),
    TasksAbord: (body, respond, from) => orders.abort(body, respond, from),
    TaskOutputRead: (body, respond, from) => {
      if (!link.isFromManager(from, body.rel)) return respond('NotMine', {})
      streams.read(body, respond)
    },
    TaskInput: (body, respond, from) => {
      const { rel } = body
      if (rel === undefined || !link.isFromManager(from, rel)) {
        return respond('NotMine', {})
      }
      streams.input(body, respond)
    },
    BlobRead: (body, respond, from) => {
      if (mayHave(link, from, body.ref)) streams.readBlob(body, respond)
      else respond('NotFound', {})
    },
    BlobRelease: ({ refs }, respond, from) => {
      streams.releaseBlobs(refs.filter((ref) => mayHave(link, from, ref)))
      respond('Ack', {})
    },
  }
}

/** Output belongs to the ledger of its task, whoever manages us now. */
const mayHave = (link: WorkerLink, peer: Peer, ref: string): boolean => {
  const at = parseRef(ref)
  return at !== undefined && link.ownsLedger(peer, ledgerOf(at.taskId))
}
