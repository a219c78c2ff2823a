// Pages: tasks gathered into the messages that hand them in, by count and by size, from
// any iterable, no further ahead than asked. A source that pauses gets what there is sent.

import { TASKS_PER_MESSAGE, type TaskRequest } from '../../protocol/index.ts'

/** A page's tasks together stay under this (one larger task goes alone). */
export const PAGE_BYTES = 64 * 1024
/** How long a page that is not full waits for the next task of a slow source. */
const PATIENCE_MS = 5

/** Tasks, given at once or as they come. */
export type Tasks = Iterable<TaskRequest> | AsyncIterable<TaskRequest>

/** Pages of at most 256 tasks and 64 KiB, in the order of the tasks. */
export const pagesOf = (tasks: Tasks): AsyncGenerator<readonly TaskRequest[]> =>
  Symbol.asyncIterator in tasks ? pagesAsTheyCome(tasks) : pagesAtOnce(tasks)

async function* pagesAtOnce(
  tasks: Iterable<TaskRequest>,
): AsyncGenerator<readonly TaskRequest[]> {
  const pager = new Pager()
  for (const task of tasks) {
    const full = pager.add(task)
    if (full !== undefined) yield full
  }
  if (!pager.isEmpty) yield pager.take()
}

async function* pagesAsTheyCome(
  tasks: AsyncIterable<TaskRequest>,
): AsyncGenerator<readonly TaskRequest[]> {
  const pager = new Pager()
  const source = tasks[Symbol.asyncIterator]()
  try {
    let next = observed(source.next())
    for (;;) {
      if (!pager.isEmpty && !(await settlesSoon(next))) yield pager.take()
      const { done, value } = await next
      if (done === true) break
      next = observed(source.next())
      const full = pager.add(value)
      if (full !== undefined) yield full
    }
  } finally {
    void source.return?.()
  }
  if (!pager.isEmpty) yield pager.take()
}

/** A failure that comes while nobody looks is met by the await that comes later, or by none. */
const observed = <A>(promise: Promise<A>): Promise<A> => {
  promise.catch(() => undefined)
  return promise
}

class Pager {
  #tasks: TaskRequest[] = []
  #bytes = 0

  get isEmpty(): boolean {
    return this.#tasks.length === 0
  }

  /** Adds a task; gives the page before it if that became full. */
  add(task: TaskRequest): readonly TaskRequest[] | undefined {
    const bytes = sizeOf(task)
    const isFull =
      this.#tasks.length === TASKS_PER_MESSAGE ||
      (this.#tasks.length > 0 && this.#bytes + bytes > PAGE_BYTES)
    const full = isFull ? this.take() : undefined
    this.#tasks.push(task)
    this.#bytes += bytes
    return full
  }

  take(): readonly TaskRequest[] {
    const page = this.#tasks
    this.#tasks = []
    this.#bytes = 0
    return page
  }
}

const settlesSoon = (promise: Promise<unknown>): Promise<boolean> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, PATIENCE_MS, false)
    const done = () => {
      clearTimeout(timer)
      resolve(true)
    }
    promise.then(done, done)
  })

/** About how many bytes a packed task takes; never less. */
export const sizeOf = (task: TaskRequest): number => {
  // Field names, numbers and labels of an ordinary task.
  let bytes = 256 + (task.stdin?.byteLength ?? 0)
  bytes += textSize(task.job_addr) + textSize(task.dir) + textSize(task.name)
  for (const argument of task.arguments) bytes += textSize(argument)
  for (const name in task.env) bytes += textSize(name) + textSize(task.env[name])
  return bytes
}

/** The most that UTF-8 makes of a text, without looking at it. */
const textSize = (text: string | undefined): number => 5 + 3 * (text?.length ?? 0)
