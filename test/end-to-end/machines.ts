// Two machines on one cable: two network namespaces of Linux joined by a pair of virtual
// interfaces, each with a loopback, an address and multicast of its own, gone after the test.

import { execFileSync, spawnSync } from 'node:child_process'
import type { Test } from 'tap'

const ip = (...args: readonly string[]) =>
  execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] })

export interface Machine {
  readonly address: string
  /** Put before a program, runs it on that machine. */
  readonly within: readonly string[]
  /** The cable out of this machine, and in again. */
  unplug(): void
  plug(): void
}

/** Why there can be none here, or false. */
export const noMachines = ((): false | string => {
  const name = `mh-${process.pid}-try`
  const made = spawnSync('ip', ['netns', 'add', name])
  if (made.error !== undefined) return 'ip is not installed (iproute2)'
  if (made.status !== 0) return 'network namespaces cannot be made here'
  const joined = spawnSync('ip', [
    ...['link', 'add', 'cable', 'netns', name, 'type', 'veth'],
    ...['peer', 'name', 'plug', 'netns', name],
  ])
  ip('netns', 'delete', name)
  return joined.status === 0 ? false : 'virtual interfaces cannot be made here'
})()

export const twoMachines = (t: Test): readonly [Machine, Machine] => {
  const names = [1, 2].map((at) => `mh-${process.pid}-${at}`)
  const [here = '', there = ''] = names
  t.teardown(() => {
    for (const name of names) ip('netns', 'delete', name)
  })
  for (const name of names) ip('netns', 'add', name)
  const ends = ['type', 'veth', 'peer', 'name', 'cable', 'netns', there]
  ip('link', 'add', 'cable', 'netns', here, ...ends)
  const machine = (name: string, address: string): Machine => {
    const set = (...args: readonly string[]) => ip('-n', name, 'link', 'set', ...args)
    ip('-n', name, 'address', 'add', `${address}/24`, 'dev', 'cable')
    set('lo', 'up')
    set('cable', 'up')
    return {
      address,
      within: ['ip', 'netns', 'exec', name],
      unplug: () => set('cable', 'down'),
      plug: () => set('cable', 'up'),
    }
  }
  return [machine(here, '10.0.0.1'), machine(there, '10.0.0.2')]
}
