// Files of the state directory: what is on disk when.

import fs, { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import t from 'tap'
import { replaceFile } from '../../src/files.ts'

t.test('a file is on disk before it takes its name, and its name after', async (t) => {
  const directory = t.testdir({ file: 'old' })
  const path = join(directory, 'file')
  const steps: string[] = []
  const { fsyncSync, renameSync } = fs
  Object.assign(fs, {
    fsyncSync: (fd: number) => {
      steps.push(fs.fstatSync(fd).isDirectory() ? 'sync directory' : 'sync file')
      fsyncSync(fd)
    },
    renameSync: (from: string, to: string) => {
      steps.push('rename')
      t.equal(readFileSync(from, 'utf8'), 'new')
      renameSync(from, to)
    },
  })
  syncBuiltinESMExports()
  t.teardown(() => {
    Object.assign(fs, { fsyncSync, renameSync })
    syncBuiltinESMExports()
  })
  replaceFile(path, 'new', 'mine')
  t.same(steps, ['sync file', 'rename', 'sync directory'])
  t.equal(readFileSync(path, 'utf8'), 'new')
  t.equal(statSync(path).mode & 0o777, 0o600)
  t.same(readdirSync(directory), ['file'])
})

t.test('what cannot be put in place leaves nothing behind', async (t) => {
  const directory = t.testdir({ file: { inside: '' } })
  t.throws(() => replaceFile(join(directory, 'file'), 'new', 'mine'))
  t.ok(existsSync(join(directory, 'file', 'inside')))
  t.same(readdirSync(directory), ['file'])
})
