// Trees: what a program starts goes with it, three deep, in sessions of its own, with
// parents that have gone; whoever of run, launcher and node ends, and however.

import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { killMarked, MARKER, markerIn } from '../../src/runner/marker.ts'
import { bestRung } from '../../src/runner/rung.ts'
import { finish, shell, start, stateOf, testRunner, until } from '../support/runs.ts'

const nodeWithRun = fileURLToPath(
  new URL('../fixtures/programs/node-with-run.js', import.meta.url),
)

/** tree.sh DEPTH FILE: writes its pid, has three children, and stays. */
const GROWS = `echo $$ >>"$2"
trap '' INT TERM HUP
if [ "$1" -gt 0 ]; then
  below=$(($1 - 1))
  sh "$0" $below "$2" &
  setsid sh "$0" $below "$2" &
  (setsid sh "$0" $below "$2" &)
fi
exec sleep 1000 >/dev/null 2>&1
`
/** With its root, its children and theirs. */
const DEPTH = 2
const SIZE = 13

const plant = (t: Test) => {
  const directory = mkdtempSync(join(tmpdir(), 'manyhands-tree-'))
  writeFileSync(join(directory, 'tree.sh'), GROWS)
  const file = join(directory, 'pids')
  const pids = () =>
    readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map(Number)
  t.teardown(() => {
    for (const pid of pids()) if (stateOf(pid) !== undefined) process.kill(pid, 'SIGKILL')
    rmSync(directory, { recursive: true })
  })
  writeFileSync(file, '')
  return {
    file,
    script: `sh ${join(directory, 'tree.sh')} ${DEPTH} ${file} & wait`,
    pids,
    grown: async () => {
      await until('the tree has grown', () => pids().length === SIZE)
      t.same(pids().map(stateOf).filter(isGone), [], 'all of it lives')
    },
    living: () => pids().filter((pid) => stateOf(pid) !== undefined).length,
  }
}
const isGone = (state: string | undefined): boolean => state === undefined

// They wait for others most of the time.
t.jobs = 6

const rungs = [bestRung(), bestRung({ mayDivide: false })]
t.equal(rungs[1]?.kind, process.platform === 'linux' ? 'marker' : 'group')
const hasProc = rungs[1]?.kind === 'marker'
// Where it cannot be had the same rung would be tried twice: said, not hidden.
const noCgroup = rungs[0]?.kind !== 'cgroup' && (rungs[0]?.remedy ?? 'no cgroup')

for (const [index, rung] of rungs.entries()) {
  const options = { skip: hasProc ? index === 0 && noCgroup : 'no /proc here' }

  t.test(`${rung.kind}: a stopped program's tree goes with it`, options, async (t) => {
    const runner = testRunner(t, { rung })
    const tree = plant(t)
    const { run, end } = start(runner, shell(tree.script))
    await tree.grown()
    run.kill('SIGKILL')
    t.match(await end, { signal: 'SIGKILL' })
    await until('nobody is left', () => tree.living() === 0)
  })

  t.test(`${rung.kind}: a program's end is that of what it left`, options, async (t) => {
    const runner = testRunner(t, { rung })
    const tree = plant(t)
    const left = `${tree.script.replace(/wait$/, '')} while [ $(wc -l <${tree.file}) -lt ${SIZE} ]; do sleep 0.01; done`
    t.match(await finish(runner, shell(`{ ${left}; } >/dev/null 2>&1`)), { exitCode: 0 })
    await until('nobody is left', () => tree.living() === 0)
    t.match(await finish(runner, shell('echo on')), { out: 'on\n' })
  })

  t.test(`${rung.kind}: a launcher killed with -9`, options, async (t) => {
    const runner = testRunner(t, { rung, launchers: 1 })
    const tree = plant(t)
    const { end } = start(runner, shell(tree.script))
    await tree.grown()
    process.kill(runner.launcherPids[0] ?? 0, 'SIGKILL')
    t.match(await end, { signal: 'launcher-lost' })
    await until('nobody is left', () => tree.living() === 0)
  })

  t.test(`${rung.kind}: a runner that closes`, options, async (t) => {
    const runner = testRunner(t, { rung })
    const tree = plant(t)
    start(runner, shell(tree.script))
    await tree.grown()
    await runner.close()
    await until('nobody is left', () => tree.living() === 0)
  })

  t.test(
    `${rung.kind}: node and launchers killed with -9 at once`,
    options,
    async (t) => {
      const tree = plant(t)
      const other = plant(t)
      const directory = join(t.testdir(), 'runs')
      const node = spawn(
        process.execPath,
        [nodeWithRun, directory, `echo $$; ${tree.script}`, rung.kind],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      )
      t.teardown(() => node.kill('SIGKILL'))
      const line = await new Promise<string>((resolve) =>
        node.stdout.once('data', (data) => resolve(String(data))),
      )
      await tree.grown()
      start(testRunner(t, { rung }), shell(other.script))
      await other.grown()
      const [, , ...launchers] = JSON.parse(line) as number[]
      // Stopped first: none of them shall see another's end.
      const all = [node.pid ?? 0, ...launchers]
      for (const pid of all) process.kill(pid, 'SIGSTOP')
      const exited = new Promise((resolve) => node.once('exit', resolve))
      for (const pid of all) process.kill(pid, 'SIGKILL')
      await exited
      t.equal(tree.living(), SIZE, 'nobody was there to end them')
      const begunMs = performance.now()
      testRunner(t, { rung, directory })
      await until('nobody is left', () => tree.living() === 0)
      t.ok(performance.now() - begunMs < 2000, 'within 2 s of the start')
      t.equal(other.living(), SIZE, "another node's are left alone")
    },
  )
}

t.test(
  'in a cgroup nobody gets away, whatever it does',
  { skip: noCgroup },
  async (t) => {
    const runner = testRunner(t)
    const ended = await finish(
      runner,
      shell('setsid env -i sleep 1000 >/dev/null 2>&1 & echo $!'),
    )
    const pid = Number(ended.out)
    t.teardown(() => stateOf(pid) !== undefined && process.kill(pid, 'SIGKILL'))
    t.ok(pid > 1, 'it was started')
    await until('it is gone', () => stateOf(pid) === undefined)
  },
)

t.test('the marker in an environment', (t) => {
  const cases: readonly [string, string | undefined][] = [
    [`${MARKER}=a/b/1/2\0`, 'a/b/1/2'],
    [`PATH=/bin\0${MARKER}=a/b/1/2`, 'a/b/1/2'],
    [`X${MARKER}=no\0${MARKER}=yes\0`, 'yes'],
    [`X${MARKER}=no\0`, undefined],
    ['', undefined],
    ['\0\0\0', undefined],
  ]
  for (const [environ, marker] of cases)
    t.equal(markerIn(Buffer.from(environ)), marker, JSON.stringify(environ))
  t.end()
})

t.test('one that nobody marked is not found', { skip: !hasProc && 'no /proc' }, (t) => {
  const innocent = spawn('sleep', ['1000'], { env: { [`X${MARKER}`]: 'mine/1/1/1' } })
  t.teardown(() => innocent.kill('SIGKILL'))
  t.equal(
    killMarked((marker) => marker.startsWith('mine/')),
    0,
  )
  t.ok(stateOf(innocent.pid ?? 0))
  t.end()
})
