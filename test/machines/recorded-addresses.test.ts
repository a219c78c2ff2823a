// Which addresses a manager that starts finds in its ledger.

import t from 'tap'
import { recordedAddresses } from '../../src/machines/recorded-addresses.ts'
import type { Assigned, RecordedTask } from '../../src/records.ts'

const handOut = (nodeId: string, atMs: number, address?: string): Assigned => ({
  kind: 'assigned',
  seq: 1,
  attempt: 1,
  nodeId,
  bootId: '0000000000000001',
  hostName: nodeId,
  ...(address === undefined ? {} : { address }),
  atMs,
})

const task = (...assigned: Assigned[]): RecordedTask => {
  const request = { job_addr: 'noop:', arguments: [], timeout_ms: 0 }
  const submission = { first: 1, key: 'k', batch: 'b', tasks: [request], atMs: 0 }
  const counts = { attempt: 1, failures: 0, losses: 0, notBeforeMs: 0 }
  return { seq: 1, submission, request, ...counts, assigned }
}

t.test('of each node the newest address, and the latest hand-outs first', async (t) => {
  const tasks = [
    task(handOut('a', 1, 'ws://old:1'), handOut('b', 2, 'ws://b:1')),
    task(handOut('a', 3, 'ws://a:1')),
    task(),
  ]
  t.same(recordedAddresses(tasks), ['ws://a:1', 'ws://b:1'])
})

t.test('a node that listens no more is left alone', async (t) => {
  t.same(recordedAddresses([task(handOut('a', 1, 'ws://a:1'), handOut('a', 2))]), [])
})

t.test('an address is dialled once, for the guests of a node too', async (t) => {
  const tasks = [task(handOut('a', 1, 'ws://a:1'), handOut('a/guest', 1, 'ws://a:1'))]
  t.same(recordedAddresses(tasks), ['ws://a:1'])
})

t.test('no more are dialled than the bound, the newest', async (t) => {
  const tasks = [1, 2, 3].map((n) => task(handOut(`n${n}`, n, `ws://n:${n}`)))
  t.same(recordedAddresses(tasks, 2), ['ws://n:3', 'ws://n:2'])
  t.same(recordedAddresses(tasks).length, 3)
})
