// The log of events: what readers get by cursor, and when they are told that they missed some.

import fc from 'fast-check'
import t from 'tap'
import type { Event, Topic } from '../../protocol/index.ts'
import { EventLog } from '../../src/machines/event-log.ts'

const event = (at: number, topic: Topic = 'nodes', host = 'pi'): Event => ({
  topic,
  name: `n${at}`,
  at_ms: at,
  host_name: host,
})
const anyone = { topics: undefined, where: 'anywhere' as const }
const namesOf = (events: readonly Event[]) => events.map(({ name }) => name)

t.test('a reader begins now, and then gets each event once, in order', async (t) => {
  const log = new EventLog('b', 100)
  log.add(event(1))
  const first = log.read({ ...anyone, after: undefined })
  t.same(first, { events: [], next: 'b-1' })
  log.add(event(2))
  log.add(event(3))
  const second = log.read({ ...anyone, after: first.next })
  t.same(namesOf(second.events), ['n2', 'n3'])
  t.same(log.read({ ...anyone, after: second.next }), { events: [], next: 'b-3' })
})

t.test('topics and hosts that are not asked for are passed over', async (t) => {
  const log = new EventLog('b', 100)
  log.add(event(1, 'tasks'))
  log.add(event(2, 'processes', 'lab-1'))
  log.add(event(3, 'processes'))
  const topics = ['processes'] as const
  const read = (where: 'anywhere' | readonly string[]) =>
    log.read({ after: 'b-0', topics, where })
  t.same(namesOf(read('anywhere').events), ['n2', 'n3'])
  t.same(namesOf(read(['lab-*']).events), ['n2'])
  t.same(read([]), { events: [], next: 'b-3' })
})

t.test('who comes too late, or with the cursor of another boot, is told', async (t) => {
  const log = new EventLog('b', 4)
  for (let at = 1; at <= 20; at++) log.add(event(at))
  t.same(log.read({ ...anyone, after: 'b-2' }), { events: [], next: 'b-20', reset: true })
  for (const after of ['a-20', 'b-21', 'b-x', '', 'b-99999999999999999'])
    t.match(log.read({ ...anyone, after }), { reset: true, next: 'b-20' }, after)
  t.same(namesOf(log.read({ ...anyone, after: 'b-18' }).events), ['n19', 'n20'])
})

t.test('an event that was passed over is told to its readers alone, once', async (t) => {
  const log = new EventLog('b', 100)
  const { next } = log.read({ ...anyone, after: undefined })
  log.skip('tasks')
  log.skip('tasks')
  const tasks = { ...anyone, topics: ['tasks'] as const }
  t.match(log.read({ ...tasks, after: next }), { reset: true })
  t.same(log.read({ ...anyone, topics: ['nodes'], after: next }).reset, undefined)
  const now = log.read({ ...tasks, after: undefined })
  t.same(log.read({ ...tasks, after: now.next }), { events: [], next: now.next })
  log.skip('tasks')
  t.match(log.read({ ...tasks, after: now.next }), { reset: true })
})

t.test('whatever happens, a reader gets all of it or is told so', async (t) => {
  const step = fc.oneof(
    fc.record({ add: fc.constantFrom<Topic>('nodes', 'tasks') }),
    fc.constant({ skip: 'tasks' as const }),
    fc.constant({ read: true as const }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const log = new EventLog('b', 5)
      let after = log.read({ ...anyone, after: undefined }).next
      let [count, due] = [0, [] as string[]]
      let isMissing = false
      for (const one of steps) {
        if ('add' in one) {
          count += 1
          log.add(event(count, one.add))
          due.push(`n${count}`)
        } else if ('skip' in one) {
          log.skip('tasks')
          isMissing = true
        } else {
          const part = log.read({ ...anyone, after })
          if (part.reset !== true) {
            t.notOk(isMissing, 'it would have been told')
            t.same(namesOf(part.events), due)
          }
          after = part.next
          due = []
          isMissing = false
        }
      }
    }),
  )
})
