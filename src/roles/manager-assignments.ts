// A task as it leaves for its worker.

import type { Assignment } from '../../protocol/index.ts'
import type { Task } from '../machines/task-record.ts'

/** The task's content under its current attempt; what only the manager cares for stays here. */
export const assignmentOf = ({
  id,
  attempt,
  request,
}: Pick<Task, 'id' | 'attempt' | 'request'>): Assignment => {
  const { retries: _r, priority: _p, name: _n, ...job } = request
  return { task_id: id, attempt, ...job }
}

/** About its size on the wire, from above. */
export const assignmentBytes = (assignment: Assignment): number => {
  let bytes = 200 + 3 * assignment.job_addr.length + 3 * (assignment.dir?.length ?? 0)
  for (const argument of assignment.arguments) bytes += 5 + 3 * argument.length
  bytes += assignment.stdin?.byteLength ?? 0
  for (const name in assignment.env)
    bytes += 10 + 3 * (name.length + (assignment.env[name]?.length ?? 0))
  if (assignment.requires !== undefined)
    bytes += 3 * JSON.stringify(assignment.requires).length
  return bytes
}
