// Events for those who wait: together, once, and whatever else happens meanwhile.

import t from 'tap'
import { type AnswerOf, rightsOf } from '../../protocol/index.ts'
import type { Peer } from '../../src/ports.ts'
import { Events, type News } from '../../src/roles/events.ts'
import { createManualClock } from '../support/manual-clock.ts'

const reader = { rights: rightsOf(['read']) } as unknown as Peer // all that is looked at
const news = (topic: News['topic'], name: string): News => ({
  topic,
  name,
  host_name: 'pi',
})

const world = () => {
  const clock = createManualClock()
  const events = new Events(clock, 'b')
  const read = (body: { after?: string; wait_ms: number; topics?: News['topic'][] }) => {
    const answers: AnswerOf<'EventsRead'>['body'][] = []
    events.handlers.EventsRead?.(
      body,
      (_kind, answer) => void answers.push(answer),
      reader,
    )
    return answers
  }
  return { clock, events, read }
}

t.test('who waits for a rare topic is not pushed out by a frequent one', async (t) => {
  const { clock, events, read } = world()
  const waiting = read({ after: 'b-0', wait_ms: 50_000, topics: ['nodes'] })
  for (let turn = 0; turn < 30; turn++) {
    for (let at = 0; at < 1000; at++) events.tell(news('tasks', 'task-closed'))
    clock.advance(20)
  }
  t.same(waiting, [])
  events.tell(news('nodes', 'node-lost'))
  clock.advance(20)
  t.match(waiting, [{ events: [{ name: 'node-lost', id: 'b-30001' }], reset: undefined }])
})

t.test(
  'several events are one answer; none is an empty one when the time is over',
  async (t) => {
    const { clock, events, read } = world()
    const [busy, quiet] = [
      read({ after: 'b-0', wait_ms: 1000 }),
      read({ after: 'b-0', wait_ms: 1000, topics: ['nodes'] }),
    ]
    for (const name of ['a', 'b', 'c']) events.tell(news('processes', name))
    clock.advance(20)
    t.match(busy, [
      { events: [{ name: 'a' }, { name: 'b' }, { name: 'c' }], next: 'b-3' },
    ])
    clock.advance(980)
    t.match(quiet, [{ events: { length: 0 }, next: 'b-3' }])
  },
)

t.test('who waits for long asks again while the topic is still told', async (t) => {
  const { clock, events, read } = world()
  const waiting = read({ after: 'b-0', wait_ms: 3_600_000, topics: ['tasks'] })
  clock.advance(54_999)
  t.same(waiting, [])
  t.equal(events.isWanted('tasks'), true)
  clock.advance(1)
  t.equal(waiting.length, 1)
})
