import type { Client, TaskRequest } from '../../src/index.ts'

/** Runs so many tasks: how many a second. Throws if one does not succeed. */
export const taskRate = async (
  client: Pick<Client, 'runAll'>,
  task: TaskRequest,
  count: number,
): Promise<number> => {
  const start = performance.now()
  let completed = 0
  for await (const { done } of client.runAll(Array(count).fill(task)))
    if (done.state === 'completed') completed += 1
  if (completed !== count) throw new Error(`only ${completed} of ${count} completed`)
  return count / ((performance.now() - start) / 1000)
}
