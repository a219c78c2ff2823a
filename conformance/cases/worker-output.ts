// Output of tasks and input for them: read by offset, gapless, with back-pressure.

import { createHash } from 'node:crypto'
import type { Case } from '../case.ts'
import { type Assigned, type ManagerSide, newLedger, script } from '../manager-side.ts'
import { identity } from '../peer.ts'
import { type Body, facts } from '../protocol.ts'
import { equal, expect } from '../stage.ts'

const { inline_bytes: INLINE, data_bytes: DATA } = facts.limits

const sha256 = (data: Uint8Array): string =>
  createHash('sha256').update(data).digest('hex')

/** `size` bytes on stdout: lines of numbers, cut at the end. */
const numbers = (size: number) =>
  script('seq 1 9999999 2>/dev/null | head -c "$1"', String(size))

const stdoutOf = async (manager: ManagerSide, task: Assigned): Promise<Body> => {
  const { b } = await manager.told('TaskCompleted', task)
  return ((b.result as Body).stdout ?? {}) as Body
}

/** Reads from 0 to the end. */
const readAll = async (
  manager: ManagerSide,
  kind: 'TaskOutputRead' | 'BlobRead',
  fields: object,
): Promise<Buffer> => {
  const parts: Uint8Array[] = []
  let offset = 0
  for (;;) {
    const asked = { ...fields, offset, max: 10 * DATA }
    const { data, eof, ...rest } = await manager.read(kind, asked)
    equal(rest.offset, offset, 'the offset of an answer')
    expect(data.length <= DATA, () => `${data.length} bytes in one answer`)
    parts.push(data)
    offset += data.length
    if (eof) return Buffer.concat(parts)
  }
}

const read = ({ task_id, attempt }: Assigned, more: object = {}) => ({
  ...{ task_id, attempt, fd: 1, offset: 0, max: DATA, wait_ms: 10_000, ...more },
})

export const workerOutputCases: readonly Case[] = [
  {
    name: 'output: a stream is read by offset, to its end',
    role: 'worker',
    isAlone: true,
    rule: 'Of a stream, `offset` acknowledges all before it, which is forgotten.',
    run: async (stage) => {
      const manager = await stage.manager()
      const size = 3_000_000
      const task = await manager.start({ ...numbers(size), output: 'stream' })
      const data = await readAll(manager, 'TaskOutputRead', read(task))
      equal(data.length, size, 'the bytes that came')
      const { sha256: digest, size: said } = await stdoutOf(manager, task)
      equal([said, digest], [size, sha256(data)], 'size and digest in its outcome')
    },
  },
  {
    name: 'output: a stream waits for its reader',
    role: 'worker',
    isAlone: true,
    rule: '`stream` holds about 1 MiB for its reader, and then the program waits',
    run: async (stage) => {
      const manager = await stage.manager()
      const task = await manager.start({
        ...script('head -c 8000000 /dev/zero; echo over >&2'),
        output: 'stream',
      })
      await manager.told('TaskStarted', task)
      const early = await manager.read(
        'TaskOutputRead',
        read(task, { fd: 2, wait_ms: 300 }),
      )
      equal(
        [early.data.length, early.eof],
        [0, false],
        'what it wrote after 8 MB, unread',
      )
      const data = await readAll(manager, 'TaskOutputRead', read(task))
      equal(data.length, 8_000_000, 'the bytes that came')
      await manager.told('TaskCompleted', task)
    },
  },
  {
    name: 'output: a read waits for what comes',
    role: 'worker',
    isAlone: true,
    rule: 'at once if there is something, or at the end (`eof`), else when something comes, or after `wait_ms` with nothing',
    run: async (stage) => {
      const manager = await stage.manager()
      const task = await manager.start({
        ...script('sleep 0.4; echo late; sleep 60'),
        output: 'stream',
      })
      await manager.told('TaskStarted', task)
      const nothing = await manager.read('TaskOutputRead', read(task, { wait_ms: 50 }))
      equal([nothing.data.length, nothing.eof], [0, false], 'what comes after 50 ms')
      const late = await manager.read('TaskOutputRead', read(task))
      equal(Buffer.from(late.data).toString(), 'late\n', 'what comes later')
      const again = await manager.read('TaskOutputRead', read(task, { max: 2 }))
      equal(Buffer.from(again.data).toString(), 'la', 'two bytes of the same place')
    },
  },
  {
    name: 'output: a little travels in the outcome',
    role: 'worker',
    isAlone: true,
    rule: 'at most 32 KiB, they travel as `inline`, else each has a `ref`',
    run: async (stage) => {
      const manager = await stage.manager()
      const small = await stdoutOf(manager, await manager.start(numbers(INLINE)))
      const inline = small.inline as Uint8Array
      equal([inline.length, small.ref], [INLINE, undefined], 'inline and ref')
      equal(small.sha256, sha256(inline), 'its digest')
      const large = await stdoutOf(manager, await manager.start(numbers(INLINE + 1)))
      equal([large.inline, typeof large.ref], [undefined, 'string'], 'of one byte more')
    },
  },
  {
    name: 'output: more is read by its address',
    role: 'worker',
    isAlone: true,
    rule: 'which the worker keeps until BlobRelease, or for an hour',
    run: async (stage) => {
      const manager = await stage.manager()
      const task = await manager.start(numbers(200_000))
      const { ref, size, sha256: digest } = await stdoutOf(manager, task)
      const data = await readAll(manager, 'BlobRead', { ref })
      equal([data.length, sha256(data)], [size, digest], 'size and digest')
      const part = await manager.read('BlobRead', { ref, offset: 150_000, max: 7 })
      const expected = data.subarray(150_000, 150_007).toString()
      equal(Buffer.from(part.data).toString(), expected, 'seven bytes from the middle')
      const { peer } = manager
      equal((await peer.ask('BlobRelease', { refs: [ref] })).k, 'Ack', 'to BlobRelease')
      const gone = await peer.ask('BlobRead', { ref, offset: 0, max: 1 })
      equal(gone.k, 'NotFound', 'the answer afterwards')
    },
  },
  {
    name: 'output: nobody else reads it',
    role: 'worker',
    isAlone: true,
    rule: "BlobRead and BlobRelease serve managers of the task's ledger alone.",
    run: async (stage) => {
      const manager = await stage.manager()
      const task = await manager.start(numbers(50_000))
      const { ref } = await stdoutOf(manager, task)
      const rival = await stage.open(identity('manager', { ledger_id: newLedger() }))
      for (const peer of [rival, await stage.open()]) {
        const { k } = await peer.ask('BlobRead', { ref, offset: 0, max: 1 })
        const { node_type } = peer.self
        const expected = node_type === 'manager' ? 'NotFound' : 'Error'
        equal(k, expected, `the answer to a ${node_type}`)
        await peer.ask('BlobRelease', { refs: [ref] })
      }
      const { data } = await manager.read('BlobRead', { ref, offset: 0, max: 1 })
      equal(data.length, 1, 'what its manager reads after their BlobRelease')
    },
  },
  {
    name: 'output: what is thrown away',
    role: 'worker',
    isAlone: true,
    rule: '`none` goes nowhere.',
    run: async (stage) => {
      const manager = await stage.manager()
      const task = await manager.start({ ...numbers(1000), output: 'none' })
      equal(await stdoutOf(manager, task), {}, 'its stdout')
      const { k } = await manager.peer.ask('TaskOutputRead', {
        ...{ rel: manager.rel, ...read({ ...task, task_id: manager.taskId() }) },
        wait_ms: 0,
      })
      equal(k, 'NotFound', 'the answer for a task that is not known')
    },
  },
  {
    name: 'output: a child left behind holds nothing up',
    role: 'worker',
    isAlone: true,
    rule: "After the program's exit it is given up when it stayed empty for 1 s although it was read",
    run: async (stage) => {
      const manager = await stage.manager()
      const task = await manager.start(script('sleep 60 & echo hi'))
      const { b } = await manager.told('TaskCompleted', task)
      const { lost_tail, stdout } = b.result as Body
      equal(lost_tail, true, 'lost_tail')
      const { inline } = stdout as Body
      equal(Buffer.from(inline as Uint8Array).toString(), 'hi\n', 'its output')
    },
  },
  {
    name: 'input: bytes go in by offset',
    role: 'worker',
    isAlone: true,
    rule: 'what is before the bytes taken so far is passed over, what begins beyond them is not written; `eof` closes it',
    run: async (stage) => {
      const manager = await stage.manager()
      const task = await manager.start({ job_addr: 'exec:cat', stdin_live: true })
      await manager.told('TaskStarted', task)
      const { rel } = manager
      const input = async (offset: number, text: string, eof = false) => {
        const { task_id, attempt } = task
        const data = Buffer.from(text)
        const body = { rel, task_id, attempt, offset, data, eof }
        return (await manager.peer.ask('TaskInput', body)).k
      }
      equal(await input(0, 'one '), 'Ack', 'the answer to the first bytes')
      equal(await input(0, 'one '), 'Ack', 'the answer to the same again')
      equal(await input(2, 'e two'), 'Ack', 'the answer to some of the same')
      equal(await input(7, '', true), 'Ack', 'the answer to the end')
      const { inline } = await stdoutOf(manager, task)
      equal(
        Buffer.from(inline as Uint8Array).toString(),
        'one two',
        'what the program read',
      )
    },
  },
  {
    name: 'input: for who reads none',
    role: 'worker',
    isAlone: true,
    rule: '`NotFound` when the program does not read, is over or has no live stdin',
    run: async (stage) => {
      const manager = await stage.manager()
      const task = await manager.start({ job_addr: 'exec:sleep', arguments: ['60'] })
      await manager.told('TaskStarted', task)
      const { task_id, attempt } = task
      const body = { task_id, attempt, offset: 0, data: Buffer.from('x'), eof: false }
      const { rel, peer } = manager
      equal((await peer.ask('TaskInput', { rel, ...body })).k, 'NotFound', 'the answer')
      equal((await peer.ask('TaskInput', body)).k, 'NotMine', 'the answer without a rel')
    },
  },
]
