// Scalars: what each small value accepts and refuses.

import t from 'tap'
import { HostName, NodeId, TaskId } from '../../protocol/index.ts'

t.test('a host name is labels joined by dots, of bounded length', async (t) => {
  for (const good of ['a', 'robot-1', 'robot_1.lab.local', 'A1', 'x'.repeat(63)])
    t.ok(HostName.is(good), good)
  for (const bad of ['', '-a', 'a-', 'a..b', '.a', 'a.', 'a b', 'é', 'x'.repeat(64)])
    t.notOk(HostName.is(bad), JSON.stringify(bad))
})

t.test('a task id is a ledger id and a sequence from 1', async (t) => {
  t.ok(TaskId.is('0123456789-1'))
  for (const bad of ['0123456789-0', '0123456789', '123-1', '0123456789-01', 5])
    t.notOk(TaskId.is(bad), String(bad))
})

t.test('a guest is named below its node', async (t) => {
  const id = '0123456789abcdef0123456789abcdef'
  t.ok(NodeId.is(id))
  t.ok(NodeId.is(`${id}/common`))
  t.notOk(NodeId.is(`${id}/a/b`))
})
