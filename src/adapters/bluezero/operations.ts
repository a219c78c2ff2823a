// Operations: what the process manager's requests are in the mesh, and its words for what
// comes of them. (Source: the BlueZero process manager's protocol; where its document and its
// program differ, the document.)

import { type ClientError, isClientError } from '../../client/failures.ts'
import type { FaceClient } from '../../http/face.ts'
import type { Operation } from './messages.ts'

/** The member of an answer, named as its operation. */
export type Answer = Readonly<Record<string, unknown>>

/** Rejects with a ClientError where the host itself could not be asked. */
export const perform = async (
  client: FaceClient,
  hostName: string,
  operation: Operation,
): Promise<Answer> => {
  try {
    return await performed(client, hostName, operation)
  } catch (error) {
    if (isClientError(error, 'rejected')) return failed(wordsFor(error, operation))
    throw error
  }
}

const performed = async (
  client: FaceClient,
  hostName: string,
  operation: Operation,
): Promise<Answer> => {
  switch (operation.name) {
    case 'start_process':
      return await start(client, hostName, operation)
    case 'stop_process': {
      if (!isPid(operation.pid)) return failed(NO_PID)
      const answer = await client.ask(hostName, 'ProcessStop', { pid: operation.pid })
      return answer.kind === 'Ack' ? { success: true } : failed(NO_PID)
    }
    case 'query_process_status':
      return isPid(operation.pid)
        ? await query(client, hostName, operation.pid)
        : failed(NO_PID)
    case 'list_active_processes': {
      const { body } = await client.ask(hostName, 'ProcessList', {})
      return { pids: body.pids }
    }
  }
}

const NO_PID = 'no such pid'
const DENIED = 'permission denied'

/** There are no others. */
const isPid = (pid: number): boolean => pid > 0

const failed = (message: string): Answer => ({ error_message: message, success: false })

const start = async (
  client: FaceClient,
  hostName: string,
  { path, args }: Extract<Operation, { name: 'start_process' }>,
): Promise<Answer> => {
  // Nothing is searched for: the path is all of it.
  if (!path.startsWith('/')) return failed(DENIED)
  const spec = { path, args: [...args] }
  const answer = await client.ask(hostName, 'ProcessStart', { spec })
  if (answer.kind === 'Refused') return failed(startWords(answer.body))
  return { pid: answer.body.pid, success: true }
}

/** The system's words, for what it says; its code otherwise. */
const SPAWN_WORDS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  EACCES: DENIED,
  EISDIR: DENIED,
  EPERM: DENIED,
  forbidden: DENIED,
}

const startWords = ({ reason, message }: { reason: string; message: string }): string => {
  const words = SPAWN_WORDS[reason]
  if (words !== undefined) return words
  return /^E[A-Z0-9]+$/.test(reason) ? `spawn failed: ${reason}` : message
}

const query = async (
  client: FaceClient,
  hostName: string,
  pid: number,
): Promise<Answer> => {
  const answer = await client.ask(hostName, 'ProcessQuery', { pid })
  if (answer.kind === 'NotFound') return failed(NO_PID)
  const { running, exit_code, signal } = answer.body
  if (running) return { running, success: true }
  return {
    ...(exit_code !== undefined && { exit_code }),
    running,
    success: true,
    ...(signal !== undefined && { signal }),
  }
}

const wordsFor = ({ failure, message }: ClientError, { name }: Operation): string => {
  if (failure.kind !== 'rejected') return message
  const { code } = failure
  if (code === 'forbidden') return DENIED
  // A node that runs no programs for others has none of theirs.
  if (code === 'wrong-role' && name !== 'start_process') return NO_PID
  return code === 'wrong-role' ? DENIED : failure.message
}
