// A reader and the attempts of what it reads, answer by answer.

import t from 'tap'
import type { OutputData, RequestOf } from '../../protocol/index.ts'
import type { Link } from '../../src/client/link.ts'
import { type OutputOptions, readOutput } from '../../src/client/output.ts'

type Read = RequestOf<'TaskLogRead'>

const answer = (
  attempt: number,
  offset: number,
  text = '',
  more: { readonly eof?: boolean } = {},
): OutputData => ({
  attempt,
  offset,
  data: Buffer.from(text),
  eof: more.eof ?? false,
  lost: 0,
})
const end = { eof: true }

/** Reads to the end: what was asked (attempt and offset), and what came of it. */
const reading = async (answers: readonly OutputData[], options: OutputOptions = {}) => {
  const asked: string[] = []
  const left = [...answers]
  const ask = (_kind: string, body: Read) => {
    asked.push(`${body.attempt ?? '-'}:${body.offset}`)
    return Promise.resolve({ kind: 'TaskOutputData', body: left.shift() })
  }
  // Only TaskLogRead is asked, and that alone is answered.
  const link = { ask } as unknown as Pick<Link, 'ask'>
  const got: string[] = []
  const onAttempt = (attempt: number) => void got.push(`attempt ${attempt}`)
  for await (const data of readOutput(link, 'task', { ...options, onAttempt }))
    got.push(Buffer.from(data).toString())
  t.equal(left.length, 0, 'every answer was asked for')
  return { asked, got }
}

t.test(
  'a reader goes on where it stopped, and follows the attempt it reads',
  async (t) => {
    const answers = [answer(1, 0, 'ab'), answer(1, 2, 'cd'), answer(1, 4, '', end)]
    t.same(await reading(answers), { asked: ['-:0', '1:2', '1:4'], got: ['ab', 'cd'] })
  },
)

t.test('the next attempt is read from its first byte', async (t) => {
  const answers = [answer(1, 0, 'ab'), answer(2, 0, 'xyz'), answer(2, 3, '', end)]
  t.same(await reading(answers), {
    asked: ['-:0', '1:2', '2:3'],
    got: ['ab', 'attempt 2', 'xyz'],
  })
})

t.test('an attempt that has written nothing is not followed', async (t) => {
  const answers = [
    answer(1, 0, 'ab'),
    answer(2, 0),
    answer(2, 0),
    answer(1, 2, 'cd', end),
  ]
  t.same(await reading(answers), {
    asked: ['-:0', '1:2', '1:2', '1:2'],
    got: ['ab', 'cd'],
  })
})

t.test(
  'an earlier attempt that counts after all is read from its first byte',
  async (t) => {
    const answers = [answer(1, 0, 'ab'), answer(2, 0, 'xy'), answer(1, 0, 'abcd', end)]
    t.same(await reading(answers), {
      asked: ['-:0', '1:2', '2:2'],
      got: ['ab', 'attempt 2', 'xy', 'attempt 1', 'abcd'],
    })
  },
)

t.test('with retries, the end of an attempt is not the end', async (t) => {
  const answers = [
    answer(1, 0, 'ab', end),
    answer(1, 0), // the second has not begun
    answer(2, 0, 'xy', end),
    answer(2, 0, '', end), // and there is no third
  ]
  t.same(await reading(answers, { isRetried: true }), {
    asked: ['-:0', '2:0', '2:0', '3:0'],
    got: ['ab', 'attempt 2', 'xy'],
  })
})
