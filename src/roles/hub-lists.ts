// Hub lists: what is known of the whole mesh, in one answer: its nodes, the processes of all
// hosts, the tasks of all managers. Everybody is asked at once; who does not answer in time
// is left out, or named, and keeps nobody waiting.

import {
  type AnswerBodyOf,
  holdsAt,
  type NodeInfo,
  type RequestOf,
  type Respond,
  type Rights,
  type Where,
} from '../../protocol/index.ts'
import { whereOf } from '../machines/entitlement.ts'
import type { HostBook } from '../machines/host-book.ts'
import { ledgerOf } from '../machines/worker-task.ts'
import type { Peer } from '../ports.ts'
import { type HubReadPorts, readHost, takesHostRequests } from './hub-reads.ts'

export interface HubListsPorts extends HubReadPorts {
  readonly hosts: HostBook<Peer>
  /** When a connected node came, in Unix milliseconds. */
  readonly sinceOf: (node: Peer) => number
  /** This node, as NodesList shows it. */
  readonly self: NodeInfo
}

type HostProcesses = AnswerBodyOf<'HubProcesses', 'HubProcessesList'>['hosts'][number]

/** A manager that does not say what it knows of its nodes keeps no list waiting. */
const NODES_MS = 1_000
const TASKS_MS = 10_000
/** Hosts in one answer, and bytes: it has to fit into a frame. */
const HOSTS_PAGE = 64
const PAGE_BYTES = 512 * 1024

export class HubLists {
  readonly #ports: HubListsPorts

  constructor(ports: HubListsPorts) {
    this.#ports = ports
  }

  /** All that are connected, and those that were; with what their manager says of them. */
  nodes(rights: Rights | undefined, done: (nodes: NodeInfo[]) => void): void {
    const where = whereFor(rights)
    const { hosts, sinceOf, self } = this.#ports
    const its = new Map<string, NodeInfo>()
    for (const { node, sinceMs } of hosts.gone)
      its.set(node.hostName, nodeOf(node, 'unreachable', sinceMs))
    for (const node of hosts.connected)
      its.set(node.hostName, nodeOf(node, 'connected', sinceOf(node)))
    this.#managed((told) => {
      for (const one of told) {
        if (one.node_id === self.node_id) continue
        const own = its.get(one.host_name)
        // Of who is connected here its manager knows more; of others, all there is.
        if (own === undefined) its.set(one.host_name, one)
        else if (own.state === 'connected')
          its.set(one.host_name, { ...one, ...contactOf(own), state: stateOf(one, own) })
      }
      const seen = [...its.values()].filter(({ host_name }) => holdsAt(where, host_name))
      done([self, ...seen].slice(0, 10_000))
    })
  }

  /** What managers know of their nodes. */
  #managed(done: (nodes: readonly NodeInfo[]) => void): void {
    const found: NodeInfo[] = []
    const managers = this.#managers()
    let left = managers.length
    if (left === 0) done(found)
    for (const manager of managers)
      readHost(this.#ports, manager, 'NodesList', {}, NODES_MS, (answer) => {
        if (answer?.kind === 'NodesListed')
          found.push(...answer.body.nodes.filter(({ role }) => role !== 'client'))
        left -= 1
        if (left === 0) done(found)
      })
  }

  /** By name, so that pages follow each other. */
  #managers(): readonly Peer[] {
    return [...this.#ports.hosts.connected]
      .filter((peer) => peer.role === 'manager' && takesHostRequests(peer))
      .sort(byName)
  }

  /** The processes of all hosts that run programs by name; a page by host_name. */
  processes(
    { within_ms: withinMs, all = false, after = '' }: RequestOf<'HubProcesses'>,
    respond: Respond<'HubProcesses'>,
    rights: Rights | undefined,
  ): void {
    const where = whereFor(rights)
    const hosts = [...this.#ports.hosts.connected]
      .filter(({ introduction }) => introduction.features.includes('processes'))
      .filter((peer) => takesHostRequests(peer) && holdsAt(where, peer.hostName))
      .filter(({ hostName }) => hostName > after)
      .sort(byName)
    const page = hosts.slice(0, HOSTS_PAGE)
    const rows: (readonly [HostProcesses, number])[] = []
    let left = page.length
    const answer = (): void => {
      const { taken, next } = fitting(rows, hosts.length > page.length)
      respond('HubProcessesList', { hosts: taken, ...(next !== undefined && { next }) })
    }
    if (left === 0) answer()
    for (const [at, host] of page.entries())
      readHost(this.#ports, host, 'ProcessList', { all }, withinMs, (its, bytes) => {
        rows[at] = [rowOf(host, its), bytes]
        left -= 1
        if (left === 0) answer()
      })
  }

  /**
   * The tasks of all managers, one manager after the other, each newest first. A page goes on
   * where its last task is.
   */
  tasks(
    body: RequestOf<'TasksList'>,
    respond: Respond<'TasksList'>,
    rights: Rights | undefined,
  ): void {
    if (rights?.get('read') !== 'anywhere') {
      const message = 'with a scope of some hosts alone, the manager has to be asked'
      respond('Error', { code: 'forbidden', message })
      return
    }
    const managers = this.#managers()
    const { after } = body
    const ledger = after === undefined ? undefined : ledgerOf(after)
    const at = managers.findIndex(({ introduction }) => introduction.ledger_id === ledger)
    // Of a manager that is not there there is nothing more.
    const from = ledger === undefined ? 0 : at < 0 ? managers.length : at
    this.#tasksFrom(managers.slice(from), body, respond)
  }

  #tasksFrom(
    [manager, ...others]: readonly Peer[],
    body: RequestOf<'TasksList'>,
    respond: Respond<'TasksList'>,
  ): void {
    if (manager === undefined) {
      respond('TaskList', { tasks: [] })
      return
    }
    readHost(this.#ports, manager, 'TasksList', body, TASKS_MS, (answer) => {
      if (
        answer?.kind === 'TaskList' &&
        (answer.body.tasks.length > 0 || answer.body.next)
      ) {
        const last = answer.body.tasks.at(-1)?.task_id
        // Of the next manager there may be more: it is asked from its newest on.
        const next = answer.body.next ?? (others.length > 0 ? last : undefined)
        respond('TaskList', { tasks: answer.body.tasks, ...(next && { next }) })
        return
      }
      const { after: _, ...first } = body
      this.#tasksFrom(others, first, respond)
    })
  }
}

const whereFor = (rights: Rights | undefined): Where =>
  whereOf(rights === undefined ? {} : { rights }, 'read')

const byName = (one: Peer, other: Peer): number =>
  one.hostName < other.hostName ? -1 : 1

const rowOf = (
  { hostName: host_name }: Peer,
  answer: { readonly kind: string; readonly body: object } | undefined,
): HostProcesses => {
  if (answer?.kind === 'ProcessesList') {
    const { processes, next } = answer.body as AnswerBodyOf<
      'ProcessList',
      'ProcessesList'
    >
    return { host_name, processes, ...(next !== undefined && { more: true }) }
  }
  const message =
    answer?.kind === 'Error'
      ? ((answer.body as AnswerBodyOf<'ProcessList', 'Error'>).message ?? 'it said no')
      : `${host_name} did not answer in time`
  return { host_name, processes: [], failed: message.slice(0, 1024) }
}

/** As many rows as fit into an answer. */
const fitting = (
  rows: readonly (readonly [HostProcesses, number])[],
  hasMore: boolean,
): { readonly taken: HostProcesses[]; readonly next: string | undefined } => {
  const taken: HostProcesses[] = []
  let bytes = 0
  for (const [row, its] of rows) {
    bytes += its
    if (taken.length > 0 && bytes > PAGE_BYTES) break
    taken.push(row)
  }
  const isCut = taken.length < rows.length || hasMore
  return { taken, next: isCut ? taken.at(-1)?.host_name : undefined }
}

const nodeOf = (peer: Peer, state: string, sinceMs: number): NodeInfo => {
  const { address, introduction } = peer
  const { pid, version, features } = introduction
  return {
    node_id: peer.nodeId,
    boot_id: peer.bootId,
    host_name: peer.hostName,
    role: peer.role,
    state,
    since_ms: sinceMs,
    ...(address !== undefined && { address }),
    ...(pid !== undefined && { pid }),
    ...(version !== undefined && { version }),
    ...(state === 'connected' && { features }),
  }
}

/** A manager calls itself `self`; here that is the hub. */
const stateOf = (told: NodeInfo, own: NodeInfo): string =>
  told.state === 'self' ? own.state : told.state

/** How it is reached from here, which may be another way than its manager's. */
const contactOf = ({ address, features }: NodeInfo): Partial<NodeInfo> => ({
  ...(address !== undefined && { address }),
  ...(features !== undefined && { features }),
})
