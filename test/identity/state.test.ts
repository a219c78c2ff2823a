// The state directory: made once, private, and never repaired behind anybody's back.

import { spawn } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as E from 'fp-ts/lib/Either.js'
import t, { type Test } from 'tap'
import {
  hasHadManager,
  listAddresses,
  openState,
  readState,
  stateDirectory,
} from '../../src/identity/state.ts'

const directoryOf = (t: Test) => join(t.testdir({}), 'state')

const modeOf = (path: string) => statSync(path).mode & 0o777

t.test('the directory: --state, XDG_STATE_HOME, or the home', async (t) => {
  t.equal(stateDirectory('/a/b', { XDG_STATE_HOME: '/x' }), '/a/b')
  t.equal(stateDirectory(undefined, { XDG_STATE_HOME: '/x' }), '/x/manyhands')
  const home = join(homedir(), '.local/state/manyhands')
  t.equal(stateDirectory(undefined, { XDG_STATE_HOME: 'relative' }), home)
  t.equal(stateDirectory(undefined, {}), home)
})

t.test('a mesh is made at the first start, private, and kept', async (t) => {
  const directory = directoryOf(t)
  t.match(readState(directory), E.left({ kind: 'no-mesh', reason: /manyhands up/ }))
  const made = openState(directory)
  if (E.isLeft(made)) throw new Error(made.left.reason)
  t.match(made.right.meshId, /^[0-9a-f]{32}$/)
  t.equal(made.right.secret.byteLength, 32)
  t.equal(modeOf(directory), 0o700)
  t.equal(modeOf(join(directory, 'mesh', 'secret')), 0o600)
  t.same(openState(directory), made)
  t.same(readState(directory), made)
})

t.test('modes that let others in are refused with the remedy', async (t) => {
  const directory = directoryOf(t)
  openState(directory)
  chmodSync(directory, 0o755)
  t.match(openState(directory), E.left({ kind: 'access', reason: /chmod 700/ }))
  chmodSync(directory, 0o700)
  chmodSync(join(directory, 'mesh', 'secret'), 0o640)
  t.match(readState(directory), E.left({ kind: 'access', reason: /chmod 600/ }))
})

t.test('a link in the place of the directory or the secret is refused', async (t) => {
  const directory = directoryOf(t)
  openState(directory)
  const link = `${directory}-link`
  symlinkSync(directory, link)
  t.match(openState(link), E.left({ kind: 'access', reason: /not a directory/ }))
  const secret = join(directory, 'mesh', 'secret')
  rmSync(secret)
  symlinkSync('/dev/zero', secret)
  t.match(readState(directory), E.left({ kind: 'access', reason: /not a file/ }))
})

t.test('a damaged mesh is named and not replaced', async (t) => {
  const directory = directoryOf(t)
  openState(directory)
  const secret = join(directory, 'mesh', 'secret')
  rmSync(secret)
  t.match(openState(directory), E.left({ kind: 'access', path: secret }))
  writeFileSync(secret, 'short', { mode: 0o600 })
  t.match(openState(directory), E.left({ kind: 'damaged', path: secret }))
  writeFileSync(join(directory, 'mesh', 'mesh.json'), '{')
  t.match(openState(directory), E.left({ kind: 'damaged', path: /mesh.json/ }))
})

t.test('a directory that cannot be made is told with the remedy', async (t) => {
  const file = join(t.testdir({ file: '' }), 'file')
  t.match(openState(join(file, 'x')), E.left({ kind: 'access', reason: /--state/ }))
})

t.test('of many starts at once one makes the mesh and all use it', async (t) => {
  const directory = directoryOf(t)
  const fixture = fileURLToPath(new URL('./fixtures/open-state.js', import.meta.url))
  const starts = Array.from(
    { length: 6 },
    () =>
      new Promise<string>((resolve) => {
        const child = spawn(process.execPath, [fixture, directory])
        let output = ''
        child.stdout.on('data', (text) => {
          output += text
        })
        child.on('close', () => resolve(output))
      }),
  )
  const outputs = await Promise.all(starts)
  t.match(outputs[0], /^[0-9a-f]{32} [0-9a-f]{64}$/)
  t.equal(new Set(outputs).size, 1)
  t.same(readdirSync(directory), ['mesh'], 'nothing is left over')
})

t.test('a directory remembers that a manager ran here', async (t) => {
  const directory = directoryOf(t)
  t.equal(hasHadManager(directory), false, 'no directory')
  mkdirSync(join(directory, 'nodes', 'worker@x'), { recursive: true })
  t.equal(hasHadManager(directory), false, 'a worker alone')
  mkdirSync(join(directory, 'nodes', 'manager@x-manager'))
  t.equal(hasHadManager(directory), true)
})

t.test('addresses are listed only of nodes that live', async (t) => {
  const directory = directoryOf(t)
  t.same(listAddresses(directory), [])
  const slot = join(directory, 'nodes', 'worker@x')
  mkdirSync(slot, { recursive: true })
  const address = {
    node_id: 'a'.repeat(32),
    boot_id: 'b'.repeat(16),
    role: 'worker',
    host_name: 'x',
    pid: 1,
    url: 'ws://127.0.0.1:1',
  }
  writeFileSync(join(slot, 'address.json'), JSON.stringify(address))
  t.same(listAddresses(directory), [], 'nobody holds the lock')
  t.ok(existsSync(slot))
})
