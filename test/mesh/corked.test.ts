// What leaves when: one write per connection for all of a turn and its microtasks.

import { setImmediate as laterTurn } from 'node:timers/promises'
import t from 'tap'
import { CorkedSender } from '../../src/mesh/corked.ts'

/** A sender whose socket notes in `log` what would leave in one write. */
const makeSender = (name: string, log: string[]) => {
  let held: number[] = []
  let isCorked = false
  const ws = { readyState: 1, OPEN: 1 } as const
  const raw = {
    writableLength: 0,
    cork: () => {
      isCorked = true
    },
    uncork: () => {
      isCorked = false
      log.push(`${name} ${held.join(' ')}`)
      held = []
    },
    write: (frame: Uint8Array | string) => {
      if (!isCorked) log.push(`${name} uncorked`)
      held.push(Number(frame[2]))
      return true
    },
  }
  const socket = { ...ws } as { readyState: 0 | 1 | 2 | 3; OPEN: 1 }
  return { socket, sender: new CorkedSender({ ws: socket, raw, isClient: false }) }
}

const message = (number: number) => Uint8Array.of(number)

t.test('a turn and what follows from it in microtasks leave in one write', async (t) => {
  const log: string[] = []
  const { sender } = makeSender('a', log)
  sender.send(message(1))
  sender.send(message(2))
  queueMicrotask(() => {
    sender.send(message(3))
    queueMicrotask(() => sender.send(message(4)))
  })
  t.same(log, [], 'nothing leaves within the turn')
  await laterTurn()
  t.same(log, ['a 1 2 3 4'])
  sender.send(message(5))
  await laterTurn()
  t.same(log, ['a 1 2 3 4', 'a 5'], 'the next turn has its own')
})

t.test('connections are written from the last to the first', async (t) => {
  const log: string[] = []
  const [first, last] = [makeSender('first', log), makeSender('last', log)]
  first.sender.send(message(1))
  last.sender.send(message(2))
  first.sender.send(message(3))
  await laterTurn()
  t.same(log, ['last 2', 'first 1 3'])
})

t.test('on a socket that is closing nothing is sent', async (t) => {
  const log: string[] = []
  const { sender, socket } = makeSender('a', log)
  socket.readyState = 2
  sender.send(message(1))
  await laterTurn()
  t.same(log, [])
})
