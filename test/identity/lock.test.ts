// The lock: one holder, and none after its death.

import { spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { lockHolder, takeLock } from '../../src/identity/lock.ts'
import { stateOf, until } from '../support/runs.ts'

const fixture = fileURLToPath(new URL('./fixtures/hold-lock.js', import.meta.url))

t.test('one holds it; the next is told who, until it is given back', async (t) => {
  const directory = t.testdir({})
  const first = await takeLock(directory)
  if (!('release' in first)) throw new Error('Expected to hold it')
  t.same(await takeLock(directory), { pid: process.pid })
  t.match(lockHolder(directory), { pid: process.pid })
  first.release()
  first.release()
  t.equal(lockHolder(directory), undefined)
  t.same(readdirSync(directory), [])
})

t.test('of many at the same moment one gets it', async (t) => {
  const directory = t.testdir({})
  const all = await Promise.all(Array.from({ length: 12 }, () => takeLock(directory)))
  t.equal(all.filter((lock) => 'release' in lock).length, 1)
})

t.test('kill -9 of the holder gives it back', async (t) => {
  const directory = t.testdir({})
  const child = spawn(process.execPath, [fixture, directory])
  t.teardown(() => child.kill('SIGKILL'))
  const said = await new Promise((resolve) => child.stdout.once('data', resolve))
  t.equal(String(said), 'held')
  t.same(await takeLock(directory), { pid: child.pid })
  const exited = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await exited
  t.equal(lockHolder(directory), undefined)
  const mine = await takeLock(directory)
  t.ok('release' in mine)
  t.equal(readdirSync(directory).length, 2, 'the left-overs are gone')
})

t.test('a holder that is dead and not yet collected holds nothing', async (t) => {
  const directory = t.testdir({})
  // The shell becomes a program that never collects its children, as some first processes.
  const script = '"$0" "$1" "$2" & echo $!; exec sleep 1000'
  const parent = spawn('sh', ['-c', script, process.execPath, fixture, directory])
  t.teardown(() => parent.kill('SIGKILL'))
  let said = ''
  parent.stdout.on('data', (text) => {
    said += text
  })
  await until('it holds the lock', () => said.includes('held'))
  const pid = Number.parseInt(said, 10)
  t.match(lockHolder(directory), { pid })
  process.kill(pid, 'SIGKILL')
  await until('it is a zombie', () => stateOf(pid) === undefined)
  t.ok(existsSync(`/proc/${pid}`), 'and not collected')
  t.equal(lockHolder(directory), undefined)
  t.ok('release' in (await takeLock(directory)))
})

t.test('a copied lock, a reused pid and nonsense count for nothing', async (t) => {
  const root = t.testdir({})
  const original = join(root, 'original')
  mkdirSync(original)
  const held = await takeLock(original)
  t.ok('release' in held)
  const copy = join(root, 'copy')
  cpSync(original, copy, { recursive: true })
  t.equal(lockHolder(copy), undefined, 'it names the inode of the original')
  writeFileSync(join(copy, `lock.${process.pid}.1.00000000.1.aa`), '')
  writeFileSync(join(copy, 'lock.x'), '')
  const mine = await takeLock(copy)
  t.ok('release' in mine)
})
