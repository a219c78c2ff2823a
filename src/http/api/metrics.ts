// Metrics: for Prometheus, made when they are asked for: what the mesh is doing, as this node
// knows it, how its own requests fare, and its process (loop delay, memory, collections).

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { NodeInfo } from '../../../protocol/index.ts'

/** From a millisecond to a minute, as requests and long polls take. */
const SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
]

export class Metrics {
  readonly #registry = new Registry()
  readonly #requests = new Counter({
    name: 'manyhands_http_requests_total',
    help: 'Requests of the API that were answered',
    labelNames: ['method', 'route', 'status'],
    registers: [this.#registry],
  })
  readonly #seconds = new Histogram({
    name: 'manyhands_http_request_seconds',
    help: 'Until a request was answered; of streams, until they began',
    labelNames: ['method', 'route'],
    buckets: SECONDS,
    registers: [this.#registry],
  })
  readonly #nodes = this.#gauge('manyhands_nodes', 'Nodes that are known', [
    'role',
    'state',
  ])
  readonly #tasks = this.#gauge('manyhands_tasks', 'Open tasks of a manager', [
    'state',
    'host',
  ])
  readonly #workers = {
    running: this.#gauge('manyhands_worker_running', 'Tasks that run at a worker', [
      'host',
    ]),
    free_slots: this.#gauge('manyhands_worker_free_slots', 'Free slots of a worker', [
      'host',
    ]),
    done: this.#gauge('manyhands_worker_done', 'Tasks that a worker has done', ['host']),
    failed: this.#gauge('manyhands_worker_failed', 'Tasks that failed at a worker', [
      'host',
    ]),
  } as const

  constructor() {
    collectDefaultMetrics({ register: this.#registry, prefix: 'manyhands_' })
  }

  #gauge<L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
  ): Gauge<L> {
    return new Gauge({
      name,
      help,
      labelNames: [...labelNames],
      registers: [this.#registry],
    })
  }

  answered(method: string, route: string, status: number, seconds: number): void {
    this.#requests.inc({ method, route, status })
    this.#seconds.observe({ method, route }, seconds)
  }

  /** The text that Prometheus reads, and its content type. */
  async text(nodes: readonly NodeInfo[]): Promise<{ text: string; type: string }> {
    this.#nodes.reset()
    this.#tasks.reset()
    for (const gauge of Object.values(this.#workers)) gauge.reset()
    for (const node of nodes) this.#add(node)
    return { text: await this.#registry.metrics(), type: this.#registry.contentType }
  }

  #add({ role, state, host_name: host, ...node }: NodeInfo): void {
    this.#nodes.inc({ role, state })
    if (role === 'manager') {
      for (const name of ['queued', 'running'] as const) {
        const count = node[name]
        if (count !== undefined) this.#tasks.set({ state: name, host }, count)
      }
      return
    }
    if (role !== 'worker') return
    for (const name of ['running', 'free_slots', 'done', 'failed'] as const) {
      const count = node[name]
      if (count !== undefined) this.#workers[name].set({ host }, count)
    }
  }
}
