// What a manager believes of a worker: its claims within bounds, its issuer's labels, and
// what was seen of it.

import t from 'tap'
import type { NodeInfo } from '../../protocol/index.ts'
import { createWorld, exec, taskId, type World } from '../support/manager-world.ts'

const nodesOf = async (world: World): Promise<readonly NodeInfo[]> => {
  const answer = await world.client('looks').ask('NodesList', {})
  return answer.kind === 'NodesListed' ? answer.body.nodes : []
}

const reasonFor = async (world: World, seq: number): Promise<string | undefined> => {
  const client = world.client('asks')
  const answer = await client.ask('TasksExplain', { task_id: taskId(seq) })
  return answer.kind === 'TaskReasons' ? answer.body.nodes[0]?.reason : undefined
}

t.test('a claim beyond what there may be is cut to that', async (t) => {
  const world = createWorld({ mostCores: 8, mostMemoryBytes: 1000, mostOfResource: 3 })
  const huge = Number.MAX_SAFE_INTEGER
  const specs = { resources: { gpu: huge, one: 1 } }
  await world.worker('w1', { cores: huge, memory: huge, specs })
  const worker = (await nodesOf(world)).find(({ role }) => role === 'worker')
  t.match(worker, { cores: 8, memory: 1000, free_slots: 8 })
  const client = world.client('c')
  const needs = [{ cores: 9 }, { memory: 1001 }, { resources: { gpu: 4 } }]
  const tasks = needs.map((requires) => exec({ requires }))
  await client.ask('TasksSubmit', { key: 'k', tasks })
  t.equal(await reasonFor(world, 1), 'needs 9 cores, has 8')
  t.equal(await reasonFor(world, 2), 'needs 1001 bytes of memory, has 1000')
  t.equal(await reasonFor(world, 3), 'needs 4 gpu, has 3')
})

t.test("labels of the issuer are the certificate's and nobody else's", async (t) => {
  const world = createWorld()
  const claimed = { labels: { 'issuer/zone': 'lab', 'issuer/': 'x', zone: 'lab' } }
  const liar = await world.worker('liar', { specs: claimed })
  const real = await world.worker('real', {
    issued: { zone: 'lab' },
    specs: { labels: { 'issuer/zone': 'home', color: 'red' } },
  })
  const workers = (await nodesOf(world)).filter(({ role }) => role === 'worker')
  const labels = workers.map((node) => node.labels)
  t.same(labels, [{ zone: 'lab' }, { 'issuer/zone': 'lab', color: 'red' }])
  const client = world.client('c')
  const requires = { labels: { 'issuer/zone': 'lab' } }
  await client.ask('TasksSubmit', { key: 'k', tasks: [exec({ requires })] })
  t.equal(liar.assigned.length, 0)
  t.equal(real.assigned.length, 1)
})

t.test('as many labels are believed as a node may show', async (t) => {
  const world = createWorld()
  const many = (prefix: string, count: number) =>
    Object.fromEntries([...Array(count)].map((_, i) => [`${prefix}${i}`, 'x']))
  await world.worker('w1', { issued: many('a', 10), specs: { labels: many('b', 64) } })
  const [, worker] = await nodesOf(world)
  const names = Object.keys(worker?.labels ?? {})
  t.equal(names.length, 64)
  t.equal(names.filter((name) => name.startsWith('issuer/')).length, 10)
})

t.test(
  'what a worker refused although it claims it, it is not offered again',
  async (t) => {
    const world = createWorld()
    const worker = await world.worker('w1', { cores: 8 })
    let asked = 0
    worker.handlers.TasksExecute = ({ tasks }, respond) => {
      asked += tasks.length
      const refused = tasks
        .filter(({ requires }) => (requires?.cores ?? 1) > 2)
        .map(({ task_id }) => ({ task_id, reason: 'specs' as const }))
      if (refused.length > 0) respond('TasksRefused', { refused })
      else respond('Ack', {})
    }
    const client = world.client('c')
    const submit = async (key: string, ...cores: number[]) => {
      const tasks = cores.map((count) => exec({ requires: { cores: count } }))
      await client.ask('TasksSubmit', { key, tasks })
    }
    await submit('a', 4)
    t.equal(asked, 1)
    await submit('b', 4, 5, 4)
    t.equal(asked, 1, 'as much, or more, is not tried')
    t.equal(
      await reasonFor(world, 2),
      'refused as much before, although it claims to have it',
    )
    await submit('c', 3)
    t.equal(asked, 2, 'less may be')
    await submit('d', 2)
    t.equal(asked, 3)
    world.net.cut('w1', 'manager')
    const reborn = await world.worker('w1', { cores: 8, bootId: '00000000000000bb' })
    await world.net.settle()
    t.not(reborn.assigned.length, 0, 'another life of it is asked')
  },
)

t.test('a kind of job that it does not run after all is not offered again', async (t) => {
  const world = createWorld()
  const worker = await world.worker('w1', { cores: 8, specs: { kinds: ['exec', 'js'] } })
  let asked = 0
  worker.handlers.TasksExecute = ({ tasks }, respond) => {
    asked += 1
    const refused = tasks.map(({ task_id }) => ({
      task_id,
      reason: 'unsupported-kind' as const,
    }))
    respond('TasksRefused', { refused })
  }
  const client = world.client('c')
  const job = exec({ job_addr: 'js:x' })
  await client.ask('TasksSubmit', { key: 'a', tasks: [job] })
  await client.ask('TasksSubmit', {
    key: 'b',
    tasks: [{ ...job, requires: { cores: 0 } }],
  })
  t.equal(asked, 1)
  t.match(await reasonFor(world, 2), /refused js jobs before, although it claims to run/)
})

t.test(
  'who is busy time and again is asked less often, until it takes something',
  async (t) => {
    const world = createWorld({ busyMs: 100, busyMaxMs: 1000 })
    const worker = await world.worker('w1')
    const asked: number[] = []
    let isBusy = true
    worker.handlers.TasksExecute = (body, respond) => {
      asked.push(world.clock.now())
      if (!isBusy) return respond('Ack', {})
      const refused = body.tasks.map(({ task_id }) => ({
        task_id,
        reason: 'busy' as const,
      }))
      respond('TasksRefused', { refused })
    }
    const client = world.client('c')
    await client.ask('TasksSubmit', { key: 'k', tasks: [exec()] })
    const gaps = async (count: number) => {
      asked.splice(0, asked.length - 1)
      while (asked.length <= count) {
        world.clock.advance(50)
        await world.net.settle()
        await worker.ask('ManagerPing', { rel: worker.rel })
      }
      return asked.slice(1).map((at, i) => at - (asked[i] ?? 0))
    }
    t.same(await gaps(8), [100, 100, 100, 200, 400, 800, 1000, 1000])
    t.match(await reasonFor(world, 1), /said that it is busy, 9 times in a row/)
    isBusy = false
    await gaps(1)
    t.match(await client.ask('TaskShow', { task_id: taskId(1) }), {
      body: { summary: { state: 'accepted' } },
    })
  },
)
