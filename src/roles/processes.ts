// Processes: the process manager of a node. It joins the table of processes with the runner:
// starts, signals, times and restarts them, keeps what they write, and answers who asks.
// They are no tasks: they take no slot, know no manager, and end with this node.

import type { Handlers, ProcessInfo, RequestOf, Respond } from '../../protocol/index.ts'
import {
  hasProgram,
  type Process,
  type ProcessEffect,
  type ProcessNews,
} from '../machines/process.ts'
import { infoOf, ProcessTable } from '../machines/process-table.ts'
import type { Cancel, Clock, Jobs, Log, Mesh, Peer, Runner } from '../ports.ts'
import type { News } from './events.ts'
import { HeldProcess } from './process-held.ts'
import { watchReadiness } from './process-readiness.ts'
import { type Asked, answerInput, answerRead, answerWait } from './process-reads.ts'
import {
  LEAVING,
  type ProcessesConfig,
  refusal,
  refused,
  runSpecOf,
  unprepared,
} from './process-spec.ts'

export interface ProcessesPorts {
  readonly clock: Clock
  readonly runner: Runner
  readonly jobs: Jobs
  readonly mesh: Pick<Mesh, 'isRefused'>
  readonly log: Log
  readonly config: ProcessesConfig
  /** What becomes of them, for whoever reads along. */
  readonly tell?: (news: News) => void
}

const NEWS: Readonly<Record<string, string>> = {
  started: 'process-started',
  ended: 'process-ended',
}

/** How much of a list travels in one answer. */
const PAGE = 1000
const PAGE_CHARACTERS = 256 * 1024

export class Processes {
  readonly handlers: Handlers<Peer>
  readonly #ports: ProcessesPorts
  readonly #table: ProcessTable
  readonly #held = new Map<string, HeldProcess>()
  #cancelSweep: Cancel = () => undefined
  #isLeaving = false
  #isClosed = false
  #onEmpty: () => void = () => undefined

  constructor(ports: ProcessesPorts) {
    this.#ports = ports
    this.#table = new ProcessTable(ports.config.retention)
    this.handlers = {
      ProcessStart: (body, respond, from) => this.#start(body, respond, from),
      ProcessList: (body, respond) => this.#list(body, respond),
      ProcessStop: this.#about((asked, _body, respond) => {
        this.#apply(asked.id, { kind: 'stop' })
        respond('Ack', {})
      }),
      ProcessQuery: this.#about(({ id, state }, _body, respond) =>
        respond('ProcessStatus', infoOf(id, state())),
      ),
      ProcessWait: this.#about(answerWait),
      ProcessSignal: this.#about(({ held, state }, { signal }, respond) => {
        if (!hasProgram(state())) return respond('NotFound', {})
        held.last?.run.kill(signal)
        respond('Ack', {})
      }),
      ProcessInput: this.#about(answerInput),
      ProcessOutputRead: this.#about((asked, body, respond) =>
        answerRead(ports.clock, asked, body, respond),
      ),
    }
  }

  /** How many have not ended for good. */
  get open(): number {
    return this.#table.open
  }

  /** Stops them all, by the ladder, and starts no more. Resolves when they have ended. */
  drain(): Promise<void> {
    this.#isLeaving = true
    for (const id of this.#table.openIds) this.#apply(id, { kind: 'stop' })
    return new Promise((resolve) => {
      this.#onEmpty = resolve
      if (this.#table.open === 0) resolve()
    })
  }

  /** Ends at once: forgets every timer. Its programs are the runner's to kill. */
  close(): void {
    this.#isLeaving = true
    this.#isClosed = true
    this.#cancelSweep()
    for (const held of this.#held.values()) held.cancelTimers()
    this.#onEmpty()
  }

  /** A handler that answers NotFound unless there is such a process. */
  #about<K extends AboutOne>(
    then: (asked: Asked, body: RequestOf<K>, respond: Respond<K>) => void,
  ): (body: RequestOf<K>, respond: Respond<K>) => void {
    return (body, respond) => {
      this.#sweep()
      const id = this.#table.find(body)
      const held = id === undefined ? undefined : this.#held.get(id)
      if (id === undefined || held === undefined) return notFound(respond)
      then({ id, held, state: () => this.#stateOf(id) }, body, respond)
    }
  }

  #stateOf(id: string): Process {
    const process = this.#table.get(id)
    // It is held for as long as it is in the table.
    if (process === undefined) throw new Error(`no process ${id}`)
    return process
  }

  #start(
    { spec, key }: RequestOf<'ProcessStart'>,
    respond: Respond<'ProcessStart'>,
    { rights }: Peer,
  ): void {
    this.#sweep()
    const known = this.#table.withKey(key)
    if (known !== undefined) {
      this.#startAgain(known, respond)
      return
    }
    const { clock, config, jobs } = this.#ports
    const { open } = this.#table
    const no = this.#isLeaving ? LEAVING : refusal(spec, { open, rights, config })
    if (no !== undefined) {
      respond('Refused', no)
      return
    }
    // A program on this machine is looked for at once.
    jobs.prepare(`exec:${spec.path}`, (result) => {
      if (result._tag === 'Left') return respond('Refused', unprepared(result.left))
      const id = this.#table.add(spec, key)
      const held = new HeldProcess(result.right, clock)
      this.#held.set(id, held)
      held.addStarter(respond)
      this.#run(id, held)
    })
  }

  /** The same key again: the same answer, when there is one. */
  #startAgain(id: string, respond: Respond<'ProcessStart'>): void {
    const { pid } = this.#stateOf(id)
    if (pid === undefined) this.#held.get(id)?.addStarter(respond)
    else respond('ProcessStarted', { pid, process_id: id })
  }

  #run(id: string, held: HeldProcess): void {
    const { spec, run: number } = this.#stateOf(id)
    const runSpec = runSpecOf(id, spec, held.job, this.#ports.config)
    const run = this.#ports.runner.start(runSpec, {
      started: (pid) => this.#apply(id, { kind: 'started', pid }),
      ended: (end) => this.#apply(id, { kind: 'ended', end }),
    })
    held.began({ number, run })
  }

  #apply(id: string, news: ProcessNews): void {
    const held = this.#held.get(id)
    if (this.#isClosed || held === undefined) return
    const { clock } = this.#ports
    const event = { ...news, nowMs: clock.now(), atMs: clock.wall() }
    const { isReady: wasReady } = this.#stateOf(id)
    for (const effect of this.#table.apply(id, event)) this.#perform(id, held, effect)
    if (news.kind === 'started') this.#watch(id, held)
    if (news.kind === 'ended') held.unwatch()
    if (news.kind !== 'stop') this.#tell(id, news.kind, wasReady)
    held.changed()
    if (this.#isLeaving && this.#table.open === 0) this.#onEmpty()
  }

  #tell(
    id: string,
    what: 'started' | 'ended' | 'timer' | 'ready',
    wasReady: boolean,
  ): void {
    const process = this.#table.get(id)
    // One whose first run could not be started is none.
    if (process === undefined || this.#ports.tell === undefined) return
    const { pid, run, ready, exit_code, signal, restart_ms, command } = infoOf(
      id,
      process,
    )
    const name = NEWS[what]
    const of = { topic: 'processes', host_name: this.#ports.config.hostName } as const
    const its = { ...of, process_id: id, run, ...(pid !== undefined && { pid }) }
    if (name === 'process-started') this.#ports.tell({ ...its, name, about: command })
    if (name === 'process-ended')
      this.#ports.tell({
        ...{ ...its, name },
        ...(exit_code !== undefined && { exit_code }),
        ...(signal !== undefined && { signal }),
        ...(restart_ms !== undefined && { restart_ms }),
      })
    if (ready && !wasReady && process.spec.ready !== undefined)
      this.#ports.tell({ ...its, name: 'process-ready' })
  }

  #perform(id: string, held: HeldProcess, effect: ProcessEffect): void {
    switch (effect.kind) {
      case 'start':
        this.#run(id, held)
        break
      case 'began':
        this.#began(id, held, effect.pid)
        break
      case 'refused': {
        const no = refused(effect.code, effect.reason)
        held.answerStarters((respond) => respond('Refused', no))
        this.#release(id)
        break
      }
      case 'signal':
        held.last?.run.kill(effect.signal)
        break
      case 'timer':
        held.timer(effect.afterMs, () => this.#apply(id, { kind: 'timer' }))
        break
      case 'over':
        held.cancelTimers()
        this.#ports.log.info('process ended', endFields(id, this.#stateOf(id)))
        this.#armSweep()
    }
  }

  #began(id: string, held: HeldProcess, pid: number): void {
    const { program } = held.job
    this.#ports.log.info('process started', { process: id, pid, program })
    held.answerStarters((respond) => respond('ProcessStarted', { pid, process_id: id }))
  }

  #watch(id: string, held: HeldProcess): void {
    const { ready } = this.#stateOf(id).spec
    const run = held.last?.run
    if (ready === undefined || run === undefined) return
    const tell = () => this.#apply(id, { kind: 'ready' })
    held.watch(watchReadiness(this.#ports, run, ready, tell))
  }

  #list(
    { all = false, after }: RequestOf<'ProcessList'>,
    respond: Respond<'ProcessList'>,
  ): void {
    this.#sweep()
    const processes: ProcessInfo[] = []
    const pids = [...this.#table.pids]
    let characters = 0
    for (const [id, process] of this.#table.list({ all, after })) {
      const info = infoOf(id, process)
      characters += JSON.stringify(info).length
      if (processes.length === PAGE || characters > PAGE_CHARACTERS) {
        const next = processes.at(-1)?.process_id ?? id
        respond('ProcessesList', { pids, processes, next })
        return
      }
      processes.push(info)
    }
    respond('ProcessesList', { pids, processes })
  }

  #sweep(): void {
    for (const id of this.#table.sweep(this.#ports.clock.now())) this.#release(id)
  }

  /** So that what ended is freed although nobody asks. */
  #armSweep(): void {
    this.#cancelSweep()
    const { clock, config } = this.#ports
    this.#cancelSweep = clock.after(config.retention.ageMs, () => this.#sweep())
  }

  #release(id: string): void {
    this.#held.get(id)?.release()
    this.#held.delete(id)
  }
}

/** The kinds that are about one process, and know an answer NotFound. */
type AboutOne =
  | 'ProcessStop'
  | 'ProcessQuery'
  | 'ProcessWait'
  | 'ProcessSignal'
  | 'ProcessInput'
  | 'ProcessOutputRead'

/** Each of their rows has it; the compiler cannot see that for an open K. */
const notFound = <K extends AboutOne>(respond: Respond<K>): void =>
  (respond as unknown as Respond<'ProcessStop'>)('NotFound', {})

const endFields = (id: string, { last }: Process) => ({
  process: id,
  code: last?.exitCode,
  signal: last?.signal,
  why: last?.spawnError?.reason,
})
