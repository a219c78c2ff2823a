// A world: a whole mesh in one process, made from a scenario. The managers and workers are
// the real ones (src/roles with their machines); everything that their ports lead to is
// simulated here. It is synchronous: `run` lets things happen in the order of the world's
// time, and the same scenario always gives the same history.

import type {
  Introduction,
  LedgerId,
  NodeType,
  TaskId,
  TaskRequest,
} from '../../protocol/index.ts'
import type { Log } from '../ports.ts'
import type { Change } from '../records.ts'
import { createManager, type Manager } from '../roles/manager.ts'
import { Worker } from '../roles/worker.ts'
import { WORKER_DEFAULTS } from '../roles/worker-config.ts'
import { AskBook } from './ask-book.ts'
import type { End } from './connection.ts'
import { Disk, LedgerStore, OutboxStore } from './disks.ts'
import { excess } from './fitting.ts'
import type { Historian } from './history.ts'
import { Life } from './life.ts'
import { Path, Paths } from './paths.ts'
import {
  type ProgramEvents,
  type RunnerOptions,
  type SimRun,
  SimRunner,
  simJobs,
} from './programs.ts'
import { SimRandom } from './random.ts'
import type { ClientSpec, ManagerSpec, Scenario, WorkerSpec } from './scenario.ts'
import { Schedule } from './schedule.ts'
import { type ClientEvents, SimClient } from './sim-client.ts'
import { type Machine, type Network, SimMesh } from './sim-mesh.ts'
import { ObjectTalk, type TalkOptions, WireTalk } from './talk.ts'

/** Somebody who wants to know how tasks get on after a fault. */
export interface Watch {
  /** A program started. */
  started(taskId: TaskId): void
  /** A manager has these on record. */
  durable(ledgerId: LedgerId, changes: readonly Change[]): void
}

export interface WorldOptions {
  /** Gets the history; without it none is made, which is faster. */
  readonly historian?: Historian
  /** Milliseconds of a real clock: measures what the turns of each manager cost (`busyMs`). */
  readonly stopwatch?: () => number
  /** What the roles log; default: nothing. */
  readonly log?: (node: string) => Log
  /** Hears what recovery is measured by, without a whole history. */
  readonly watch?: Watch
  /** Hears what no schedule may bring about. */
  readonly violation?: (what: string) => void
}

const quiet: Log = {
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  debug: () => undefined,
}
/** Where workers listen: managers ask whether anybody still does. */
const PORT = 1
/** How often a manager that ends looks whether its disk is at rest. */
const LOOK_MS = 5
/** How long a manager without a ledger takes to end. */
const ENDING_MS = 50
/** Between the moments of two nodes. */
const PHASE_MS = 1e-5
const ENVIRONMENT = { PATH: '/bin', HOME: '/', LANG: 'C', TZ: 'UTC' }

/** A machine with its node, whether that lives or not. */
export abstract class Node implements Machine {
  readonly name: string
  readonly nodeId: string
  readonly world: World
  readonly role: NodeType
  hasPower = true
  life: Life | undefined
  mesh: SimMesh | undefined
  /** Real milliseconds that earlier lives took. */
  #busyMs = 0
  #boots = 0
  #wallMs: number
  readonly #rate: number
  readonly #phaseMs: number
  readonly #random: SimRandom

  constructor(world: World, spec: ManagerSpec | WorkerSpec | ClientSpec, role: NodeType) {
    this.world = world
    this.name = spec.name
    this.nodeId = spec.nodeId
    this.role = role
    this.#rate = spec.clock.rate
    this.#wallMs = spec.clock.wallOffsetMs
    this.#phaseMs = world.nextPhase()
    this.#random = world.random(`boots of ${spec.name}`)
  }

  /** What its turns cost, by the stopwatch; 0 for all but managers. */
  get busyMs(): number {
    return this.#busyMs + (this.life?.busyMs ?? 0)
  }

  boot(): void {
    if (this.life !== undefined) return
    const { schedule, options } = this.world
    this.#boots += 1
    this.hasPower = true
    const life = new Life(schedule, {
      node: this.name,
      bootId: this.#random.hex(8),
      rate: this.#rate,
      clockMs: this.#random.int(1, 100_000),
      wallOffsetMs: this.#wallMs,
      slotMs: this.world.scenario.slotMs,
      phaseMs: this.#phaseMs,
      stopwatch: this.role === 'manager' ? options.stopwatch : undefined,
    })
    this.life = life
    this.world.tell?.({ kind: 'booted', atMs: schedule.nowMs, ...lifeOf(life) })
    life.hear(() => {
      const random = this.world.random(`${this.name} ${this.#boots}`)
      const mesh = new SimMesh(this.world.network, life, this.#introduce(life), random)
      this.mesh = mesh
      this.begin(life, mesh, random)
    })
  }

  #introduce(life: Life): Introduction {
    const own: Introduction = {
      node_type: this.role,
      node_id: this.nodeId,
      boot_id: life.bootId,
      host_name: this.name,
      minor: 0,
      features: [],
      max_in_flight: 1024,
      max_frame: 1024 * 1024,
    }
    return { ...own, ...this.introduction }
  }

  /** What it says of itself besides. */
  protected get introduction(): Partial<Introduction> {
    return {}
  }
  /** Starts the role. In a turn of the life. */
  protected abstract begin(life: Life, mesh: SimMesh, random: SimRandom): void
  /** Ends in good order; `done` in a turn of the life. Clients just go. */
  leave(_graceMs: number, done: () => void): void {
    done()
  }
  /** What its disk keeps of the work that was under way, and what goes with the process. */
  protected lose(_life: Life, _kept: number): void {}

  crash(how: { readonly silent: boolean; readonly kept: number }): void {
    const { life, mesh } = this
    if (life === undefined) return
    this.#busyMs += life.busyMs
    this.#wallMs = life.wallOffsetMs
    life.end()
    this.life = undefined
    this.mesh = undefined
    if (how.silent) this.hasPower = false
    mesh?.abandon(how)
    this.lose(life, how.kept)
    const { nowMs: atMs } = this.world.schedule
    this.world.tell?.({ kind: 'ended-life', atMs, ...lifeOf(life) })
  }
}

export class ManagerNode extends Node {
  readonly spec: ManagerSpec
  readonly store: LedgerStore
  manager: Manager | undefined

  constructor(world: World, spec: ManagerSpec) {
    super(world, spec, 'manager')
    this.spec = spec
    const disk = new Disk(world.random(`disk of ${spec.name}`), spec.disk)
    this.store = new LedgerStore(disk, {
      id: spec.ledgerId,
      keepsLog: world.scenario.faults.some(
        (fault) =>
          (fault.what === 'crash' || fault.what === 'stop' || fault.what === 'ledger') &&
          fault.node === spec.name,
      ),
      told: (life, changes) => this.#told(life, changes),
    })
  }

  protected override get introduction(): Partial<Introduction> {
    return { ledger_id: this.store.id }
  }

  protected begin(life: Life, mesh: SimMesh, random: SimRandom): void {
    const ledger = this.store.open(life)
    const manager = createManager(
      {
        clock: life.clock,
        random,
        mesh,
        ledger,
        log: this.world.options.log?.(this.name) ?? quiet,
        soon: life.soon,
        self: { node_id: this.nodeId, boot_id: life.bootId, host_name: this.name },
        // Kept scenarios are of before it was waited for.
        config: { returnMs: 0, ...this.spec.config },
        stopped: (why) => this.#stopped(life, why),
      },
      ledger.restorable(),
    )
    this.manager = manager
    mesh.open(manager, [])
  }

  /** Its ledger failed: the process ends, but not at once. */
  #stopped(life: Life, why: string): void {
    if (!this.store.hasFailed) this.world.violation(`${this.name} stopped: ${why}`)
    const { schedule } = life
    schedule.at(schedule.nowMs + ENDING_MS, () => {
      if (this.life === life) this.crash({ silent: false, kept: 0 })
    })
  }

  /** Ends and begins anew at once. */
  restart(): void {
    this.crash({ silent: false, kept: 0 })
    this.boot()
  }

  override leave(_graceMs: number, done: () => void): void {
    const { life, manager } = this
    if (life === undefined || manager === undefined) {
      done()
      return
    }
    // Its promise is of the real world: here it is over when nothing is written any more.
    void manager.close()
    const look = (): void => {
      if (this.store.isIdle) done()
      else life.clock.after(LOOK_MS, look)
    }
    look()
  }

  protected override lose(life: Life, kept: number): void {
    this.manager = undefined
    this.store.crash(life, kept)
  }

  #told(life: Life, changes: readonly Change[]): void {
    const { tell, schedule } = this.world
    this.world.changes += changes.length
    this.world.options.watch?.durable(this.store.id, changes)
    if (tell === undefined) return
    const { nowMs: atMs } = schedule
    const { node, bootId: boot } = life
    for (const change of changes) {
      if (change.kind === 'submitted') continue
      const taskId = `${this.store.id}-${change.seq}`
      const { kind, attempt } = change
      if (kind === 'assigned') {
        const { hostName: worker, bootId: workerBoot } = change
        tell({ kind, atMs, node, boot, taskId, attempt, worker, workerBoot })
      } else if (kind === 'requeued') {
        const { failures, losses } = change
        tell({ kind, atMs, node, boot, taskId, attempt, failures, losses })
      } else {
        const { state, losses } = change
        tell({ kind, atMs, node, boot, taskId, attempt, state, losses })
      }
    }
  }
}

export class WorkerNode extends Node {
  readonly spec: WorkerSpec
  readonly store: OutboxStore
  worker: Worker | undefined
  runner: SimRunner | undefined

  constructor(world: World, spec: WorkerSpec) {
    super(world, spec, 'worker')
    this.spec = spec
    this.store = new OutboxStore(
      new Disk(world.random(`disk of ${spec.name}`), spec.disk),
    )
  }

  protected override get introduction(): Partial<Introduction> {
    return { listen_port: PORT }
  }

  protected begin(life: Life, mesh: SimMesh, random: SimRandom): void {
    const { world, spec } = this
    const options: RunnerOptions = {
      life,
      programs: world.scenario.programs,
      random: world.random(`programs of ${this.name} ${life.bootId}`),
      events: world.programEvents,
      nextRun: world.nextRun,
      spawnMs: world.scenario.spawnMs,
      streamBytes: world.scenario.streamBytes,
    }
    const runner = new SimRunner(options)
    this.runner = runner
    const outbox = this.store.open(life)
    this.#tellCarried(life)
    const worker = new Worker({
      clock: life.clock,
      random,
      mesh,
      runner,
      jobs: simJobs(options),
      outbox,
      log: world.options.log?.(this.name) ?? quiet,
      config: {
        ...WORKER_DEFAULTS,
        nodeId: this.nodeId,
        bootId: life.bootId,
        hostName: this.name,
        cores: spec.cores,
        memoryBytes: 1e9,
        environment: ENVIRONMENT,
        directory: '/tmp',
        outputCapBytes: spec.outputCapBytes,
        killGraceMs: spec.killGraceMs,
        resources: spec.resources ?? {},
        labels: spec.labels ?? {},
        ...(spec.managers === undefined ? {} : { managers: spec.managers }),
      },
    })
    this.worker = worker
    mesh.open(
      worker,
      world.scenario.managers.map(({ name }) => name),
    )
  }

  #tellCarried(life: Life): void {
    const { tell, schedule } = this.world
    if (tell === undefined || this.store.pending.size === 0) return
    const tasks = [...this.store.pending.values()].map(
      ({ task_id: taskId, attempt }) => ({ taskId, attempt }),
    )
    tell({ kind: 'carried', atMs: schedule.nowMs, ...lifeOf(life), tasks })
  }

  override leave(graceMs: number, done: () => void): void {
    if (this.worker === undefined) done()
    else this.worker.leave(graceMs, done)
  }

  protected override lose(life: Life, kept: number): void {
    this.runner?.crash()
    this.runner = undefined
    this.worker = undefined
    this.store.crash(life, kept)
  }
}

export class ClientNode extends Node {
  readonly spec: ClientSpec
  client: SimClient | undefined
  /** What it was told is remembered by the world, not by the client. */
  readonly #told = new Map<string, readonly TaskId[]>()
  #lives = 0

  constructor(world: World, spec: ClientSpec) {
    super(world, spec, 'client')
    this.spec = spec
  }

  protected begin(life: Life, mesh: SimMesh, random: SimRandom): void {
    const { spec } = this
    this.#lives += 1
    const reader = this.#lives === 1 ? spec.name : `${spec.name} (life ${this.#lives})`
    const events = this.world.clientEvents
    const told = this.#told
    this.client = new SimClient({ spec, life, mesh, random, events, reader, told })
    mesh.open(this.client, [spec.manager])
  }

  protected override lose(): void {
    this.client = undefined
  }
}

export class World {
  readonly scenario: Scenario
  readonly options: WorldOptions
  readonly schedule = new Schedule()
  readonly network: Network
  readonly managers: readonly ManagerNode[]
  readonly workers: readonly WorkerNode[]
  readonly clients: readonly ClientNode[]
  /** Changes that became durable, programs that started, tasks that were acknowledged. */
  changes = 0
  starts = 0
  /** Faults that happened. */
  faults = 0
  tasks = 0
  readonly #nodes = new Map<string, Node>()
  readonly #links: [End, End][] = []
  readonly #book: AskBook | undefined
  #runs = 0
  #phases = 0

  constructor(scenario: Scenario, options: WorldOptions = {}) {
    this.scenario = scenario
    this.options = options
    this.#book =
      options.historian === undefined ? undefined : new AskBook(options.historian)
    this.network = this.#makeNetwork()
    this.managers = scenario.managers.map((spec) => new ManagerNode(this, spec))
    this.workers = scenario.workers.map((spec) => new WorkerNode(this, spec))
    this.clients = scenario.clients.map((spec) => new ClientNode(this, spec))
    for (const node of this.nodes) this.#nodes.set(node.name, node)
    for (const node of this.nodes) node.boot()
  }

  get nodes(): readonly Node[] {
    return [...this.managers, ...this.workers, ...this.clients]
  }

  node(name: string): Node {
    const found = this.#nodes.get(name)
    if (found === undefined) throw new Error(`no node ${name}`)
    return found
  }

  /** The history's pen; undefined: none is written. */
  get tell(): Historian | undefined {
    return this.options.historian
  }

  diskOf(name: string): Disk {
    const keeper = [...this.managers, ...this.workers].find((one) => one.name === name)
    if (keeper === undefined) throw new Error(`no disk of ${name}`)
    return keeper.store.disk
  }

  /** A manager that is down has lost its disk, and will begin another ledger. */
  renewLedger(name: string, id: LedgerId): void {
    const manager = this.managers.find((one) => one.name === name)
    if (manager === undefined) throw new Error(`no manager ${name}`)
    const { id: ledgerId } = manager.store
    this.tell?.({ kind: 'ledger-lost', atMs: this.schedule.nowMs, ledgerId })
    manager.store.renew(id)
  }

  violation(what: string): void {
    this.options.violation?.(what)
  }

  /** Chance of its own for a part of the world. */
  random(label: string): SimRandom {
    return new SimRandom(this.scenario.seed, label)
  }

  /** Each node has its own moments. */
  nextPhase(): number {
    this.#phases += 1
    return this.#phases * PHASE_MS
  }

  readonly nextRun = (): number => {
    this.#runs += 1
    return this.#runs
  }

  #makeNetwork(): Network {
    const { delays, chunkMs, wire } = this.scenario
    const random = this.random('connections')
    return {
      paths: new Paths((label) => new Path(this.random(label), delays)),
      chunkMs,
      machine: (name) => this.#nodes.get(name),
      talk: (options: TalkOptions) =>
        random.chance(wire) ? new WireTalk(options) : new ObjectTalk(options),
      joined: (dialled, accepted) => void this.#links.push([dialled, accepted]),
      book: this.#book,
    }
  }

  /** The living connections between two nodes. */
  linksOf(a: string, b: string): readonly (readonly [End, End])[] {
    const living = this.#links.filter((ends) =>
      ends.some(({ state }) => state !== 'ended'),
    )
    this.#links.splice(0, this.#links.length, ...living)
    return living.filter(
      ([one, other]) =>
        (one.owner.name === a && other.owner.name === b) ||
        (one.owner.name === b && other.owner.name === a),
    )
  }

  readonly programEvents: ProgramEvents = {
    started: (run) => {
      this.starts += 1
      this.options.watch?.started(run.taskId)
      if (this.tell === undefined) return
      this.#fits(run)
      const { number, taskId, attempt, life } = run
      const { nowMs: atMs } = this.schedule
      const { node, bootId: boot } = life
      this.tell({ kind: 'started', atMs, node, boot, run: number, taskId, attempt })
    },
    wrote: (run, text) =>
      this.tell?.({
        kind: 'wrote',
        atMs: this.schedule.nowMs,
        run: run.number,
        fd: 1,
        text,
      }),
    took: (run, text, isEof) =>
      this.tell?.({
        kind: 'took',
        atMs: this.schedule.nowMs,
        run: run.number,
        text,
        isEof,
      }),
    signalled: (run) => {
      if (this.tell === undefined) return
      const { nowMs: atMs } = this.schedule
      const { node, bootId: boot } = run.life
      this.tell({ kind: 'signalled', atMs, node, boot, run: run.number })
    },
    exited: (run) => this.#exited(run),
  }

  /** What runs at a worker never needs more than it has, nor what it has not. */
  #fits({ life, taskId }: SimRun): void {
    const worker = this.#nodes.get(life.node)
    if (!(worker instanceof WorkerNode) || worker.runner === undefined) return
    const running = [...worker.runner.running]
    // Of a ledger that was lost nothing is known.
    const requests = running.flatMap((run) => this.#requestOf(run) ?? [])
    const beyond = excess(worker.spec, requests)
    if (beyond === undefined) return
    this.violation(`more-than-there-is: ${life.node} starts ${taskId}, ${beyond}`)
  }

  readonly #requestOf = ({ taskId }: SimRun): TaskRequest | undefined =>
    this.managers
      .find(({ store }) => taskId.startsWith(store.id))
      ?.store.requestOf(Number(taskId.slice(taskId.indexOf('-') + 1)))

  #exited(run: SimRun): void {
    if (this.tell === undefined || run.end.spawnError !== undefined) return
    const { exitCode, signal } = run.end
    const { nowMs: atMs } = this.schedule
    const { node, bootId: boot } = run.life
    const { number } = run
    if (exitCode !== undefined) {
      const how = 'exit'
      this.tell({ kind: 'exited', atMs, node, boot, run: number, how, exitCode })
    } else {
      const how = signal === 'launcher-lost' ? signal : 'signal'
      this.tell({ kind: 'exited', atMs, node, boot, run: number, how })
    }
  }

  readonly clientEvents: ClientEvents = {
    refused: (client, key, why) => {
      if (this.managers.some(({ store }) => store.keys.has(key)))
        this.violation(`${client}: ${key} is refused, it was submitted: ${why}`)
    },
    acknowledged: (client, { taskIds, isNew, exclusive = [] }) => {
      if (isNew) this.tasks += taskIds.length
      if (this.tell === undefined) return
      const ledgerId = taskIds[0]?.slice(0, 10) ?? ''
      const { nowMs: atMs } = this.schedule
      const alone = exclusive.length > 0 ? { exclusive } : {}
      this.tell({ kind: 'acknowledged', atMs, client, ledgerId, taskIds, ...alone })
    },
    shown: (client, shown) =>
      this.tell?.({ kind: 'shown', atMs: this.schedule.nowMs, client, shown }),
    cancelled: (client, taskIds) =>
      this.tell?.({ kind: 'cancelled', atMs: this.schedule.nowMs, client, taskIds }),
    read: (client, taskId, fd, { offset, data, eof: isEof, lost, attempt = 0 }) =>
      this.tell?.({
        kind: 'read',
        atMs: this.schedule.nowMs,
        client,
        taskId,
        attempt,
        fd,
        offset,
        text: latin1(data),
        lost,
        isEof,
      }),
    typed: (client, taskId, text) =>
      this.tell?.({ kind: 'typed', atMs: this.schedule.nowMs, client, taskId, text }),
    violation: (what) => this.violation(what),
  }

  /** How many requests there were; 0 without a history. */
  get asks(): number {
    return this.#book?.count ?? 0
  }

  /** Has all that was handed in come to its end, and does nothing run? */
  get isAtRest(): boolean {
    return (
      this.clients.every(({ client }) => client?.isDone === true) &&
      this.managers.every(({ manager }) => manager?.counts.open === 0) &&
      this.workers.every(
        ({ runner, worker }) =>
          runner?.running.size === 0 && worker?.status.pending === 0,
      )
    )
  }

  /** Lets everything happen up to a time of the world, or while `goesOn`. */
  run(untilMs: number, goesOn?: () => boolean): void {
    const { schedule } = this
    while (schedule.step(untilMs)) if (goesOn !== undefined && !goesOn()) return
    schedule.nowMs = Math.max(schedule.nowMs, untilMs)
  }

  /** Every connection ends, so that what is asked and not overdue settles too. */
  #hangUp(): void {
    for (const { life, mesh } of this.nodes)
      for (const end of [...(mesh?.ends ?? [])])
        life?.hear(() => end.finish({ clean: true, isTold: true }))
  }

  /** Writes the end of the history: who still runs what. */
  rest(): void {
    const { nowMs: atMs } = this.schedule
    const running = this.workers.flatMap(({ runner }) =>
      [...(runner?.running ?? [])].map(({ number }) => number),
    )
    const open = this.managers.flatMap(({ store }) =>
      store.openTasks().map(({ seq }) => `${store.id}-${seq}`),
    )
    const asks = this.#book?.overdue(atMs) ?? []
    this.#hangUp()
    this.tell?.({ kind: 'rested', atMs, running, open, asks })
  }
}

const lifeOf = ({ node, bootId }: Life) => ({ node, boot: bootId })

const latin1 = (bytes: Uint8Array): string => {
  let text = ''
  for (let i = 0; i < bytes.length; i += 4096)
    text += String.fromCharCode(...bytes.subarray(i, i + 4096))
  return text
}
