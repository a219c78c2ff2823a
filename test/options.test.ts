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

t.test('what a worker lets managers do with it', async (t) => {
  const options = readNodeOptions({
    role: 'worker',
    manager: ['boss', 'ab'.repeat(16), '*'],
    allow: ['/usr/bin', '/opt/x y'],
    user: ['bob', 'svc-1'],
    'run-as': 'nobody',
    downloads: 'no',
    tasks: '3',
  })
  t.match(options, {
    right: {
      managers: ['boss', 'ab'.repeat(16), '*'],
      allow: ['/usr/bin', '/opt/x y'],
      users: ['bob', 'svc-1'],
      runAs: 'nobody',
      downloads: false,
      tasks: 3,
    },
  })
  t.match(readNodeOptions({ role: 'worker' }), {
    right: { managers: [], allow: [], downloads: undefined },
  })
  const faults: [flag: string, value: string, fault: RegExp][] = [
    [
      'manager',
      'a b',
      /--manager: expected the name or the id of a manager or a hub, or \*, got `a b`/,
    ],
    ['user', 'a b', /--user: expected the name of a user of this machine, got `a b`/],
    ['run-as', ':', /--run-as: expected the name of a user/],
    ['allow', 'bin/ls', /--allow: expected an absolute path, got `bin\/ls`/],
    ['tasks', '0', /--tasks: .*got `0`/],
    ['downloads', 'maybe', /--downloads: expected yes or no, got `maybe`/],
  ]
  for (const [flag, value, fault] of faults)
    t.match(readNodeOptions({ role: 'worker', [flag]: value }), { left: [fault] })
  t.same(
    readNodeOptions({ role: 'manager', manager: ['m'] }),
    E.left(["--manager: is a worker's to say, and this is a manager"]),
  )
})

t.test("a worker's labels are its own", async (t) => {
  const options = readNodeOptions({ role: 'worker', label: ['issuer/zone=lab'] })
  t.match(options, { left: [/^--label: expected a label of its own .*certificate's/] })
})

t.test('one bad value among good ones is named', async (t) => {
  const options = readNodeOptions({ role: 'worker', label: ['gpu=yes', 'nothing'] })
  t.same(options, E.left(['--label: expected key=value, got `nothing`']))
})
