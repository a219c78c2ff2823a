// What every verb's declaration is made of: its help, the flags that many share, and how a
// wrong value is told.

import { type Command, InvalidArgumentError } from 'commander'
import { UsageError } from './io.ts'
import { parseAddress } from './values.ts'

export type Done = (code: number) => void

/** Lets a parser's UsageError appear with the flag's name. */
export const parsed =
  <A>(parse: (text: string, before: A) => A) =>
  (text: string, before: A): A => {
    try {
      return parse(text, before)
    } catch (error) {
      if (error instanceof UsageError) throw new InvalidArgumentError(error.message)
      throw error
    }
  }

/** A verb with what it does, examples of its use, and what else must be said of it. */
export const verb = (
  program: Command,
  name: string,
  {
    about,
    examples,
    notes = '',
  }: { readonly about: string; readonly examples: string; readonly notes?: string },
): Command =>
  program
    .command(name)
    .description(about)
    .addHelpText(
      'after',
      `\nExamples:\n${examples.replace(/^/gm, '  ')}${notes && `\n\n${notes}`}`,
    )

/** Which mesh: of the verbs that act on this machine's processes. */
export const stateFlag = (command: Command): Command =>
  command
    .optionsGroup('The mesh:')
    .option(
      '--state <dir>',
      "where its keys and its nodes' addresses lie (default: $XDG_STATE_HOME/manyhands or ~/.local/state/manyhands)",
    )

/** Flags of how to reach the mesh, last in each verb's help. */
export const meshFlags = (command: Command): Command =>
  stateFlag(command)
    .option(
      '--at <url>',
      "a manager's or a hub's address (wss://host:port), instead of looking for one",
      parsed(parseAddress),
    )
    .option('--curl', 'print the call by HTTP that this is, and do nothing')

export const jsonFlag = (command: Command): Command =>
  command.option('--json', 'one line: a list of objects, for programs')
