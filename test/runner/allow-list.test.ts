// The allow-list on real files and links.

import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import t, { type Test } from 'tap'
import type { PreparedJob } from '../../src/ports.ts'
import { createJobs } from '../../src/runner/jobs.ts'
import { createRunner } from '../../src/runner/runner.ts'

/** tools/a, tools/deep/b, tools-2/c, out; links: in -> tools/a, tools/out -> out. */
const place = (t: Test): string => {
  const directory = t.testdir({})
  for (const folder of ['tools', 'tools/deep', 'tools-2'])
    mkdirSync(join(directory, folder))
  for (const name of ['tools/a', 'tools/deep/b', 'tools-2/c', 'out']) {
    writeFileSync(join(directory, name), '#!/bin/sh\necho "$0" "$@"\n')
    chmodSync(join(directory, name), 0o755)
  }
  symlinkSync(join(directory, 'tools/a'), join(directory, 'in'))
  symlinkSync(join(directory, 'out'), join(directory, 'tools/out'))
  return directory
}

const jobsIn = (directory: string, ...allow: string[]) =>
  createJobs({
    path: `${directory}:${directory}/tools`,
    directory: join(directory, 'cache'),
    allow: allow.map((path) => join(directory, path)),
  })

const prepared = (jobs: ReturnType<typeof createJobs>, address: string) => {
  let result: unknown
  jobs.prepare(address, (its) => {
    result = its
  })
  return result
}

t.test('a folder allows what is really in it, and a file itself', async (t) => {
  const directory = place(t)
  const rows: [allow: string, program: string, isAllowed: boolean][] = [
    ['tools', 'tools/a', true],
    ['tools', 'tools/deep/b', true],
    ['tools', 'tools-2/c', false],
    ['tools', 'tools/out', false],
    ['tools', 'in', true],
    ['tools', 'tools/../out', false],
    ['tools', 'tools/deep/../a', true],
    ['tools/a', 'tools/a', true],
    ['tools/a', 'tools/deep/b', false],
    ['in', 'tools/a', true],
    ['tools/out', 'out', true],
    ['.', 'out', true],
    ['tools', 'nothing', false],
  ]
  for (const [allow, program, isAllowed] of rows) {
    const jobs = jobsIn(directory, allow)
    const address = `exec:${directory}/${program}`
    const said = `${program} with ${allow}`
    t.equal(jobs.objection(address) === undefined, isAllowed, said)
    const result = prepared(jobs, address)
    if (isAllowed) t.match(result, E.right({ calledAs: `${directory}/${program}` }), said)
    else t.match(result, E.left({ kind: 'spawn', code: 'EPERM' }), said)
  }
  const all = createJobs({ path: '/', directory: join(directory, 'c2'), allow: ['/'] })
  t.equal(all.objection(`exec:${directory}/out`), undefined)
})

t.test('a name is judged by what it is found as, and told in words', async (t) => {
  const directory = place(t)
  const jobs = jobsIn(directory, 'tools')
  t.equal(jobs.objection('exec:a'), undefined)
  t.equal(
    jobs.objection('exec:out'),
    `${directory}/out is not among the programs that this worker allows`,
  )
  t.match(
    jobs.objection(`exec:${directory}/tools/out`),
    /tools\/out, which is \S+\/out, is not among/,
  )
  // Of these the start tells in words of its own.
  for (const address of ['exec:nosuch', 'exec:x/y', 'zzz:']) {
    t.equal(jobs.objection(address), undefined, address)
    t.match(prepared(jobs, address), { _tag: 'Left' }, address)
  }
})

t.test('a link that is changed after it was judged does not matter', async (t) => {
  const directory = place(t)
  const jobs = jobsIn(directory, 'tools')
  const link = join(directory, 'in')
  const result = prepared(jobs, `exec:${link}`) as E.Right<PreparedJob>
  t.equal(result.right.program, join(directory, 'tools/a'), 'the real one runs')
  rmSync(link)
  symlinkSync(join(directory, 'out'), link)
  t.match(jobs.objection(`exec:${link}`), /in, which is \S+out, is not among/)
})

t.test('a program is told the name that it was called by', async (t) => {
  const directory = place(t)
  const shell = join(directory, 'my-shell')
  symlinkSync('/bin/sh', shell)
  const jobs = createJobs({
    path: directory,
    directory: join(directory, 'cache'),
    allow: ['/bin/sh'],
  })
  const { right } = prepared(jobs, 'exec:my-shell') as E.Right<PreparedJob>
  const runner = createRunner({ directory: join(directory, 'runs') })
  t.teardown(() => runner.close())
  const output = await new Promise<string>((resolve) => {
    const run = runner.start(
      {
        ...right,
        arguments: ['-c', 'tr "\\0" " " < /proc/$$/cmdline'],
        directory,
        environment: { PATH: '/usr/bin:/bin' },
        output: 'capture',
        outputCapBytes: 1000,
      },
      {
        started: () => undefined,
        ended: () =>
          run.read(1, 0, 1000, 0, ({ data }) => resolve(Buffer.from(data).toString())),
      },
    )
  })
  t.match(output, /^\S+\/my-shell -c /)
})

t.test('what is to be allowed and is not there is a fault', async (t) => {
  const directory = place(t)
  t.throws(() => jobsIn(directory, 'nowhere'), {
    message: /^--allow \S+nowhere: there is nothing to allow \(ENOENT\); give/,
    syscall: 'realpath',
  })
})
