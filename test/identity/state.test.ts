// The state directory: made once, private, and never repaired behind anybody's back.

import { spawn } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as E from 'fp-ts/lib/Either.js'
import t, { type Test } from 'tap'
import { listMembers } from '../../src/identity/names.ts'
import {
  hasHadManager,
  listAddresses,
  type MeshState,
  openState,
  readState,
  stateDirectory,
} from '../../src/identity/state.ts'

const directoryOf = (t: Test) => join(t.testdir({}), 'state')

/** X509Certificate has no fields to compare. */
const plain = (state: ReturnType<typeof readState>) =>
  E.map(({ directory, meshId, client }: MeshState) => ({ directory, meshId, client }))(
    state,
  )

const readText = (directory: string, file: string): string =>
  readFileSync(join(directory, file), 'utf8')

const until = async (isSo: () => boolean): Promise<void> => {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve))
}

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
  const made = await openState(directory, 'pi')
  if (E.isLeft(made)) throw new Error(made.left.reason)
  t.match(made.right.meshId, /^[0-9a-f]{20}$/)
  const { party } = made.right.client
  t.match(party, { role: 'client', hostName: 'pi-client', nodeId: /^[0-9a-f]{32}$/ })
  for (const folder of ['', 'mesh', 'mesh/client'])
    t.equal(modeOf(join(directory, folder)), 0o700, folder)
  for (const file of ['ca.key', 'ca.pem', 'client/key.pem', 'client/cert.pem'])
    t.equal(modeOf(join(directory, 'mesh', file)), 0o600, file)
  t.equal(made.right.isNew, true)
  const again = await openState(directory)
  t.match(again, E.right({ isNew: false }))
  t.same(plain(again), plain(made))
  t.same(plain(readState(directory)), plain(made))
  t.match(listMembers(directory), [{ ...party, holder: 'mesh/client' }])
})

t.test('modes that let others in are refused with the remedy', async (t) => {
  const directory = directoryOf(t)
  await openState(directory)
  chmodSync(directory, 0o755)
  t.match(await openState(directory), E.left({ kind: 'access', reason: /chmod 700/ }))
  chmodSync(directory, 0o700)
  for (const file of ['ca.key', 'ca.pem', 'client/key.pem', 'client/cert.pem']) {
    const path = join(directory, 'mesh', file)
    chmodSync(path, 0o640)
    t.match(readState(directory), E.left({ kind: 'access', path, reason: /chmod 600/ }))
    chmodSync(path, 0o600)
  }
  t.ok(E.isRight(readState(directory)))
})

t.test('a link in the place of the directory or a key is refused', async (t) => {
  const directory = directoryOf(t)
  await openState(directory)
  const link = `${directory}-link`
  symlinkSync(directory, link)
  t.match(await openState(link), E.left({ kind: 'access', reason: /not a directory/ }))
  const key = join(directory, 'mesh', 'client', 'key.pem')
  rmSync(key)
  symlinkSync('/dev/zero', key)
  t.match(readState(directory), E.left({ kind: 'access', reason: /not a file/ }))
})

t.test('a damaged mesh is named and not replaced', async (t) => {
  const directory = directoryOf(t)
  await openState(directory)
  const other = join(t.testdirName, 'other')
  await openState(other)
  const kept = join(t.testdirName, 'kept')
  cpSync(join(directory, 'mesh'), kept, { recursive: true })
  const file = (name: string) => join(directory, 'mesh', name)
  const cases: [name: string, content: string | undefined, kind: string, RegExp][] = [
    ['ca.pem', undefined, 'access', /cannot read .*ENOENT/],
    ['ca.pem', 'nonsense', 'damaged', /not a mesh's certificate/],
    ['ca.pem', readText(other, 'mesh/ca.pem'), 'damaged', /of another mesh/],
    ['client/key.pem', undefined, 'access', /cannot read .*ENOENT/],
    ['client/key.pem', 'nonsense', 'damaged', /is not a key/],
    [
      'client/key.pem',
      readText(other, 'mesh/client/key.pem'),
      'damaged',
      /the key beside/,
    ],
    ['client/cert.pem', 'nonsense', 'damaged', /is not a certificate/],
  ]
  for (const [name, content, kind, reason] of cases) {
    if (content === undefined) rmSync(file(name))
    else writeFileSync(file(name), content)
    t.match(await openState(directory), E.left({ kind, reason }), `${name}: ${content}`)
    const before = readText(kept, name)
    writeFileSync(file(name), before, { mode: 0o600 })
    t.ok(E.isRight(await openState(directory)), 'restored by hand, it serves again')
  }
})

t.test('a directory of an older version is told', async (t) => {
  const directory = directoryOf(t)
  mkdirSync(join(directory, 'mesh'), { recursive: true, mode: 0o700 })
  writeFileSync(join(directory, 'mesh', 'secret'), 'x', { mode: 0o600 })
  t.match(
    await openState(directory),
    E.left({ kind: 'damaged', reason: /older version/ }),
  )
})

t.test('what a killed start left is swept when it is old', async (t) => {
  const directory = directoryOf(t)
  const [old, young] = ['.new-old', '.new-young'].map((name) => join(directory, name))
  mkdirSync(directory, { mode: 0o700 })
  for (const draft of [old ?? '', young ?? '']) mkdirSync(draft)
  utimesSync(old ?? '', 1, 1)
  await openState(directory)
  t.same(readdirSync(directory).sort(), ['.new-young', 'mesh', 'names'])
})

t.test('a directory that cannot be made is told with the remedy', async (t) => {
  const file = join(t.testdir({ file: '' }), 'file')
  t.match(await openState(join(file, 'x')), E.left({ kind: 'access', reason: /--state/ }))
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
  t.match(outputs[0], /^[0-9a-f]{20} [0-9a-f]{32} [\w+/=]{200,}$/)
  t.equal(new Set(outputs).size, 1)
  t.same(readdirSync(directory).sort(), ['mesh', 'names'], 'nothing is left over')
  t.equal(listMembers(directory).length, 1)
})

t.test('starts that are killed at any moment leave nothing half made', async (t) => {
  const fixture = fileURLToPath(new URL('./fixtures/open-state.js', import.meta.url))
  for (let round = 0; round < 4; round++) {
    const directory = join(t.testdirName, `state-${round}`)
    const starts = Array.from({ length: 4 }, () =>
      spawn(process.execPath, [fixture, directory], { stdio: 'ignore' }),
    )
    const ended = starts.map(
      (child) => new Promise((resolve) => child.on('exit', resolve)),
    )
    // Killed when something is there: a draft, or the mesh itself.
    await until(() => existsSync(directory) && readdirSync(directory).length > 0)
    for (const child of starts) child.kill('SIGKILL')
    await Promise.all(ended)
    const names = readdirSync(directory).filter((name) => !name.startsWith('.new-'))
    t.ok(names.every((name) => ['mesh', 'names'].includes(name)))
    const state = await openState(directory)
    t.ok(E.isRight(state))
    t.equal(listMembers(directory).length, 1)
  }
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
