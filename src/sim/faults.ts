// What goes wrong in a world, and how each of it ends: by itself after its time, or when all
// heals.

import { orderAgain, tellAstray } from './odd-requests.ts'
import type { Fault } from './scenario.ts'
import type { Node, World } from './world.ts'

/** Plans the faults of the world's scenario, and the healing of them all. */
export const planFaults = (world: World): void => {
  const { scenario, schedule } = world
  const open = new Set<() => void>()
  for (const fault of scenario.faults)
    schedule.at(fault.atMs, () => {
      const undo = begin(world, fault)
      if (undo === undefined) return
      world.faults += 1
      world.tell?.({ kind: 'fault', atMs: schedule.nowMs, what: describe(fault) })
      const forMs = lengthOf(fault)
      if (forMs === undefined) return
      const end = (): void => {
        if (!open.delete(end)) return
        undo()
        const what = `${describe(fault)} is over`
        world.tell?.({ kind: 'fault', atMs: schedule.nowMs, what })
      }
      open.add(end)
      schedule.at(schedule.nowMs + forMs, end)
    })
  schedule.at(scenario.healMs, () => {
    for (const end of [...open]) end()
    world.tell?.({ kind: 'healed', atMs: schedule.nowMs })
  })
}

/** How long it lasts; undefined: it is over when it has happened. */
const lengthOf = (fault: Fault): number | undefined => {
  switch (fault.what) {
    case 'crash':
      return fault.downMs
    case 'stop':
      return fault.graceMs + fault.downMs
    case 'freeze':
    case 'partition':
    case 'slow':
    case 'full':
    case 'ledger':
    case 'slow-disk':
      return fault.forMs
    default:
      return undefined
  }
}

/** One line for the history and for the list of a failing seed. */
export const describe = (fault: Fault): string => {
  switch (fault.what) {
    case 'crash':
      return `${fault.node} ${fault.silent ? 'loses power' : 'crashes'}${
        fault.newLedger === undefined ? '' : ' and its disk'
      }`
    case 'stop':
      return `${fault.node} is stopped in good order`
    case 'freeze':
      return `${fault.node} freezes`
    case 'cut':
      return `${fault.from} and ${fault.to} are cut`
    case 'half-open':
      return `${fault.from} and ${fault.to} are cut, ${fault.from} alone hears it`
    case 'partition':
      return `nothing passes from ${fault.from.join()} to ${fault.to.join()}${
        fault.both ? ' or back' : ''
      }`
    case 'slow':
      return `${fault.from} to ${fault.to} is ${fault.times} times slower`
    case 'full':
      return `the disk of ${fault.node} is full`
    case 'ledger':
      return fault.how === 'fenced'
        ? `the ledger of ${fault.node} is taken over`
        : `the ledger of ${fault.node} fails`
    case 'slow-disk':
      return `the disk of ${fault.node} is ${fault.times} times slower`
    case 'wall':
      return `the wall clock of ${fault.node} is set by ${fault.byMs} ms`
    case 'launcher':
      return `the launcher of ${fault.node} dies`
    case 'stray':
      return `${fault.node} tells how a task ended that it was never given`
    case 'again':
      return `${fault.node} is given a task again that it has`
  }
}

const nothing = (): void => undefined

/** Lets it happen; gives what ends it, or undefined if it could not happen. */
const begin = (world: World, fault: Fault): (() => void) | undefined => {
  switch (fault.what) {
    case 'crash':
      return crash(world, fault)
    case 'stop':
      return stop(world.node(fault.node), fault.graceMs)
    case 'freeze':
      return freeze(world.node(fault.node))
    case 'cut':
    case 'half-open':
      return cut(world, fault)
    case 'partition':
      return partition(world, fault)
    case 'slow': {
      const path = world.network.paths.get(fault.from, fault.to)
      path.slowness *= fault.times
      return () => {
        path.slowness /= fault.times
      }
    }
    case 'full':
    case 'slow-disk':
      return harmDisk(world, fault)
    case 'ledger':
      return failLedger(world, fault)
    case 'wall': {
      const { life } = world.node(fault.node)
      if (life !== undefined) life.wallOffsetMs += fault.byMs
      return nothing
    }
    case 'launcher':
      return loseRuns(world, fault.node)
    case 'stray':
      return tellAstray(world, fault) ? nothing : undefined
    case 'again':
      return orderAgain(world, fault) ? nothing : undefined
  }
}

const crash = (world: World, fault: Fault & { what: 'crash' }) => {
  const node = world.node(fault.node)
  const { life } = node
  if (life === undefined) return undefined
  node.crash(fault)
  if (fault.newLedger !== undefined) world.renewLedger(fault.node, fault.newLedger)
  return () => node.boot()
}

const stop = (node: Node, graceMs: number) => {
  const { life } = node
  if (life === undefined || life.isFrozen) return undefined
  const end = (): void => {
    if (node.life === life) node.crash({ silent: false, kept: 1 })
  }
  life.hear(() => node.leave(graceMs, () => life.schedule.at(life.schedule.nowMs, end)))
  return () => {
    end() // it took longer than it was given
    node.boot()
  }
}

const freeze = (node: Node) => {
  const { life } = node
  if (life === undefined || life.isFrozen) return undefined
  life.isFrozen = true
  return () => life.wake()
}

const cut = (world: World, fault: Fault & { what: 'cut' | 'half-open' }) => {
  const links = world.linksOf(fault.from, fault.to)
  if (links.length === 0) return undefined
  for (const ends of links) {
    const [end] = ends
    end.sever()
    for (const one of ends)
      if (fault.what === 'cut' || one.owner.name === fault.from)
        one.life.hear(() => one.finish({ clean: true, isTold: true }))
  }
  return nothing
}

const partition = (world: World, fault: Fault & { what: 'partition' }) => {
  const { paths } = world.network
  const blocked = fault.from.flatMap((from) =>
    fault.to.flatMap((to) =>
      fault.both ? [paths.get(from, to), paths.get(to, from)] : [paths.get(from, to)],
    ),
  )
  for (const path of blocked) path.block()
  return () => {
    for (const path of blocked) path.unblock()
  }
}

const harmDisk = (world: World, fault: Fault & { what: 'full' | 'slow-disk' }) => {
  const disk = world.diskOf(fault.node)
  if (fault.what === 'full') {
    if (disk.isFull) return undefined
    disk.isFull = true
    return () => {
      disk.isFull = false
    }
  }
  disk.slowness *= fault.times
  return () => {
    disk.slowness /= fault.times
  }
}

/** It ends when it hears of it; if nothing is committed meanwhile, it never does. */
const failLedger = (world: World, fault: Fault & { what: 'ledger' }) => {
  const manager = world.managers.find(({ name }) => name === fault.node)
  if (manager?.life === undefined || manager.store.failing !== undefined) return undefined
  manager.store.failing = fault
  return () => {
    if (manager.life === undefined) manager.boot()
    else if (!manager.store.hasFailed) manager.store.failing = undefined
    else manager.restart()
  }
}

const loseRuns = (world: World, name: string) => {
  const runner = world.workers.find((worker) => worker.name === name)?.runner
  if (runner === undefined || runner.running.size === 0) return undefined
  for (const run of [...runner.running])
    if (run.state === 'running') run.lose('launcher-lost')
  return nothing
}
