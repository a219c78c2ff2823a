// The manager of a node, made from its parts. Loaded only where a manager is started.

import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { createMemoryLedger } from './ledger/memory.ts'
import type { Programs } from './node-programs.ts'
import { CannotStart, type PrepareRole, type RoleParts } from './node-role.ts'
import type { Ledger, Mesh } from './ports.ts'
import { Events } from './roles/events.ts'
import { startManager } from './roles/manager.ts'

/** The base-36 digits of a ledger's id (protocol, LedgerId). */
const LEDGER_ID_LENGTH = 10

export const prepareManager: PrepareRole = async (parts) => {
  const { clock, random, log, options } = parts
  const ledger = await openLedger(parts)
  const isServing = options.processes ?? false
  return {
    introduction: { ledger_id: ledger.id },
    about:
      options.ledger === 'memory'
        ? 'tasks in memory: they end with this process'
        : 'tasks on disk: they outlive this process',
    features: isServing ? ['processes', 'events'] : ['events'],
    begin: async (mesh, address) => {
      const events = new Events(clock, parts.self.boot_id)
      const programs = isServing ? await openOwnPrograms(parts, mesh, events) : undefined
      const { node_id, boot_id, host_name, features, pid, version } = parts.self
      const manager = await startManager({
        clock,
        random,
        mesh,
        ledger,
        log,
        soon: queueMicrotask,
        self: {
          node_id,
          boot_id,
          host_name,
          features,
          ...(pid === undefined ? {} : { pid }),
          ...(version === undefined ? {} : { version }),
          // Known only once the node listens; read anew at each use.
          get address() {
            return address()
          },
        },
        config: { ...leasesOf(options.pingMs), keepClosedMs: options.keepMs },
        stopped: parts.fail,
        events,
      })
      return {
        handlers: {
          ...manager.handlers,
          ...programs?.processes?.handlers,
          ...events.handlers,
        },
        peerConnected: (peer) => manager.peerConnected(peer),
        peerLost: (peer, how) => manager.peerLost(peer, how),
        ...(programs !== undefined && { drain: () => stopProcesses(programs) }),
        close: async () => {
          events.close()
          await manager.close()
          await programs?.close()
          await ledger.close()
        },
      }
    },
  }
}

/** Loaded only by a manager that was told to run programs. */
const openOwnPrograms = async (
  parts: RoleParts,
  mesh: Mesh,
  events: Events,
): Promise<Programs> => {
  const { openPrograms } = await import('./node-programs.ts')
  return openPrograms(parts, mesh, { isServing: true, tell: (news) => events.tell(news) })
}

const stopProcesses = async ({ processes }: Programs): Promise<void> => {
  await processes?.drain()
}

/** A worker misses three pings before it gives up, and the manager waits for one more. */
const leasesOf = (pingMs: number) => ({
  pingMs,
  workerLeaseMs: 3 * pingMs,
  managerLeaseMs: 4 * pingMs,
})

/** The embedded one is loaded only where it is used: that takes some 40 ms. */
const openLedger = async (parts: RoleParts): Promise<Ledger> => {
  if (parts.options.ledger === 'memory')
    return createMemoryLedger({ id: ledgerId(parts) })
  const { openEmbeddedLedger } = await import('./ledger/open.ts')
  const directory = join(parts.directory, 'ledger')
  const opened = await openEmbeddedLedger({
    directory,
    newId: () => ledgerId(parts),
    notCompacted: (reason) => parts.log.warn('ledger-not-compacted', { reason }),
  })
  if (E.isLeft(opened)) throw new CannotStart(opened.left)
  return opened.right
}

const ledgerId = ({ random }: RoleParts): string =>
  BigInt(`0x${random.hex(8)}`)
    .toString(36)
    .padStart(LEDGER_ID_LENGTH, '0')
    .slice(-LEDGER_ID_LENGTH)
