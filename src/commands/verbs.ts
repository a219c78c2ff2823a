// The verbs with their flags, in groups, with examples. What a verb does is in its own file.

import { type Command, Option } from 'commander'
import { Topic } from '../../protocol/exchanges/events.ts'
import { STATES } from '../client/task-states.ts'
import { FAULTS, type FaultName } from '../sim/load-faults.ts'
import { type Io, UsageError } from './io.ts'
import {
  addAudit,
  addInvite,
  addIssue,
  addJoin,
  addMembers,
  addRevoke,
} from './membership-verbs.ts'
import { isProcessAddress } from './process-address.ts'
import { addExec, addPs, addSignal, addStart, addStop } from './process-verbs.ts'
import { addToken } from './token-verbs.ts'
import {
  parseAmount,
  parseCount,
  parseDuration,
  parsePair,
  parseSize,
  parseUser,
  parseVariable,
  parseWord,
} from './values.ts'
import { type Done, jsonFlag, meshFlags, parsed, stateFlag, verb } from './verb-parts.ts'

const ID = 'a task id, or the number at its end'

/** Adds every verb to the program; `done` gets the exit code of the one that ran. */
export const addVerbs = (program: Command, io: Io, done: Done): void => {
  program.commandsGroup('A mesh on this machine:')
  addUp(program, io, done)
  addDown(program, io, done)
  addNodes(program, io, done)
  program.commandsGroup('Other machines:')
  addInvite(program, io, done)
  addJoin(program, io, done)
  addIssue(program, io, done)
  addMembers(program, io, done)
  addRevoke(program, io, done)
  addAudit(program, io, done)
  addToken(program, io, done)
  program.commandsGroup('Running:')
  addRun(program, io, done)
  addSubmit(program, io, done)
  addRetry(program, io, done)
  addCancel(program, io, done)
  program.commandsGroup('Programs on hosts:')
  addPs(program, io, done)
  addStart(program, io, done)
  addExec(program, io, done)
  addStop(program, io, done)
  addSignal(program, io, done)
  program.commandsGroup('Watching:')
  addWait(program, io, done)
  addTasks(program, io, done)
  addShow(program, io, done)
  addLogs(program, io, done)
  addExplain(program, io, done)
  addEvents(program, io, done)
  addDoctor(program, io, done)
  program.commandsGroup('Planning:')
  addSimulate(program, io, done)
}

const taskFlags = (command: Command, io: Io): Command => {
  const count = (min: number) => parsed(parseCount(min))
  return command
    .optionsGroup('The task:')
    .option(
      '--timeout <time>',
      'stop it after so long: 500ms, 10s, 5m, 1h (default: never)',
      parsed(parseDuration),
    )
    .option(
      '--dir <dir>',
      'directory that it runs in (default: the current one; with --user his home)',
    )
    .option(
      '--user <name>',
      "run as this user, if the worker's owner lets you (default: the worker's choice)",
      parsed(parseUser),
    )
    .option(
      '--env <K=V>',
      'set a variable; K alone passes yours on (repeatable)',
      parsed(parseVariable(io.env)),
    )
    .option(
      '--retries <n>',
      'run it again after a failure, at most so often (default: 0)',
      count(0),
    )
    .option('--exclusive', 'never run it again while the worker that had it may be alive')
    .option(
      '--priority <n>',
      'higher goes first (default: 0)',
      count(Number.MIN_SAFE_INTEGER),
    )
    .option('--name <name>', 'shown in lists instead of the command')
    .addOption(
      new Option(
        '--output <policy>',
        'of its output: none is kept, capture keeps it, stream waits for readers (default: stream for run, else capture)',
      ).argParser(parsed(parseWord(['none', 'capture', 'stream']))),
    )
    .optionsGroup('Where it runs:')
    .option('--cores <n>', 'cores that it needs; 0: takes no slot (default: 1)', count(0))
    .option(
      '--memory <size>',
      'memory that it needs: 512M, 2G (counted, not enforced)',
      parsed(parseSize),
    )
    .option(
      '--resource <name=n>',
      "so much of a worker's resource, while it runs: gpu=1 (repeatable)",
      parsed(parseAmount),
    )
    .option('--host <name>', 'only on this host')
    .option(
      '--label <k=v>',
      'only on hosts with this label (repeatable)',
      parsed(parsePair),
    )
}

const addUp = (program: Command, io: Io, done: Done): void => {
  stateFlag(
    verb(program, 'up', {
      about: 'start a manager and workers here, in the background',
      examples: 'manyhands up\nmanyhands up --workers 4 --hub',
      notes: `Returns when the workers are ready. What the nodes say is in the state directory's logs/.`,
    })
      .option(
        '--workers <n>',
        'how many workers share the cores of this machine',
        parsed(parseCount(1)),
        2,
      )
      .option('--hub', 'a hub too: the way to programs on hosts by name, from one place'),
  ).action(async (options) => {
    const { up } = await import('./up.ts')
    done(await up(io, options))
  })
}

const addDown = (program: Command, io: Io, done: Done): void => {
  stateFlag(
    verb(program, 'down', {
      about: 'stop the nodes here; workers finish their tasks first',
      examples: 'manyhands down\nmanyhands down --now',
      notes: `Returns when their processes are gone. Workers wait 30 s for their tasks, or as long as their
--grace says.`,
    }).option('--now', 'kill what runs instead of waiting for it'),
  ).action(async (options) => {
    const { down } = await import('./down.ts')
    done(await down(io, options))
  })
}

const addNodes = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    jsonFlag(
      verb(program, 'nodes', {
        about: 'list the nodes: role, state, cores, what they run and have run',
        examples: 'manyhands nodes\nmanyhands nodes --json',
      }),
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
seq 100 | manyhands run --each-line - --keep-order -- expr 2 '*' {}`

const RUN_NOTES = `In the command of --each and --each-line:
  {}   the item             {.}   without its extension   {#}   its number, from 1
  {/}  its last part        {//}  its directory
Without any of them the item becomes the last argument. No shell reads an item; for pipes
give one:  manyhands run --each *.txt -- sh -c 'sort "$1" | uniq -c' sh {}

Exit codes: the program's own; 124 time limit, 125 the mesh, 126 not executable,
127 not found, 128+N ended by signal N. With --each: 0 if all succeeded, else 1.`

const MAX_FAILS =
  'end the batch once more than so many of its tasks have failed: what is open of it is cancelled (default: never)'
/** Flags of run that one task alone has no use for. */
const FOR_MANY = [
  ['keepOrder', 'keep-order'],
  ['maxFails', 'max-fails'],
  ['json', 'json'],
] as const

const addRun = (program: Command, io: Io, done: Done): void => {
  const command = verb(program, 'run', {
    about: 'run a program as if it ran here, or one per item, spread over the mesh',
    examples: RUN_EXAMPLES,
    notes: RUN_NOTES,
  })
    .argument('[command...]', 'the program and its arguments, after --')
    .passThroughOptions()
    .optionsGroup('Many at once:')
    .option('--each <file...>', 'one task per file; the list ends at -- or the next flag')
    .option(
      '--each-line <file>',
      'one task per line of a file, or of stdin (-); empty lines are left out',
    )
    .option('--keep-order', "outputs in the items' order, not as they come")
    .option('--max-fails <n>', MAX_FAILS, parsed(parseCount(0)))
    .option('--json', 'a line of JSON per task instead of its output')
    .option('-q, --quiet', 'no progress and no summary')
  meshFlags(taskFlags(command, io)).action(async (words: string[], options) => {
    if (options.each !== undefined || options.eachLine !== undefined) {
      const { runEach } = await import('./run-each.ts')
      return done(await runEach(io, words, options))
    }
    for (const [flag, name] of FOR_MANY)
      if (options[flag] !== undefined)
        throw new UsageError(`--${name} needs --each or --each-line`)
    const { run } = await import('./run.ts')
    done(await run(io, words, options))
  })
}

const addSubmit = (program: Command, io: Io, done: Done): void => {
  const command = jsonFlag(
    verb(program, 'submit', {
      about: 'hand a task in, print its id and leave',
      examples:
        'manyhands submit -- make all\nmanyhands submit --retries 3 --batch nightly -- ./backup.sh\nmanyhands wait $(manyhands submit -- make all)',
    })
      .argument('[command...]', 'the program and its arguments, after --')
      .passThroughOptions()
      .option('--key <key>', 'the same key again submits nothing and gives the same id')
      .option(
        '--batch <name>',
        'a name for many tasks together, for wait, cancel and tasks',
      )
      .option('--max-fails <n>', MAX_FAILS, parsed(parseCount(0))),
  )
  meshFlags(taskFlags(command, io)).action(async (words: string[], options) => {
    const { submit } = await import('./submit.ts')
    done(await submit(io, words, options))
  })
}

const addRetry = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    jsonFlag(
      verb(program, 'retry', {
        about: 'submit ended tasks again, as new ones, and print their ids',
        examples:
          'manyhands retry 17 18\nmanyhands retry --failed\nmanyhands retry --failed --aborted --batch nightly',
        notes: `With --failed and --aborted it leaves out those that were retried before, so saying it twice
runs nothing twice. Exit code 3: there is nothing to retry.`,
      })
        .argument('[id...]', ID)
        .option('--failed', 'all that failed, of those the manager still knows')
        .option('--aborted', 'all that were cancelled, or ended with their batch')
        .option('--batch <name>', 'of this batch alone'),
    ),
  ).action(async (ids: string[], options) => {
    const { retry } = await import('./retry.ts')
    done(await retry(io, ids, options))
  })
}

const addCancel = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    jsonFlag(
      verb(program, 'cancel', {
        about: 'end tasks, waiting or running, and return when they are gone',
        examples: 'manyhands cancel 17\nmanyhands cancel --batch nightly',
      })
        .argument('[id...]', ID)
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
      verb(program, 'wait', {
        about: 'wait until tasks have ended; a line for each as it does',
        examples: 'manyhands wait 17 18\nmanyhands wait --batch nightly',
        notes: 'Exit code 0 if all of them succeeded, else 1.',
      })
        .argument('[id...]', ID)
        .option('--batch <name>', 'all of a batch'),
    ),
  ).action(async (ids: string[], options) => {
    const { wait } = await import('./wait.ts')
    done(await wait(io, ids, options))
  })
}

const addDoctor = (program: Command, io: Io, done: Done): void => {
  stateFlag(
    jsonFlag(
      verb(program, 'doctor', {
        about:
          'look at what nodes need here, and say what to do where something is wrong',
        examples: 'manyhands doctor\nmanyhands doctor --json',
        notes: 'Looks, and changes nothing. Exit code 1: something is broken.',
      }),
    ),
  ).action(async (options) => {
    const { doctor } = await import('./doctor.ts')
    done(await doctor(io, options))
  })
}

const addTasks = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    jsonFlag(
      verb(program, 'tasks', {
        about: 'list tasks, newest first',
        examples:
          'manyhands tasks\nmanyhands tasks --only running --host pi\nmanyhands tasks --only failed --json',
      })
        .addOption(
          new Option('--only <state>', 'those in this state').choices(
            Object.keys(STATES),
          ),
        )
        .option('--host <name>', 'those of this host')
        .option('--batch <name>', 'those of this batch')
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
      verb(program, 'show', {
        about: 'everything about a task: its command, times, outcome and attempts',
        examples: 'manyhands show 17\nmanyhands show 17 --json',
      }).argument('<id>', ID),
    ),
  ).action(async (id: string, options) => {
    const { show } = await import('./show.ts')
    done(await show(io, id, options))
  })
}

const addLogs = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    verb(program, 'logs', {
      about: 'what a task or processes wrote',
      examples:
        'manyhands logs 17\nmanyhands logs -f 17 | grep error\nmanyhands logs --from 1000000 17\nmanyhands logs -f pi/4711 nas/p3',
    })
      .argument(
        '<id...>',
        `${ID}; or processes, as HOST/PID: of several each line behind its name`,
      )
      .option('-f, --follow', 'go on until it ends')
      .option('--from <byte>', 'from this byte of its output on', parsed(parseCount(0)))
      .option('--stderr', 'its stderr instead of its stdout')
      .option(
        '--json',
        'one line: a list of one object; with -f one for each piece; of processes one for each line',
      ),
  ).action(async (ids: string[], options) => {
    if (ids.every(isProcessAddress)) {
      const { processLogs } = await import('./process-logs.ts')
      return done(await processLogs(io, ids, options))
    }
    const [id = '', ...more] = ids
    if (more.length > 0) throw new UsageError('expected one task, or processes alone')
    const { logs } = await import('./logs.ts')
    done(await logs(io, id, options))
  })
}

const addExplain = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    jsonFlag(
      verb(program, 'explain', {
        about: 'why a task waits, or where it is, with a reason for each worker',
        examples: 'manyhands explain 17',
        notes: 'Exit code 4: it waits and no node can run it.',
      }).argument('<id>', ID),
    ),
  ).action(async (id: string, options) => {
    const { explain } = await import('./explain.ts')
    done(await explain(io, id, options))
  })
}

const addEvents = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    verb(program, 'events', {
      about: 'what happens in the mesh, as it happens, a line for each',
      examples: 'manyhands events\nmanyhands events --topic tasks --json',
      notes: `Of nodes, processes and tasks. By a hub those of all nodes, without one what the manager
sees. Ctrl-C ends it.`,
    })
      .option(
        '--topic <topic>',
        `of these alone: ${Topic.words.join(', ')} (repeatable)`,
        parsed((text: string, before: readonly string[] = []) => [
          ...before,
          parseWord(Topic.words)(text),
        ]),
      )
      .option('--json', 'each line an object'),
  ).action(async (options) => {
    const { events } = await import('./events.ts')
    done(await events(io, options))
  })
}

const SIMULATE_EXAMPLES = `manyhands simulate --workers 40 --tasks 100000 --task-ms 30000
manyhands simulate --workers 1000 --tasks 1000000 --faults crash,partition
manyhands simulate --workers 1000 --tasks 1000000 --sweep --svg mesh.svg`

const addSimulate = (program: Command, io: Io, done: Done): void => {
  const faults = Object.entries(FAULTS).map(
    ([name, what]) => `  ${name.padEnd(10)} ${what}`,
  )
  jsonFlag(
    verb(program, 'simulate', {
      about: 'what a mesh of a size would do with so many tasks, before it is bought',
      examples: SIMULATE_EXAMPLES,
      notes: `The managers and workers are the real ones; network, clocks, disks and programs are simulated.
The same seed gives the same run; what a task costs the manager is measured on this machine.

Faults, each for one worker in a hundred, at even distances:
${faults.join('\n')}`,
    })
      .option('--workers <n>', 'machines that run tasks', parsed(parseCount(1)), 10)
      .option(
        '--tasks <n>',
        'handed in as fast as they are taken',
        parsed(parseCount(1)),
        10_000,
      )
      .option('--task-ms <n>', 'how long one runs; 0: noop', parsed(parseCount(0)), 1_000)
      .option(
        '--cores <n>',
        'tasks that a worker runs at a time',
        parsed(parseCount(1)),
        4,
      )
      .option(
        '--managers <n>',
        'each with its share of workers and tasks',
        parsed(parseCount(1)),
        1,
      )
      .option(
        '--faults <names>',
        'what strikes it: names with commas between',
        parsed(parseFaults),
        [],
      )
      .option('--seed <n>', 'another number, another run', parsed(parseCount(0)), 1)
      .option('--sweep', 'smaller sizes too, up to these')
      .option('--svg <file>', 'draws the sweep'),
  ).action(async (options) => {
    const { simulate } = await import('./simulate.ts')
    done(await simulate(io, options))
  })
}

const FAULT_NAMES = Object.keys(FAULTS) as readonly FaultName[] // of a constant

const parseFaults = (text: string): readonly FaultName[] =>
  text.split(',').map(parseWord(FAULT_NAMES))
