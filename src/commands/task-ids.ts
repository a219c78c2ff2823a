// Task ids as a person types them: whole, or the bare number at the end of one.

import { TaskId } from '../../protocol/index.ts'
import type { Client } from '../client/client.ts'
import { UsageError } from './io.ts'

/** Checked, and made whole where only the number was given. */
export const taskIds = (client: Client, texts: readonly string[]): Promise<string[]> => {
  const bad = texts.find((text) => !TaskId.is(text) && !/^[1-9][0-9]{0,15}$/.test(text))
  if (bad !== undefined)
    throw new UsageError(
      `'${bad}' is no task id; expected one such as k3x9q0a7bc-17, or 17 alone (see: manyhands tasks)`,
    )
  return Promise.all(texts.map((text) => client.taskId(text)))
}

/** One id. */
export const oneTaskId = async (client: Client, text: string): Promise<string> => {
  const [id] = await taskIds(client, [text])
  if (id === undefined) throw new UsageError('expected a task id')
  return id
}
