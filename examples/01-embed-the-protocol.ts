// Two ends of a conversation in one program: typed requests and answers over anything that
// carries bytes in order. Here that is memory; a socket's `send` fits in its place.
//
//   npm run build && node dist/examples/01-embed-the-protocol.js
//
// prints:
//   the worker has 3 free slots
//   the manager says wrong-role
//   disconnected

import { Conversation, type Handlers, serve } from 'manyhands/protocol'

const clock = {
  now: () => performance.now(),
  after: (ms: number, fn: () => void) => {
    const timer = setTimeout(fn, ms)
    return () => clearTimeout(timer)
  },
}
const endOf = (other: () => Conversation, name: string, handlers: Handlers<string>) =>
  new Conversation({
    send: (bytes) => setImmediate(() => other().receive(bytes)),
    close: (code, reason) => console.log(`closed with ${code}: ${reason}`),
    bufferedBytes: () => 0,
    clock,
    handle: serve(handlers, name),
  })
const manager: Conversation = endOf(() => worker, 'worker', {})
const worker: Conversation = endOf(() => manager, 'manager', {
  ManagerPing: ({ rel }, respond) => respond('ManagerPong', { rel, free_slots: 3 }),
})

manager.ask('ManagerPing', { rel: 'r1' }, 1000, (outcome) => {
  if (outcome._tag === 'Left') return console.log(outcome.left.kind)
  const answer = outcome.right // ManagerPong, NotMine or Error: no other kind compiles
  if (answer.kind === 'ManagerPong')
    console.log(`the worker has ${answer.body.free_slots} free slots`)
  worker.ask('NodesList', {}, 1000, (second) => {
    if (second._tag === 'Right' && second.right.kind === 'Error')
      console.log(`the manager says ${second.right.body.code}`)
    manager.ask('ManagerBye', { rel: 'r1' }, 1000, (third) =>
      console.log(third._tag === 'Left' ? third.left.kind : third.right.kind),
    )
    manager.closed() // as a socket does when it is gone
  })
})
