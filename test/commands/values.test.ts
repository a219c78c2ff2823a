// Values, placeholders, outcomes, progress and tables: the pure parts, by tables.

import fc from 'fast-check'
import t from 'tap'
import type { ErrorKind, TaskDone } from '../../protocol/index.ts'
import { UsageError } from '../../src/commands/io.ts'
import { describeError, exitCodeOf } from '../../src/commands/outcome.ts'
import { commandTemplate } from '../../src/commands/placeholders.ts'
import { progressBar, progressLine, timeLeftMs } from '../../src/commands/progress.ts'
import { json, table, textField } from '../../src/commands/table.ts'
import { jobAddress } from '../../src/commands/task-flags.ts'
import { coresPerWorker } from '../../src/commands/up.ts'
import {
  formatDuration,
  formatSize,
  oneLine,
  parseAddress,
  parseAmount,
  parseCount,
  parseDuration,
  parsePair,
  parseSize,
  parseVariable,
} from '../../src/commands/values.ts'
import { WholeCharacters } from '../../src/commands/whole-characters.ts'

t.test('durations', async (t) => {
  const good: [string, number][] = [
    ['500ms', 500],
    ['1s', 1000],
    ['0.5s', 500],
    ['5m', 300_000],
    ['5min', 300_000],
    ['1.5h', 5_400_000],
    ['2d', 172_800_000],
    ['0s', 0],
  ]
  for (const [text, ms] of good) t.equal(parseDuration(text), ms, text)
  for (const text of ['', '1', 's', '-1s', '1 s', '1S', '1e3s', '9999999999999999d'])
    t.throws(() => parseDuration(text), UsageError, text)
  const shown: [number, string][] = [
    [3, '3 ms'],
    [3210, '3.2 s'],
    [42_000, '42 s'],
    [245_000, '4 min 05 s'],
    [7_620_000, '2 h 07 min'],
  ]
  for (const [ms, text] of shown) t.equal(formatDuration(ms), text)
})

t.test('sizes', async (t) => {
  const good: [string, number][] = [
    ['0', 0],
    ['1000', 1000],
    ['64K', 65_536],
    ['64k', 65_536],
    ['512M', 536_870_912],
    ['1.5GiB', 1_610_612_736],
    ['2TB', 2_199_023_255_552],
  ]
  for (const [text, bytes] of good) t.equal(parseSize(text), bytes, text)
  for (const text of ['', 'M', '-1M', '1X', '1 M', '99999999999T'])
    t.throws(() => parseSize(text), UsageError, text)
  t.equal(formatSize(512), '512 B')
  t.equal(formatSize(1536), '1.5 KiB')
  t.equal(formatSize(2 ** 31), '2.0 GiB')
})

t.test('addresses', async (t) => {
  for (const text of ['wss://127.0.0.1:4000', '127.0.0.1:4000', 'wss://127.0.0.1:4000/'])
    t.equal(parseAddress(text), 'wss://127.0.0.1:4000', text)
  t.equal(parseAddress('wss://[::1]:4000'), 'wss://[::1]:4000')
  for (const text of ['', 'foo', 'wss://host', 'http://host:80', 'wss://host:x', 'a b:1'])
    t.throws(() => parseAddress(text), UsageError, text)
})

t.test('counts, pairs, variables', async (t) => {
  t.equal(parseCount(0)('12'), 12)
  t.equal(parseCount(Number.MIN_SAFE_INTEGER)('-3'), -3)
  for (const text of ['', '1.5', 'x', '-1', '99999999999999999'])
    t.throws(() => parseCount(0)(text), UsageError, text)
  t.same(parsePair('b=2=3', { a: '1' }), { a: '1', b: '2=3' })
  t.throws(() => parsePair('=x'), UsageError)
  t.same(parseAmount('gpu=2', { seat: 1 }), { seat: 1, gpu: 2 })
  for (const text of ['gpu', 'gpu=', '=1', 'gpu=-1', 'gpu=1.5', 'gpu=one', 'g u=1'])
    t.throws(() => parseAmount(text), /such as gpu=1, got '/, text)
  t.same(parseVariable({ A: 'x' })('A'), { A: 'x' })
  t.throws(() => parseVariable({})('A'), UsageError)
})

t.test('whole characters are never cut, and nothing is lost', async (t) => {
  const text = fc.string({ unit: 'binary' }).map((one) => Buffer.from(one))
  const cuts = fc.array(fc.nat(8), { maxLength: 20 })
  const pieces = (bytes: Buffer, sizes: readonly number[]): Uint8Array[] => {
    const characters = new WholeCharacters()
    let from = 0
    const all = [...sizes, bytes.byteLength].map((size) => {
      const piece = characters.add(bytes.subarray(from, from + size))
      from += size
      return piece
    })
    return [...all, characters.rest()]
  }
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(text, cuts, (bytes, sizes) => {
        const all = pieces(bytes, sizes)
        return (
          Buffer.concat(all).equals(bytes) &&
          all.every((piece) => 'a' in textField('a', piece))
        )
      }),
    ),
  )
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(fc.uint8Array(), cuts, (bytes, sizes) =>
        Buffer.concat(pieces(Buffer.from(bytes), sizes)).equals(bytes),
      ),
    ),
  )
})

t.test('placeholders are replaced inside one element each', async (t) => {
  const cases: [string[], string, string[]][] = [
    [['echo'], 'a b', ['echo', 'a b']],
    [['x', '{}'], 'a b', ['x', 'a b']],
    [['x', '-o={.}.jpg', '{}'], 'd/a.b.png', ['x', '-o=d/a.b.jpg', 'd/a.b.png']],
    [['x', '{/}', '{//}', '{#}'], 'd/e/a.png', ['x', 'a.png', 'd/e', '7']],
    [['x', '{//}'], 'a', ['x', '.']],
    [['x', '{//}'], '/a', ['x', '/']],
    [['x', '{.}'], '.bashrc', ['x', '.bashrc']],
    [['x', '{.}'], 'd.e/f', ['x', 'd.e/f']],
    [['x', '{}{}'], '$&', ['x', '$&$&']],
    [['{}'], 'true', ['true']],
    [['x', '{a}'], 'i', ['x', '{a}', 'i']],
  ]
  for (const [command, item, filled] of cases)
    t.same(commandTemplate(command)(item, 7), filled)
})

t.test('an item never makes more or fewer arguments', async (t) => {
  const command = ['x', '{}', '--to={.}', '{/}{//}{#}']
  const property = fc.property(fc.string(), (item) => {
    const filled = commandTemplate(command)(item, 1)
    return filled.length === command.length && filled[1] === item
  })
  t.doesNotThrow(() => fc.assert(property))
})

t.test('job addresses', async (t) => {
  t.equal(jobAddress('gzip', '/d'), 'exec:gzip')
  t.equal(jobAddress('./tool', '/d'), 'exec:/d/tool')
  t.equal(jobAddress('/bin/true', '/d'), 'exec:/bin/true')
  t.equal(jobAddress('noop:', '/d'), 'noop:')
  t.equal(jobAddress('https://x/y#sha256=0', '/d'), 'https://x/y#sha256=0')
})

t.test('exit codes of outcomes', async (t) => {
  const done = (error?: ErrorKind, exit?: number): TaskDone => ({
    task_id: 'testledger-1',
    state: error ? 'failed' : 'completed',
    attempt: 1,
    submitted_ms: 0,
    ended_ms: 0,
    ...(error && { error }),
    ...(exit !== undefined && { result: { run_ms: 0, exit_code: exit } }),
  })
  const cases: [ErrorKind | undefined, number][] = [
    [undefined, 0],
    [{ kind: 'RunningError', exit_code: 7 }, 7],
    [{ kind: 'RunningError', signal: 'SIGTERM' }, 143],
    [{ kind: 'RunningError', signal: 'launcher-lost' }, 125],
    [{ kind: 'TimedOut' }, 124],
    [{ kind: 'SpawnError', code: 'ENOENT', reason: '' }, 127],
    [{ kind: 'SpawnError', code: 'EACCES', reason: '' }, 126],
    [{ kind: 'SpawnError', code: 'E2BIG', reason: '' }, 125],
    [{ kind: 'SpawnError', code: 'ENODIR', reason: '' }, 125],
    [{ kind: 'DownloadError', reason: '' }, 125],
    [{ kind: 'Aborted' }, 125],
    [{ kind: 'WorkerLost' }, 125],
    [{ kind: 'OutputTooLarge' }, 125],
    [{ kind: 'Refused', reason: '' }, 125],
    [{ kind: 'Unknown', name: 'Melted' }, 125],
  ]
  for (const [error, code] of cases) {
    t.equal(exitCodeOf(done(error)), code, error?.kind ?? 'none')
    if (error) t.ok(describeError(error).length > 10)
  }
})

t.test('progress', async (t) => {
  const progress = { total: 200, done: 50, failed: 3, running: 8, elapsedMs: 1000 }
  t.equal(timeLeftMs(progress), 3000)
  t.equal(progressLine(progress), '50 of 200 done, 3 failed, 8 running, 3.0 s left')
  t.match(progressBar(progress, 80), /^\[#+\.+\] 50 of 200 done/)
  t.ok(progressBar(progress, 80).length < 80)
  t.equal(progressBar(progress, 20), '50 of 200 done, 3 f')
  const unknown = { ...progress, total: undefined }
  t.equal(progressLine(unknown), '50 done, 3 failed, 8 running')
  t.equal(timeLeftMs({ ...progress, done: 0 }), undefined)
  t.equal(timeLeftMs({ ...progress, done: 200 }), undefined)
})

t.test('tables and JSON', async (t) => {
  t.equal(
    table(
      ['A', 'N'],
      [
        ['x', 1],
        ['long', 22],
        ['y', undefined],
      ],
    ),
    'A      N\nx      1\nlong  22\ny      -',
  )
  t.equal(
    json([{ a: 1, stdout: Buffer.from('é'), deep: { x: Buffer.from([255]) } }]),
    '[{"a":1,"stdout":"é","deep":{"x_base64":"/w=="}}]',
  )
  t.equal(oneLine('a\nb\u001b[31m'), 'a\\x0ab\\x1b[31m')
  t.equal(oneLine('abcdef', 4), 'abc…')
})

t.test('cores are shared out, at least one each', async (t) => {
  t.same(coresPerWorker(2, 2), [1, 1])
  t.same(coresPerWorker(7, 3), [3, 2, 2])
  t.same(coresPerWorker(1, 3), [1, 1, 1])
})
