// The table's types: what must not compile does not, checked by the compiler itself.

import t from 'tap'
import type { Conversation, Handlers, RequestOf, Respond } from '../../protocol/index.ts'

t.test('an answer of another row does not compile', async (t) => {
  const handlers: Handlers<string> = {
    ManagerPing: (body, respond) => respond('ManagerPong', { rel: body.rel }),
    TasksPing: (_body, respond) => {
      // @ts-expect-error Ack does not answer TasksPing
      respond('Ack', {})
    },
    // @ts-expect-error there is no such kind
    TasksAbort: () => undefined,
  }
  const wrongBody: Respond<'ManagerPing'> = () => undefined
  // @ts-expect-error a pong carries its rel
  wrongBody('ManagerPong', {})
  // @ts-expect-error a ping carries its rel
  const ping: RequestOf<'ManagerPing'> = {}
  t.same(ping, {})
  t.type(handlers.ManagerPing, 'function')
})

t.test('an ask is typed from its body to its answers', async (t) => {
  const asks = (conversation: Conversation) => {
    // @ts-expect-error a ping carries its rel
    conversation.ask('ManagerPing', {}, 1000, () => undefined)
    conversation.ask('ManagerPing', { rel: 'r' }, 1000, (outcome) => {
      if (outcome._tag === 'Left') return outcome.left.kind
      // @ts-expect-error no Ack answers a ping
      if (outcome.right.kind === 'Ack') return ''
      return outcome.right.kind === 'ManagerPong' ? outcome.right.body.rel : ''
    })
  }
  t.type(asks, 'function')
})
