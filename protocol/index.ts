// The protocol library's public names, and nothing else. It imports no Node module: it
// can be embedded wherever bytes can be sent.

export type { Asker, Denial, Denials } from './access.ts'
export { denialOf, denialsFor, isDenied } from './access.ts'
export type { Clock } from './alarm.ts'
export type { DecodeFailure, Request } from './codec.ts'
export { decodeAnswer, decodeRequest } from './codec.ts'
export type { ConversationOptions, Counted, Settled } from './conversation.ts'
export { Conversation } from './conversation.ts'
export type { AnswerEnvelope, Envelope, RequestEnvelope } from './envelope.ts'
export { isRequest } from './envelope.ts'
export type { Direction, Exchange } from './exchange.ts'
export type { Topic } from './exchanges/events.ts'
export { EVENTS_PAGE, Event } from './exchanges/events.ts'
export type { HubFailure } from './exchanges/hub.ts'
export { SignedRequest } from './exchanges/hub.ts'
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
  isKind,
  kinds,
  rowOf,
} from './exchanges/index.ts'
export type { MemberInfo } from './exchanges/membership.ts'
export type { Introduction } from './exchanges/relationship.ts'
export { INVENTORY_PAGE } from './exchanges/relationship.ts'
export type { OutputData, RefusalReason } from './exchanges/tasks.ts'
export type { AskFailure } from './failure.ts'
export type { IntroductionOptions, Refusal } from './introduction.ts'
export type { Limits } from './limits.ts'
export { CLOSE, DEFAULT_LIMITS } from './limits.ts'
export type {
  ProcessInfo,
  ProcessSpec,
  ProcessState,
  Readiness,
  RestartPolicy,
  Signal,
} from './process.ts'
export type { Handle } from './requests.ts'
export type { BootId, LedgerId, Rel } from './scalars.ts'
export { HostName, NodeId, NodeType, TaskId } from './scalars.ts'
export type { Rights, Scope, ScopeName, Where } from './scopes.ts'
export { ALL_SCOPES, DEFAULT_SCOPES, holdsAt, rightsOf } from './scopes.ts'
export { serve } from './serve.ts'
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
export { DATA_BYTES, INLINE_BYTES, TASKS_PER_MESSAGE, UserName } from './task.ts'
export { fromBytes, packed, toBytes, unpacked } from './wire.ts'
