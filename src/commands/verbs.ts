// The verbs with their flags, in groups, with examples. What a verb does is in its own file.

import { type Command, InvalidArgumentError, Option } from 'commander'
import type { TaskState } from '../../protocol/index.ts'
import { type Io, UsageError } from './io.ts'
import {
  parseCount,
  parseDuration,
  parsePair,
  parseSize,
  parseVariable,
  parseWord,
} from './values.ts'

type Done = (code: number) => void

/** Adds every verb to the program; `done` gets the exit code of the one that ran. */
export const addVerbs = (program: Command, io: Io, done: Done): void => {
  program.commandsGroup('A mesh on this machine:')
  addUp(program, io, done)
  addDown(program, io, done)
  addNodes(program, io, done)
  program.commandsGroup('Running:')
  addRun(program, io, done)
  addSubmit(program, io, done)
  addRetry(program, io, done)
  addCancel(program, io, done)
  program.commandsGroup('Watching:')
  addWait(program, io, done)
  addTasks(program, io, done)
  addShow(program, io, done)
  addLogs(program, io, done)
  addExplain(program, io, done)
}

/** Lets a parser's UsageError appear with the flag's name. */
const parsed =
  <A>(parse: (text: string, before: A) => A) =>
  (text: string, before: A): A => {
    try {
      return parse(text, before)
    } catch (error) {
      if (error instanceof UsageError) throw new InvalidArgumentError(error.message)
      throw error
    }
  }

const verb = (program: Command, name: string, about: string, examples: string): Command =>
  program
    .command(name)
    .description(about)
    .addHelpText('after', `\nExamples:\n${examples.replace(/^/gm, '  ')}`)

/** Flags of how to reach the mesh, last in each verb's help. */
const meshFlags = (command: Command): Command =>
  command
    .optionsGroup('The mesh:')
    .option('--state <dir>', 'state directory (default: ~/.local/state/manyhands)')
    .option('--at <url>', "a manager's address, instead of looking for one")

const jsonFlag = (command: Command): Command =>
  command.option('--json', 'a list of objects for programs')

const taskFlags = (command: Command, io: Io): Command => {
  const count = (min: number) => parsed(parseCount(min))
  return command
    .optionsGroup('The task:')
    .option(
      '--timeout <time>',
      'stop it after 500ms, 10s, 5m, 1h of running',
      parsed(parseDuration),
    )
    .option('--dir <dir>', 'directory it runs in (default: this one)')
    .option(
      '--env <K=V>',
      'set a variable; K alone passes it on (repeatable)',
      parsed(parseVariable(io.env)),
    )
    .option('--retries <n>', 'failures that are forgiven (default: 0)', count(0))
    .option(
      '--priority <n>',
      'higher goes first (default: 0)',
      count(Number.MIN_SAFE_INTEGER),
    )
    .option('--name <name>', 'a name for lists')
    .addOption(
      new Option(
        '--output <policy>',
        'none, capture (kept) or stream (read live)',
      ).argParser(parsed(parseWord(['none', 'capture', 'stream']))),
    )
    .optionsGroup('Where it runs:')
    .option('--cores <n>', 'cores it needs (default: 1)', count(0))
    .option('--memory <size>', 'memory it needs: 512M, 2G', parsed(parseSize))
    .option('--host <name>', 'on this host only')
    .option('--label <k=v>', 'on hosts with this label (repeatable)', parsed(parsePair))
}

const addUp = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    verb(
      program,
      'up',
      'start a manager and workers here, in the background',
      'manyhands up\nmanyhands up --workers 4',
    ).option(
      '--workers <n>',
      'how many workers share the cores',
      parsed(parseCount(1)),
      2,
    ),
  ).action(async (options) => {
    const { up } = await import('./up.ts')
    done(await up(io, options))
  })
}

const addDown = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    verb(
      program,
      'down',
      'stop what runs here: workers finish their tasks first',
      'manyhands down\nmanyhands down --now',
    ).option('--now', 'end running tasks instead of waiting for them'),
  ).action(async (options) => {
    const { down } = await import('./down.ts')
    done(await down(io, options))
  })
}

const addNodes = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    jsonFlag(
      verb(program, 'nodes', 'list the nodes', 'manyhands nodes\nmanyhands nodes --json'),
    ),
  ).action(async (options) => {
    const { nodes } = await import('./nodes.ts')
    done(await nodes(io, options))
  })
}

const RUN_EXAMPLES = `manyhands run -- hostname
manyhands run --timeout 1m --cores 2 -- make -j2
cat data | manyhands run -- sort -u > sorted
manyhands run --each *.png -- convert {} -resize 50% small/{/}
manyhands run --each-line urls.txt -- curl -sfO {}

Placeholders of --each: {} the item, {.} without its extension, {/} its last part,
{//} its directory, {#} its number. Without any, the item becomes the last argument.

Exit codes: the program's own; 124 time limit, 125 the mesh, 126 not executable,
127 not found, 128+N ended by signal N. With --each: 0 if all succeeded, else 1.`

const addRun = (program: Command, io: Io, done: Done): void => {
  const command = verb(program, 'run', 'run a program, or one per item', RUN_EXAMPLES)
    .argument('[command...]', 'the program and its arguments, after --')
    .passThroughOptions()
    .optionsGroup('Many at once:')
    .option('--each <file...>', 'one task per file')
    .option('--each-line <file>', 'one task per line of a file, or of stdin (-)')
    .option('--keep-order', "outputs in the items' order, not as they come")
    .option('--json', 'a line of JSON per task instead of its output')
    .option('-q, --quiet', 'no progress and no summary')
  meshFlags(taskFlags(command, io)).action(async (words: string[], options) => {
    if (options.each !== undefined || options.eachLine !== undefined) {
      const { runEach } = await import('./run-each.ts')
      return done(await runEach(io, words, options))
    }
    for (const flag of ['keepOrder', 'json'])
      if (options[flag] !== undefined)
        throw new UsageError(
          `--${flag === 'json' ? flag : 'keep-order'} needs --each or --each-line`,
        )
    const { run } = await import('./run.ts')
    done(await run(io, words, options))
  })
}

const addSubmit = (program: Command, io: Io, done: Done): void => {
  const command = jsonFlag(
    verb(
      program,
      'submit',
      'hand a task in and print its id',
      'manyhands submit -- make all\nmanyhands wait $(manyhands submit -- make all)',
    )
      .argument('[command...]', 'the program and its arguments, after --')
      .passThroughOptions()
      .option('--key <key>', 'the same key again submits nothing and gives the same id')
      .option('--batch <name>', 'group it for wait and cancel'),
  )
  meshFlags(taskFlags(command, io)).action(async (words: string[], options) => {
    const { submit } = await import('./submit.ts')
    done(await submit(io, words, options))
  })
}

const addRetry = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    jsonFlag(
      verb(
        program,
        'retry',
        'submit ended tasks again',
        'manyhands retry 17 18',
      ).argument('<id...>', 'task ids'),
    ),
  ).action(async (ids: string[], options) => {
    const { retry } = await import('./retry.ts')
    done(await retry(io, ids, options))
  })
}

const addCancel = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    jsonFlag(
      verb(
        program,
        'cancel',
        'abort tasks and wait until they are gone',
        'manyhands cancel 17\nmanyhands cancel --batch nightly',
      )
        .argument('[id...]', 'task ids')
        .option('--batch <name>', 'all of a batch'),
    ),
  ).action(async (ids: string[], options) => {
    const { cancel } = await import('./cancel.ts')
    done(await cancel(io, ids, options))
  })
}

const addWait = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    jsonFlag(
      verb(
        program,
        'wait',
        'wait until tasks have ended',
        'manyhands wait 17 18\nmanyhands wait --batch nightly',
      )
        .argument('[id...]', 'task ids')
        .option('--batch <name>', 'all of a batch'),
    ),
  ).action(async (ids: string[], options) => {
    const { wait } = await import('./wait.ts')
    done(await wait(io, ids, options))
  })
}

const STATES: Readonly<Record<string, readonly TaskState[]>> = {
  waiting: ['queued', 'sent', 'accepted'],
  running: ['running'],
  ended: ['completed', 'failed', 'aborted'],
  completed: ['completed'],
  failed: ['failed'],
  aborted: ['aborted'],
}

const addTasks = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    jsonFlag(
      verb(
        program,
        'tasks',
        'list tasks, newest first',
        'manyhands tasks\nmanyhands tasks --only failed --json',
      )
        .addOption(
          new Option(
            '--only <state>',
            `of a state: ${Object.keys(STATES).join(', ')}`,
          ).choices(Object.keys(STATES)),
        )
        .option('--host <name>', 'of a host')
        .option('--batch <name>', 'of a batch')
        .option('--limit <n>', 'at most so many (default: 50)', parsed(parseCount(1))),
    ),
  ).action(async (options) => {
    const { tasks } = await import('./tasks.ts')
    const { only, ...rest } = options
    done(await tasks(io, { ...rest, ...(only && { only: STATES[only] }) }))
  })
}

const addShow = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    jsonFlag(
      verb(program, 'show', 'everything about a task', 'manyhands show 17').argument(
        '<id>',
        'a task id, or the number at its end',
      ),
    ),
  ).action(async (id: string, options) => {
    const { show } = await import('./show.ts')
    done(await show(io, id, options))
  })
}

const addLogs = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    verb(
      program,
      'logs',
      'what a task wrote',
      'manyhands logs 17\nmanyhands logs -f 17 | grep error',
    )
      .argument('<id>', 'a task id, or the number at its end')
      .option('-f, --follow', 'go on until it ends')
      .option('--from <byte>', 'from this byte on', parsed(parseCount(0)))
      .option('--stderr', 'its stderr instead of its stdout'),
  ).action(async (id: string, options) => {
    const { logs } = await import('./logs.ts')
    done(await logs(io, id, options))
  })
}

const addExplain = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    jsonFlag(
      verb(
        program,
        'explain',
        'why a task is where it is',
        'manyhands explain 17\n\nExit code 4: it waits and no node can run it.',
      ).argument('<id>', 'a task id, or the number at its end'),
    ),
  ).action(async (id: string, options) => {
    const { explain } = await import('./explain.ts')
    done(await explain(io, id, options))
  })
}
