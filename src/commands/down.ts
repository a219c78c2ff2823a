// down: stops the nodes of this state directory, workers first: they finish what they run
// and hand over the outcomes while the manager still takes them. Returns when all are gone.

import { setTimeout as pause } from 'node:timers/promises'
import { listAddresses, type NodeAddress, stateDirectory } from '../identity/state.ts'
import { type Io, type MeshOptions, Sink } from './io.ts'
import { isAlive } from './liveness.ts'
import { EXIT } from './outcome.ts'

const LOOK_MS = 20
/** How long nothing may be said while workers drain. */
const TELL_MS = 3_000

export const down = async (
  io: Io,
  options: MeshOptions & { readonly now?: boolean },
): Promise<number> => {
  const directory = stateDirectory(options.state, io.env)
  const nodes = listAddresses(directory)
  const stdout = new Sink(io.stdout)
  if (nodes.length === 0) {
    await stdout.line(`nothing runs here (${directory})`)
    return EXIT.ok
  }
  const isNow = options.now === true
  const stderr = new Sink(io.stderr)
  await stop(
    nodes.filter((node) => node.role !== 'manager'),
    { stderr, isNow },
  )
  await stop(
    nodes.filter((node) => node.role === 'manager'),
    { stderr, isNow },
  )
  await stdout.line(`stopped: ${nodes.map((node) => node.host_name).join(', ')}`)
  return EXIT.ok
}

/** TERM drains a node; a second one makes it leave at once. */
const stop = async (
  nodes: readonly NodeAddress[],
  { stderr, isNow }: { readonly stderr: Sink; readonly isNow: boolean },
): Promise<void> => {
  for (const { pid } of nodes) terminate(pid)
  if (isNow) {
    await pause(LOOK_MS)
    for (const { pid } of nodes) terminate(pid)
  }
  let isTold = false
  for (let waited = 0; ; waited += LOOK_MS) {
    const left = nodes.filter((node) => isAlive(node.pid))
    if (left.length === 0) return
    if (waited >= TELL_MS && !isTold) {
      isTold = true
      const names = left.map((node) => node.host_name).join(', ')
      await stderr.line(
        `manyhands: ${names} finishing what is running; to end that: manyhands down --now`,
      )
    }
    await pause(LOOK_MS)
  }
}

const terminate = (pid: number): void => {
  try {
    process.kill(pid, 'SIGTERM')
  } catch {
    // It is gone already.
  }
}
