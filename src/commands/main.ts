// The command line: verbs, their flags and help, and what failures mean as exit codes.
// Each verb's code is loaded when it is used; nothing here knows a socket.

import { Command, CommanderError } from 'commander'
import { type ClientFailure, isClientError } from '../client/failures.ts'
import { type Io, Sink, UsageError } from './io.ts'
import { EXIT } from './outcome.ts'
import { addVerbs } from './verbs.ts'

const AFTER = `
A verb's flags and examples: manyhands VERB --help
A node in the foreground:    manyhands --role manager|worker|hub [flags], see
                             manyhands --role worker --help
The version:                 manyhands --version

From nothing to a first command:
  manyhands up
  manyhands run -- hostname
  manyhands run --each *.txt -- wc -w {}
  manyhands down

Exit codes (run has its own): 0 done, 1 failed, 2 usage, 3 not found, 4 no node can run it,
5 no mesh.`

/** Runs a verb; resolves with the exit code, having told every expected failure in one line. */
export const main = async (argv: readonly string[], io: Io): Promise<number> => {
  let code: number = EXIT.ok
  const program = new Command('manyhands')
    .description('One binary that turns the machines on a network into one.')
    .usage('VERB [flags]')
    .configureHelp({ subcommandTerm: termOf })
    .helpOption('-h, --help', 'show help')
    .helpCommand(false)
    .enablePositionalOptions()
    .addHelpText('after', AFTER)
  addVerbs(program, io, (result) => {
    code = result
  })
  program.hook('preAction', async (_program, verb) => {
    const { curl } = verb.opts<{ curl?: true }>()
    if (curl !== true) return
    const { printCalls } = await import('./curl.ts')
    await printCalls(io, verb.name(), verb.args, verb.opts())
    throw new CommanderError(0, 'curl', '')
  })
  for (const command of allCommands(program))
    command.exitOverride().configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: (text) => void io.stderr.write(text),
      outputError: () => undefined, // told once, by `failed`
    })
  try {
    if (argv.length === 0) program.help({ error: true })
    await program.parseAsync([...argv], { from: 'user' })
    return code
  } catch (error) {
    return await failed(error, argv[0] ?? '', io)
  }
}

/** It, its verbs, and theirs. */
const allCommands = (command: Command): readonly Command[] => [
  command,
  ...command.commands.flatMap(allCommands),
]

/** `retry <id...>`: every verb has flags, so the list does not say it of each. */
const termOf = (command: Command): string =>
  [
    command.name(),
    ...command.registeredArguments.map((argument) => {
      const name = `${argument.name()}${argument.variadic ? '...' : ''}`
      return argument.required ? `<${name}>` : `[${name}]`
    }),
  ].join(' ')

/** Says what failed and gives its exit code; a bug is thrown on. */
const failed = async (error: unknown, verb: string, io: Io): Promise<number> => {
  const tell = async (text: string, code: number): Promise<number> => {
    await new Sink(io.stderr).line(`manyhands: ${text}`)
    return verb === 'run' ? EXIT.ours : code
  }
  if (error instanceof CommanderError) return await failedToParse(error, verb, tell)
  if (error instanceof UsageError) return await tell(error.message, EXIT.usage)
  if (isClientError(error)) return await tell(error.message, codeOf(error.failure))
  if (isOfTheSystem(error)) return await tell(error.message, EXIT.failed)
  throw error
}

const failedToParse = async (
  error: CommanderError,
  verb: string,
  tell: (text: string, code: number) => Promise<number>,
): Promise<number> => {
  if (error.exitCode === 0) return EXIT.ok
  if (error.code === 'commander.help') return EXIT.usage
  const isVerb = error.code !== 'commander.unknownCommand' && /^[a-z]+$/.test(verb)
  const text = error.message.replace(/^error: /, '')
  const help = `manyhands ${isVerb ? `${verb} ` : ''}--help`
  return await tell(`${text} (flags and examples: ${help})`, EXIT.usage)
}

/** A full disk, a folder that is not ours: the system's own sentence names the path. */
const isOfTheSystem = (error: unknown): error is Error =>
  error instanceof Error && 'syscall' in error

const codeOf = (failure: ClientFailure): number => {
  switch (failure.kind) {
    case 'no-mesh':
    case 'state':
    case 'refused':
    case 'lost':
    case 'unreachable':
      return EXIT.noMesh
    case 'not-found':
      return EXIT.notFound
    case 'no-answer':
    case 'rejected':
    case 'protocol':
    case 'aborted':
    case 'closed':
      return EXIT.failed
  }
}
