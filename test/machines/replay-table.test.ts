// The replay table: each signed request once, its answer as often as it is asked for.

import t from 'tap'
import { type Answer, ReplayTable } from '../../src/machines/replay-table.ts'
import { signedFault } from '../../src/machines/signed-request.ts'

const answer = (text: string): Answer => ({ kind: 'Ack', body: Buffer.from(text) })

t.test('the second of a request gets the answer of the first', async (t) => {
  const table = new ReplayTable()
  const got: Answer[] = []
  const take = (key: string, content: string, nowMs = 0) =>
    table.take(key, content, 1000, nowMs, (its) => got.push(its))
  t.equal(take('a 1', 'x'), 'new')
  t.equal(take('a 1', 'x'), 'again', 'while it is done')
  t.same(got, [])
  table.answered('a 1', answer('one'))
  t.same(got, [answer('one'), answer('one')])
  t.equal(take('a 1', 'x'), 'again', 'after it was done')
  t.equal(got.length, 3)
  t.equal(take('a 1', 'y'), 'other')
  t.equal(take('b 1', 'y'), 'new', 'ids are of a sender')
})

t.test('what cannot come again is forgotten; what is being done is not', async (t) => {
  const table = new ReplayTable()
  const take = (key: string, untilMs: number, nowMs: number) =>
    table.take(key, '', untilMs, nowMs, () => undefined)
  take('a', 100, 0)
  take('b', 200, 0)
  table.answered('a', answer(''))
  t.equal(take('c', 300, 150), 'new')
  t.equal(table.size, 2, 'a is gone')
  t.equal(take('d', 400, 250), 'new')
  t.equal(table.size, 3, 'b has no answer yet')
  table.answered('b', answer(''))
  take('e', 400, 250)
  t.equal(table.size, 3)
})

t.test('one that is never done keeps none of the others', async (t) => {
  const table = new ReplayTable()
  for (let at = 0; at < 50; at++) {
    const key = `${at}`
    t.equal(
      table.take(key, '', at + 10, at, () => undefined),
      'new',
    )
    if (at > 0) table.answered(key, answer(''))
  }
  t.ok(table.size <= 12, `${table.size} are kept`)
})

t.test('what was not done at all is new again', async (t) => {
  const table = new ReplayTable()
  const got: string[] = []
  const take = () => table.take('a', '', 100, 0, ({ kind }) => got.push(kind))
  take()
  table.undone('a', { kind: 'Error', body: Buffer.alloc(0) })
  t.same(got, ['Error'])
  t.equal(take(), 'new')
})

t.test('it grows to its limits and no further', async (t) => {
  const table = new ReplayTable({ entries: 2, bytes: 10 })
  const take = (key: string) => table.take(key, '', 100, 0, () => undefined)
  t.equal(take('a'), 'new')
  table.answered('a', answer('12345678901'))
  t.equal(take('b'), 'full', 'by its bytes')
  const other = new ReplayTable({ entries: 2, bytes: 10 })
  for (const verdict of ['new', 'new', 'full'])
    t.equal(
      other.take(`${Math.random()}`, '', 100, 0, () => undefined),
      verdict,
    )
})

t.test('a signed request is for this host, by its signer, and for now', async (t) => {
  const at = 1_000_000_000
  const good = {
    ...{ to: 'pi', from: 'me', id: '1', iat: at, exp: at + 60_000 },
    ...{ kind: 'ProcessStop', body: new Uint8Array() },
  }
  const here = { hostName: 'pi', signer: 'me', nowMs: at, bootMs: at - 1000 }
  t.equal(signedFault(good, here), undefined)
  const bad: [object, string][] = [
    [{ to: 'PI' }, 'forbidden'],
    [{ to: 'nas' }, 'forbidden'],
    [{ from: 'you' }, 'forbidden'],
    [{ exp: at }, 'clock-skew'],
    [{ exp: at + 90_001 }, 'clock-skew'],
    [{ exp: Number.MAX_SAFE_INTEGER }, 'clock-skew'],
    [{ iat: at + 30_001, exp: at + 60_000 }, 'clock-skew'],
    [{ iat: at - 1001 }, 'not-ready'],
  ]
  for (const [change, code] of bad)
    t.match(signedFault({ ...good, ...change }, here), { code }, JSON.stringify(change))
  t.equal(signedFault({ ...good, iat: at + 30_000, exp: at + 90_000 }, here), undefined)
})
