// Loaded before a node (`node --import`): changes its source while it is read, as the
// environment variable MUTATION says. A text that is not there exactly once is an error,
// so that no mutation is ever without effect.

import { type LoadHook, register } from 'node:module'
import { isMainThread } from 'node:worker_threads'

export interface Mutation {
  /** The compiled file, by the end of its path. */
  readonly file: string
  /** What is there, and what stands there instead. */
  readonly changes: readonly (readonly [string, string])[]
}

export const mutated = (source: string, { file, changes }: Mutation): string =>
  changes.reduce((text, [found, instead]) => {
    const parts = text.split(found)
    if (parts.length !== 2)
      throw new Error(
        `Expected \`${found}\` once in ${file}, found it ${parts.length - 1} times`,
      )
    return parts.join(instead)
  }, source)

let mutation: Mutation | undefined

/** Called in the thread of the hooks. */
export const initialize = (given: Mutation): void => {
  mutation = given
}

export const load: LoadHook = async (url, context, nextLoad) => {
  const loaded = await nextLoad(url, context)
  if (mutation === undefined || !url.endsWith(mutation.file)) return loaded
  const source = Buffer.from(loaded.source as Uint8Array).toString()
  return { ...loaded, source: mutated(source, mutation) }
}

const { MUTATION } = process.env
// The hooks run in a thread of their own, which reads this file, too.
if (MUTATION !== undefined && isMainThread)
  register(import.meta.url, { data: JSON.parse(MUTATION) })
