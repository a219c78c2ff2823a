// The protocol library's public names, and nothing else. It imports no Node module: it
// can be embedded wherever bytes can be sent.

export type { Direction, Exchange } from './exchange.ts'
export type {
  AnswerBodyOf,
  AnswerKindOf,
  AnswerOf,
  Handlers,
  Kind,
  RequestOf,
  Respond,
} from './exchanges/index.ts'
export {
  ErrorAnswer,
  ErrorCode,
  exchanges,
  kinds,
  rowOf,
} from './exchanges/index.ts'
export type { Introduction } from './exchanges/relationship.ts'
export { INVENTORY_PAGE } from './exchanges/relationship.ts'
export type { OutputData, RefusalReason } from './exchanges/tasks.ts'
export type { BootId, LedgerId, Rel } from './scalars.ts'
export { HostName, NodeId, NodeType, TaskId } from './scalars.ts'
export type {
  Assignment,
  AttemptRecord,
  Captured,
  ErrorKind,
  InventoryEntry,
  NodeInfo,
  Outcome,
  OutputPolicy,
  Requires,
  TaskAttempt,
  TaskDone,
  TaskRequest,
  TaskResult,
  TaskState,
  TaskStatus,
  TaskSummary,
} from './task.ts'
export { DATA_BYTES, INLINE_BYTES, TASKS_PER_MESSAGE } from './task.ts'
