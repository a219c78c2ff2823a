// A hub between a client and its hosts: what the way through it costs, how soon it knows who
// is there, and that hosts which hang or die keep nobody waiting.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Client, connect, type Event, type Host } from '../src/index.ts'
import { comparison } from './support/figures.ts'
import { binary, said } from './support/mesh.ts'
import { report } from './support/report.ts'
import { interleave, median, quantile } from './support/rounds.ts'

const READS = 1_000
const ROUND_MS = 1_000
const ROUNDS = 7
const IN_FLIGHT = 64
const COMINGS = 10
const PROCESSES = 100
/** Nobody has it: to be told so takes all the checks and nothing else. */
const NO_PID = 4_000_000

const place = await mkdtemp(join(tmpdir(), 'manyhands-bench-'))
const state = join(place, 's')
const started = new Set<ChildProcess>()
const node = (role: string, name: string): ChildProcess => {
  const flags = ['--role', role, '--name', name, '--state', state, '--no-mdns']
  const child = spawn(process.execPath, [binary, ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  started.add(child)
  return child
}
const UP = /is up/
const kill = async (child: ChildProcess): Promise<void> => {
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
  started.delete(child)
}

const spans = async (count: number, ask: () => Promise<unknown>) => {
  const its: number[] = []
  for (let turn = 0; turn < count; turn += 1) {
    const start = performance.now()
    await ask()
    its.push(performance.now() - start)
  }
  return its
}

/** So many at once, for a while; a second's worth. */
const rate = async (ask: () => Promise<unknown>): Promise<number> => {
  const until = performance.now() + ROUND_MS
  let count = 0
  const one = async (): Promise<void> => {
    while (performance.now() < until) {
      await ask()
      count += 1
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, one))
  return count / (ROUND_MS / 1000)
}

const costOfTheWay = async (through: Host, direct: Host): Promise<void> => {
  const { processId } = await through.start({ path: '/bin/sleep', args: ['1000'] })
  const read = (host: Host) => () => host.query(processId)
  await spans(200, read(through))
  await spans(200, read(direct))
  const [over, straight]: [number[], number[]] = [[], []]
  for (let turn = 0; turn < 10; turn += 1) {
    over.push(...(await spans(READS / 10, read(through))))
    straight.push(...(await spans(READS / 10, read(direct))))
  }
  report({
    what: 'a read through the hub, p50 over the direct one',
    value: median(over) - median(straight),
    unit: 'ms',
    goal: ['<=', 2],
    note: `${median(over).toFixed(2)} ms by ${median(straight).toFixed(2)} ms; p99 ${quantile(over, 0.99).toFixed(1)} ms`,
  })
  const pairs = await interleave(
    ROUNDS,
    () => rate(read(through)),
    () => rate(read(direct)),
  )
  report({
    what: `reads through the hub, ${IN_FLIGHT} in flight`,
    value: median(pairs.map(({ subject }) => subject)),
    unit: '/s',
    goal: ['>=', 5_000],
  })
  const what = 'the same, by asking the host directly'
  report(comparison({ what, yardstick: 'direct', unit: '/s', goal: ['>=', 0.4] }, pairs))
  const signed = () =>
    through.stop(NO_PID).catch((error: Error) => {
      if (!error.message.includes('no process')) throw error
    })
  await rate(signed)
  const rates: number[] = []
  for (let round = 0; round < ROUNDS; round += 1) rates.push(await rate(signed))
  report({
    what: `signed requests through the hub, ${IN_FLIGHT} in flight`,
    value: median(rates),
    unit: '/s',
    goal: ['>=', 1_000],
  })
  await through.stop(processId)
}

const comingAndGoing = async (client: Client): Promise<void> => {
  const stop = new AbortController()
  const waiting = new Map<string, () => void>()
  const heard = (name: string, host: string) =>
    new Promise<number>((resolve) =>
      waiting.set(`${name} ${host}`, () => resolve(performance.now())),
    )
  const watching = (async () => {
    const tell = ({ name, host_name }: Event) => waiting.get(`${name} ${host_name}`)?.()
    for await (const event of client.events({ topics: ['nodes'], signal: stop.signal }))
      tell(event)
  })().catch(() => undefined)
  const [seen, forgotten]: [number[], number[]] = [[], []]
  for (let turn = 0; turn < COMINGS; turn += 1) {
    const name = `n${turn}`
    const came = heard('node-connected', name)
    const child = node('worker', name)
    await said(child, UP)
    const upMs = performance.now()
    seen.push(Math.max(0, (await came) - upMs))
    const left = heard('node-lost', name)
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
    const goneMs = performance.now()
    forgotten.push(Math.max(0, (await left) - goneMs))
    started.delete(child)
  }
  stop.abort()
  await watching
  report({
    what: 'a hub and its client see a new node, longest of 10',
    value: Math.max(...seen),
    unit: 'ms',
    goal: ['<=', 1_000],
    note: 'after it said that it is up',
  })
  report({
    what: 'and forget one that was killed, longest of 10',
    value: Math.max(...forgotten),
    unit: 'ms',
    goal: ['<=', 50],
    note: 'after its process was gone',
  })
}

const besideHanging = async (client: Client, pi: Host, hung: ChildProcess) => {
  const host = await client.host('nas')
  /** Asks that go on beside the ones that are measured. */
  const p99 = async (): Promise<number> => {
    let isOver = false
    const pressing = Array.from({ length: 16 }, async () => {
      while (!isOver) {
        host.query(NO_PID).catch(() => undefined)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    })
    const its = await spans(READS, () => pi.processes())
    isOver = true
    await Promise.all(pressing)
    return quantile(its, 0.99)
  }
  const pairs = await interleave(
    ROUNDS,
    async () => {
      hung.kill('SIGSTOP')
      const beside = await p99()
      hung.kill('SIGCONT')
      await host.query(NO_PID).catch(() => undefined)
      return beside
    },
    p99,
  )
  const what = 'p99 of reads at one host while another hangs'
  const yardstick = 'the same while it answers'
  report(comparison({ what, yardstick, unit: 'ms', goal: ['<=', 1.2] }, pairs))
}

/** In the command of what the processes start, and of nothing else. */
const MARK = 1_000_000 + process.pid

/** Those that are alive. */
const marked = (): number =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
        return command.startsWith('sleep') && command.includes(String(MARK))
      } catch {
        return false // it has just ended
      }
    }).length

const manyProcesses = async (client: Client): Promise<void> => {
  const names = ['pi', 'nas', 'arm']
  const hosts = await Promise.all(names.map((name) => client.host(name)))
  const beganMs = performance.now()
  const each = Array.from({ length: PROCESSES }, async (_, at) => {
    const host = hosts[at % hosts.length] as Host // there are three
    const args = ['-c', `sleep ${MARK} & echo $$; wait`]
    const { pid, processId } = await host.start({ path: '/bin/sh', args })
    const { pid: listed, running } = await host.query(processId)
    let text = ''
    for await (const data of host.output(processId, { follow: true })) {
      text += Buffer.from(data).toString()
      if (text.includes('\n')) break
    }
    const isRight = running && listed === pid && Number(text) === pid
    await host.stop(processId)
    await host.wait(processId)
    return isRight
  })
  const right = (await Promise.all(each)).filter((isRight) => isRight).length
  const listed = (await Promise.all(hosts.map((host) => host.processes()))).flat().length
  // What ignores INT in the group is ended soon after its leader.
  const goneMs = performance.now() + 5_000
  while (marked() > 0 && performance.now() < goneMs)
    await new Promise((resolve) => setTimeout(resolve, 50))
  report({
    what: `of ${PROCESSES} processes on 3 hosts, started, queried, read and stopped at once: right`,
    value: right,
    unit: '',
    goal: ['>=', PROCESSES],
    note: `${listed} still listed, ${marked()} left behind; ${((performance.now() - beganMs) / 1000).toFixed(1)} s`,
  })
}

const ladder = async (host: Host): Promise<void> => {
  const ignoring = async (signals: string, stopsAtMs: readonly number[]) => {
    const script = `trap '' ${signals}; echo ready; while :; do sleep 0.1; done`
    const spec = { path: '/bin/sh', args: ['-c', script], ready: { log: 'ready' } }
    const { processId } = await host.start(spec)
    await host.wait(processId, 'ready')
    const beganMs = performance.now()
    const answers: number[] = []
    const stops = stopsAtMs.map(async (atMs) => {
      await new Promise((resolve) => setTimeout(resolve, atMs))
      const askedMs = performance.now()
      await host.stop(processId)
      answers.push(performance.now() - askedMs)
    })
    await host.wait(processId)
    const goneS = (performance.now() - beganMs) / 1000
    await Promise.all(stops)
    return { goneS, answerMs: Math.max(...answers) }
  }
  const [once_, twice, both] = await Promise.all([
    ignoring('INT', [0]),
    ignoring('INT', [0, 3000]),
    ignoring('INT TERM', [0]),
  ])
  const tell = (
    what: string,
    { goneS }: { goneS: number },
    most: number,
    least: number,
  ) =>
    report({
      ...{ what, value: goneS, unit: 's', goal: ['<=', most] },
      note: `not before ${least} s: ${goneS >= least ? 'so' : 'NOT so'}`,
    })
  tell('a program that ignores INT is gone after', once_, 6.5, 4.5)
  tell('the same, stopped again after 3 s', twice, 6.5, 4.5)
  tell('one that ignores INT and TERM', both, 12, 9.5)
  report({
    what: 'a stop is answered within',
    value: Math.max(once_.answerMs, twice.answerMs, both.answerMs),
    unit: 'ms',
    goal: ['<=', 50],
  })
}

try {
  const hub = node('hub', 'hub')
  await said(hub, UP)
  const [manager, pi, nas, arm] = [
    node('manager', 'm'),
    ...['pi', 'nas', 'arm'].map((name) => node('worker', name)),
  ] as const
  await Promise.all([manager, pi, nas, arm].map((child) => child && said(child, UP)))
  await using client = await connect({ state, discoverMs: 0 })
  await using straight = await connect({ state, discoverMs: 0, hub: false })
  while ((await (await client.hub())?.link.ask('NodesList', {}))?.body.nodes.length !== 5)
    await new Promise((resolve) => setTimeout(resolve, 50))
  const host = await client.host('pi')
  await costOfTheWay(host, await straight.host('pi'))
  await comingAndGoing(client)
  await besideHanging(client, host, nas as ChildProcess)
  await manyProcesses(client)
  await ladder(host)
} finally {
  await Promise.all([...started].map(kill))
  await rm(place, { recursive: true, force: true })
}
