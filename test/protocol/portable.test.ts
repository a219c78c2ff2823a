// Portable: the protocol library bundles for a browser and works where Node's names are not.

import { createContext, runInContext } from 'node:vm'
import { build } from 'esbuild'
import t from 'tap'

t.test('it needs nothing of Node', async (t) => {
  const { outputFiles } = await build({
    entryPoints: ['protocol/index.ts'],
    bundle: true,
    platform: 'browser',
    format: 'iife',
    globalName: 'protocol',
    write: false,
    logLevel: 'silent',
  })
  const world = createContext({ TextEncoder, TextDecoder })
  runInContext(outputFiles[0]?.text ?? '', world)
  const result: unknown = runInContext(
    `(() => {
      const { Conversation, serve } = protocol
      const frames = []
      const options = {
        close: () => {}, bufferedBytes: () => 0, clock: { now: () => 0, after: () => () => {} },
      }
      const a = new Conversation({ ...options, send: (x) => frames.push(x), handle: () => {} })
      const answers = []
      const b = new Conversation({
        ...options,
        send: (x) => answers.push(x),
        handle: serve({
          BlobRead: (body, respond) => respond('BlobData', {
            offset: body.offset, data: Uint8Array.of(1, 2, 3), eof: true, lost: 0,
          }),
        }),
      })
      let outcome
      a.ask('BlobRead', { ref: 'x'.repeat(100), offset: 7, max: 3 }, 1000, (o) => { outcome = o })
      b.receive(frames[0])
      a.receive(answers[0])
      return typeof Buffer + ' ' + JSON.stringify([outcome.right.kind, [...outcome.right.body.data]])
    })()`,
    world,
  )
  t.equal(result, 'undefined ["BlobData",[1,2,3]]')
})
