// Fitting: does what runs at a worker at a time fit it? Judged from what was handed in and
// what the worker is, without the code that places tasks or starts them.

import type { TaskRequest } from '../../protocol/index.ts'
import type { WorkerSpec } from './scenario.ts'

/** What these tasks together need that the worker has not; undefined: they fit. */
export const excess = (
  worker: WorkerSpec,
  tasks: readonly TaskRequest[],
): string | undefined => {
  const has = new Map(Object.entries({ ...worker.resources, cores: worker.cores }))
  const taken = new Map<string, number>()
  for (const { requires = {} } of tasks) {
    const missing = lacking(worker, requires)
    if (missing !== undefined) return missing
    const amounts = { ...requires.resources, cores: requires.cores ?? 1 }
    for (const [name, amount] of Object.entries(amounts))
      taken.set(name, (taken.get(name) ?? 0) + amount)
  }
  for (const [name, amount] of taken)
    if (amount > (has.get(name) ?? 0))
      return `${amount} ${name} are taken of ${has.get(name) ?? 0}`
  return undefined
}

const lacking = (
  worker: WorkerSpec,
  requires: NonNullable<TaskRequest['requires']>,
): string | undefined => {
  const { host_name: host = worker.name, labels = {} } = requires
  if (host !== worker.name) return `it asks for ${host}`
  for (const [name, value] of Object.entries(labels))
    if (worker.labels?.[name] !== value) return `it asks for ${name}=${value}`
  return undefined
}
