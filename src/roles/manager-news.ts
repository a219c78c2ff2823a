// Manager news: what happens to tasks and nodes, told to whoever reads along. Tasks come by
// the ten thousand a second: while nobody reads of them, nothing is made of them.

import { errorOf, resultOf, type Task } from '../machines/task-record.ts'
import type { Loss, Peer } from '../ports.ts'
import type { Submission } from '../records.ts'
import { cameNews, type Events, leftNews, type News } from './events.ts'
import type { ManagerDeps } from './manager-kernel.ts'
import { hostOf } from './manager-views.ts'

type Tell = Pick<Events, 'tell' | 'skip' | 'isWanted'>

export class ManagerNews {
  readonly #events: Tell | undefined
  readonly #self: ManagerDeps['self']

  constructor({ events, self }: ManagerDeps) {
    this.#events = events
    this.#self = self
  }

  connected(peer: Peer): void {
    if (peer.role !== 'client') this.#events?.tell(cameNews(peer))
  }

  lost(peer: Peer, how: Loss): void {
    if (peer.role !== 'client') this.#events?.tell(leftNews(peer, how))
  }

  /** The record of them is durable. */
  submitted({ first, tasks, batch }: Submission, idOf: (seq: number) => string): void {
    if (this.#isUnread()) return
    for (const [at, { job_addr, name }] of tasks.entries())
      this.#tell('task-submitted', {
        ...{ task_id: idOf(first + at), batch },
        about: (name ?? job_addr).slice(0, 512),
      })
  }

  /** `find`: called only if anybody reads. */
  started(find: () => Task | undefined, pid: number | undefined): void {
    if (this.#isUnread()) return
    const task = find()
    if (task === undefined) return
    const { id: task_id, attempt } = task
    const its = { task_id, attempt, host_name: this.#hostOf(task) }
    this.#tell('task-started', { ...its, ...(pid !== undefined && { pid }) })
  }

  closed(task: Task): void {
    if (this.#isUnread()) return
    const { id: task_id, attempt, state } = task
    const error = errorOf(task)
    const exit_code = resultOf(task)?.exit_code
    this.#tell('task-closed', {
      ...{ task_id, attempt, state, host_name: this.#hostOf(task) },
      ...(exit_code !== undefined && { exit_code }),
      ...(error !== undefined && { about: error.kind }),
    })
  }

  /** Where it ran; of one that never did, the manager's. */
  #hostOf(task: Task): string {
    return hostOf(task) ?? this.#self.host_name
  }

  #isUnread(): boolean {
    if (this.#events === undefined) return true
    if (this.#events.isWanted('tasks')) return false
    this.#events.skip('tasks')
    return true
  }

  #tell(
    name: string,
    { host_name = this.#self.host_name, ...its }: Partial<Omit<News, 'topic' | 'name'>>,
  ): void {
    this.#events?.tell({ topic: 'tasks', name, host_name, ...its })
  }
}
