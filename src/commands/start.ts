// `manyhands --role manager|worker|hub …`: one node in the foreground, until a signal ends it.

import { parseArgs } from 'node:util'
import * as E from 'fp-ts/lib/Either.js'
import { type RunningNode, startNode } from '../node.ts'
import { type Flag, type Given, NODE_FLAGS, readNodeOptions } from '../options.ts'

/** The process around the verb. Tests hand in their own. */
export interface StartIo {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly version: string
  readonly out: (text: string) => void
  readonly error: (text: string) => void
  /** Calls `fn` at each SIGINT and SIGTERM. */
  readonly onSignal: (fn: (signal: 'SIGINT' | 'SIGTERM') => void) => void
  /** Ends the process at once; the launchers then kill what it runs. */
  readonly quit: (code: number) => void
}

const FAILED = 1
const USAGE = 2
const SIGNAL_NUMBERS = { SIGINT: 2, SIGTERM: 15 } as const

/** Starts a node and resolves with the exit code when it has ended. */
export const start = async (argv: readonly string[], io: StartIo): Promise<number> => {
  const given = parseFlags(argv)
  if (E.isLeft(given)) return refuse(io, [given.left])
  if (isAskedFor(given.right, 'help')) {
    io.out(nodeHelp())
    return 0
  }
  const options = readNodeOptions(given.right)
  if (E.isLeft(options)) return refuse(io, options.left)
  const node = await startNode(options.right, {
    environment: io.environment,
    version: io.version,
    print: (line) => io.out(`${line}\n`),
    writeLog: io.error,
  })
  if (E.isRight(node)) return live(node.right, io)
  io.error(`manyhands: ${node.left.reason}\n`)
  return FAILED
}

const refuse = (io: StartIo, faults: readonly string[]): number => {
  for (const fault of faults) io.error(`manyhands: ${fault}\n`)
  io.error('flags and their defaults: manyhands --role worker --help\n')
  return USAGE
}

/** Until a signal or a failure: the first signal drains, the second quits. */
const live = async (node: RunningNode, io: StartIo): Promise<number> => {
  const signalled = new Promise<'signal'>((resolve) => {
    let count = 0
    io.onSignal((signal) => {
      count += 1
      if (count > 1) io.quit(128 + SIGNAL_NUMBERS[signal])
      io.error(`${signal}: letting tasks finish; once more quits at once\n`)
      resolve('signal')
    })
  })
  const ended = await Promise.race([signalled, node.failed])
  if (ended === 'signal') {
    await node.drain()
    return 0
  }
  io.error(`manyhands: ${ended}\n`)
  await node.close()
  return FAILED
}

const parseFlags = (argv: readonly string[]): E.Either<string, Given> => {
  const hidden = ['help', 'no-local'].map((flag) => [flag, { type: 'boolean' }] as const)
  const flags = NODE_FLAGS.map(
    ({ flag, value, isRepeatable: multiple = false }) =>
      [
        flag,
        value === undefined ? { type: 'boolean' } : { type: 'string', multiple },
      ] as const,
  )
  const service = ['service', { type: 'string' }] as const
  const options = Object.fromEntries([...flags, ...hidden, service])
  const args = withBareValues(argv)
  const bare = flags.find(([flag, { type }]) => type === 'string' && isBare(args, flag))
  if (bare !== undefined) return E.left(`--${bare[0]}: expected a value, got none`)
  try {
    const { values } = parseArgs({ args: [...args], options, strict: true })
    // With these options a value is text, a list of texts, or true.
    return E.right(values as Given)
  } catch (error) {
    return E.left(error instanceof Error ? error.message : String(error))
  }
}

/** A flag that means something without a value gets it. */
const withBareValues = (argv: readonly string[]): readonly string[] =>
  argv.flatMap((arg, at) => {
    const bare = NODE_FLAGS.find(({ flag }) => arg === `--${flag}`)?.bare
    const next = argv[at + 1]
    const isBare = bare !== undefined && (next === undefined || next.startsWith('--'))
    return isBare ? [arg, bare] : [arg]
  })

/** Is a flag that takes a value followed by another flag, or by nothing? */
const isBare = (argv: readonly string[], flag: string): boolean => {
  const next = argv[argv.indexOf(`--${flag}`) + 1]
  return argv.includes(`--${flag}`) && (next === undefined || next.startsWith('--'))
}

/** Every flag with its meaning and default. */
export const nodeHelp = (): string => {
  const lines = NODE_FLAGS.map(
    (flag) => `  ${syntaxOf(flag).padEnd(24)} ${flag.about}${defaultOf(flag)}`,
  )
  return `Usage: manyhands --role manager|worker|hub [flags]

Starts a node in the foreground. Ctrl-C lets running tasks finish; twice quits at once.

${lines.join('\n')}

Examples:
  manyhands --role manager --listen 0.0.0.0
  manyhands --role worker --join 192.168.1.5:4000 --cores 2 --label gpu=yes
  manyhands --role hub --bluezero 127.0.0.1:8700
  manyhands --role worker --allow /opt/tools --allow /usr/bin/ffmpeg --manager lab-manager
`
}

const syntaxOf = ({ flag, value, isRepeatable }: Flag): string =>
  `--${flag}${value === undefined ? '' : ` ${value}`}${isRepeatable ? ' …' : ''}`

const defaultOf = ({ byDefault }: Flag): string =>
  byDefault === undefined ? '' : ` (default: ${byDefault})`

const isAskedFor = (given: Given, flag: string): boolean => given[flag] === true
