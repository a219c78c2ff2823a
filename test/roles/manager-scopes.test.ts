// What a manager does with the scopes of its clients: where their tasks may run, which
// variables they may set, and which tasks are their business.

import t from 'tap'
import { createWorld, exec, taskId } from '../support/manager-world.ts'

t.test(
  'tasks of a limited client run where its scope holds, and nowhere else',
  async (t) => {
    const world = createWorld()
    const vault = await world.worker('vault', { cores: 4 })
    const client = world.client('c', ['read', 'tasks:run@lab-*'])
    await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
    t.same(vault.assigned, [])
    t.match(await client.ask('TasksExplain', { task_id: taskId(1) }), {
      body: {
        summary: 'no worker can run it',
        nodes: [
          { candidate: false, reason: 'the scopes of who submitted it hold on lab-*' },
        ],
      },
    })
    const lab = await world.worker('lab-1')
    await world.net.settle()
    t.match(lab.assigned, [{ requires: { within: [['lab-*']] } }])
    const bound = exec({ requires: { host_name: 'vault' } })
    t.match(await client.ask('TasksSubmit', { key: 'k2', tasks: [exec(), bound] }), {
      kind: 'Refused',
      body: { reason: 'forbidden', message: /asks for the host vault/ },
    })
    t.match(await client.ask('TasksList', { limit: 9 }), { body: { tasks: [{}] } })
  },
)

t.test(
  'a variable that makes other code run is refused at once, without admin',
  async (t) => {
    const world = createWorld()
    const worker = await world.worker('w1', { cores: 4 })
    const env = { LD_PRELOAD: '/tmp/x.so' }
    const plain = world.client('plain', ['read', 'tasks:run'])
    t.match(await plain.ask('TasksSubmit', { key: 'k', tasks: [exec({ env })] }), {
      kind: 'Refused',
      body: { reason: 'forbidden', message: /LD_PRELOAD .* takes the scope admin/ },
    })
    const admin = world.client('admin', ['read', 'tasks:run', 'admin'])
    await admin.ask('TasksSubmit', { key: 'k', tasks: [exec({ env })] })
    t.match(worker.assigned, [{ env, unsafe_env: true }])
    const [task] = worker.assigned
    if (task === undefined) throw new Error('it is assigned')
    await worker.complete(task)
    const again = { key: 'r', task_ids: [taskId(1)] }
    t.match(await plain.ask('TasksRetry', again), {
      kind: 'Refused',
      body: { reason: 'forbidden' },
    })
    t.match(await admin.ask('TasksRetry', again), { kind: 'TasksSubmitted' })
  },
)

t.test(
  'the same submission again gives the same ids, whatever was recorded',
  async (t) => {
    const world = createWorld()
    const client = world.client('c', ['tasks:run@lab-*'])
    const asked = { key: 'k', tasks: [exec()] }
    const first = await client.ask('TasksSubmit', asked)
    t.same(await client.ask('TasksSubmit', asked), first)
    const other = world.client('d', ['tasks:run'])
    t.match(await other.ask('TasksSubmit', asked), { body: { reason: 'conflict' } })
  },
)

t.test('a limited client sees and touches what is on its hosts', async (t) => {
  const world = createWorld()
  const vault = await world.worker('vault')
  const lab = await world.worker('lab-1')
  const all = world.client('all')
  const on = (host_name: string) => exec({ requires: { host_name }, stdin_live: true })
  await all.ask('TasksSubmit', { key: 'v', tasks: [on('vault'), on('nowhere')] })
  await all.ask('TasksSubmit', { key: 'l', tasks: [on('lab-1')] })
  t.equal(vault.assigned.length + lab.assigned.length, 2)
  const viewer = world.client('viewer', ['read@lab-*', 'tasks:run@lab-*'])
  const mine = await viewer.ask('TasksSubmit', { key: 'm', tasks: [exec(), exec()] })
  t.match(mine, { kind: 'TasksSubmitted' })

  const listed = await viewer.ask('TasksList', { limit: 9 })
  const seen = listed.kind === 'TaskList' ? listed.body.tasks : []
  t.same(
    seen.map(({ task_id }) => task_id),
    [taskId(5), taskId(4), taskId(3)],
  )
  const [theirs, its] = [taskId(1), taskId(3)]
  for (const task_id of [theirs, taskId(2)]) {
    t.match(await viewer.ask('TaskShow', { task_id }), { kind: 'NotFound' })
    t.match(await viewer.ask('TasksExplain', { task_id }), { kind: 'NotFound' })
    const read = { task_id, fd: 1, offset: 0, max: 9, wait_ms: 0 } as const
    t.match(await viewer.ask('TaskLogRead', read), { kind: 'NotFound' })
    const input = { task_id, offset: 0, data: new Uint8Array(1), eof: false }
    t.match(await viewer.ask('TaskInput', input), { kind: 'NotFound' })
    const wait = { task_ids: [task_id], after: 0, wait_ms: 0 }
    t.match(await viewer.ask('TasksWait', wait), { kind: 'NotFound' })
    const retry = { key: 'r', task_ids: [task_id] }
    t.match(await viewer.ask('TasksRetry', retry), { kind: 'Refused' })
  }
  t.match(await viewer.ask('TaskShow', { task_id: its }), { kind: 'TaskRecord' })
  for (const [batch, kind] of [
    ['v', 'NotFound'],
    ['l', 'TasksDone'],
    ['m', 'TasksDone'],
  ] as const)
    t.match(await viewer.ask('TasksWait', { batch, after: 0, wait_ms: 0 }), { kind })
  t.match(await viewer.ask('TasksCancel', { task_ids: [theirs, its] }), {
    body: { unknown: 1, aborted: 1 },
  })
  t.match(await viewer.ask('TasksCancel', { batch: 'v' }), { body: { aborted: 0 } })

  const nodes = await viewer.ask('NodesList', {})
  const names = nodes.kind === 'NodesListed' ? nodes.body.nodes : []
  t.same(
    names.map(({ host_name }) => host_name),
    ['manager', 'lab-1'],
  )
})

t.test('a worker that declines says so in explain', async (t) => {
  const world = createWorld()
  const client = world.client('c')
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
  const node = world.net.add({ name: 'w1', role: 'worker' })
  world.net.attach('w1', { handlers: {}, peerConnected() {}, peerLost() {} })
  world.net.connect('w1', 'manager')
  const bye = { rel: 'none', reason: 'its owner says so' }
  const { nodeId } = world.net.peer('manager', 'w1')
  node.mesh.ask(nodeId, 'ManagerBye', bye, 1000, () => undefined)
  await world.net.settle()
  const explained = () => client.ask('TasksExplain', { task_id: taskId(1) })
  t.match(await explained(), {
    body: {
      summary: 'no worker can run it',
      nodes: [{ host_name: 'w1', reason: 'declines: its owner says so' }],
    },
  })
  world.net.cut('w1', 'manager')
  t.match(await explained(), { body: { summary: 'no worker is connected' } })
})
