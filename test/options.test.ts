// Options: what the command line gave, as a node's options.

import * as E from 'fp-ts/lib/Either.js'
import t from 'tap'
import { readNodeOptions } from '../src/options.ts'

t.test('flags that may be repeated keep each of their values', async (t) => {
  const options = readNodeOptions({
    role: 'worker',
    label: ['gpu=yes', 'os=linux=x'],
    resource: ['gpu=1', 'licence=3'],
    join: ['wss://127.0.0.1:4000', 'localhost:4001'],
  })
  t.match(options, {
    right: {
      labels: { gpu: 'yes', os: 'linux=x' },
      resources: { gpu: 1, licence: 3 },
      join: ['wss://127.0.0.1:4000', 'wss://localhost:4001'],
    },
  })
})

t.test('one bad value among good ones is named', async (t) => {
  const options = readNodeOptions({ role: 'worker', label: ['gpu=yes', 'nothing'] })
  t.same(options, E.left(['--label: expected key=value, got `nothing`']))
})
