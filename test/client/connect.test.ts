// Connecting: where a client looks, and what it says when there is nothing.

import { chmodSync } from 'node:fs'
import { createServer } from 'node:net'
import t from 'tap'
import { connect } from '../../src/client/connect.ts'
import { ClientError, type ClientFailure } from '../../src/client/failures.ts'
import { openState } from '../../src/identity/state.ts'

const failureOf = async (promise: Promise<unknown>): Promise<ClientFailure> => {
  const error = await promise.catch((reason: unknown) => reason)
  if (!(error instanceof ClientError)) throw error
  return error.failure
}

t.test('a directory without a mesh says where it looked, at once', async (t) => {
  const state = t.testdir()
  t.match(await failureOf(connect({ state })), {
    kind: 'no-mesh',
    looked: [`in ${state}`],
  })
})

t.test('a mesh with no node up says so after listening for one', async (t) => {
  const state = `${t.testdir()}/state`
  await openState(state)
  t.match(await failureOf(connect({ state, discoverMs: 1 })), {
    kind: 'no-mesh',
    looked: [`in ${state}`, 'by mDNS'],
  })
  t.match(await failureOf(connect({ state, discoverMs: 0 })), {
    kind: 'no-mesh',
    looked: [`in ${state}`],
  })
})

t.test('a state directory that others can read is refused with the remedy', async (t) => {
  const state = `${t.testdir()}/state`
  await openState(state)
  chmodSync(state, 0o755)
  const failure = await failureOf(connect({ state }))
  t.match(failure, { kind: 'state', reason: /chmod 700/ })
})

t.test(
  'an address where nobody listens, or something else does, fails clearly',
  async (t) => {
    const state = `${t.testdir()}/state`
    await openState(state)
    const server = createServer((socket) => socket.resume().end('SSH-2.0-nonsense\r\n'))
    t.teardown(() => server.close())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : 0
    const other = await failureOf(connect({ state, at: `wss://127.0.0.1:${port}` }))
    t.match(other, { kind: 'refused', reason: /no Manyhands node/ })
    await new Promise((resolve) => server.close(resolve))
    t.match(await failureOf(connect({ state, at: `wss://127.0.0.1:${port}` })), {
      kind: 'no-mesh',
      looked: [new RegExp(`at wss://127.0.0.1:${port}`)],
    })
  },
)
