// Manyhands for embedding: the public names, written by hand.

export type {
  Event,
  NodeInfo,
  ProcessInfo,
  ProcessSpec,
  Signal,
  TaskDone,
  TaskRequest,
  TaskSummary,
} from '../protocol/index.ts'
export type {
  BatchProgress,
  BatchRun,
  IndexedDone,
  RunAllOptions,
} from './client/batch.ts'
export {
  type Cancelled,
  Client,
  type TaskFilter,
  type TaskReasons,
  type TaskRecord,
  type Which,
} from './client/client.ts'
export { type ConnectOptions, connect } from './client/connect.ts'
export type { EventsOptions } from './client/events.ts'
export { type ExecOptions, type ExecResult, execOn } from './client/exec.ts'
export { ClientError, type ClientFailure, isClientError } from './client/failures.ts'
export type { Host, StartedProcess, WhichProcess } from './client/host.ts'
export type { TaskStdin } from './client/input.ts'
export type { OutputOptions } from './client/output.ts'
export type { TaskRun } from './client/run.ts'
export type { SubmitOptions } from './client/submit.ts'
export type { WaitOptions } from './client/wait.ts'
export type { AskFailure } from './failures.ts'
