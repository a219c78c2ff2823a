// The verbs about processes, programs that stay on a host by name, with their flags.

import { type Command, Option } from 'commander'
import { Signal } from '../../protocol/process.ts'
import { parseHostTerms } from './host-terms.ts'
import type { Io } from './io.ts'
import {
  parseCount,
  parseDuration,
  parsePair,
  parseUser,
  parseVariable,
  parseWord,
} from './values.ts'
import { type Done, jsonFlag, meshFlags, parsed, verb } from './verb-parts.ts'

const PROCESS = 'HOST/PID, or HOST/pN, which stays over restarts'

export const addPs = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    jsonFlag(
      verb(program, 'ps', {
        about: 'list the processes that were started on hosts by name',
        examples: 'manyhands ps\nmanyhands ps --host pi --all',
        notes: 'Exit code 1: a host could not be asked.',
      })
        .option('--host <name>', 'of this host alone')
        .option('-a, --all', 'those too that wait for a restart or have ended'),
    ),
  ).action(async (options) => {
    const { ps } = await import('./ps.ts')
    done(await ps(io, options))
  })
}

/** What a program on a host runs in and as. */
const surroundings = (command: Command, io: Io): Command =>
  command
    .option('--dir <dir>', "directory that it runs in (default: the node's own for work)")
    .option(
      '--user <name>',
      "run as this user, if the host's owner lets you (default: the host's choice)",
      parsed(parseUser),
    )
    .option(
      '--env <K=V>',
      'set a variable; K alone passes yours on (repeatable)',
      parsed(parseVariable(io.env)),
    )

const START_EXAMPLES = `manyhands start --host pi -- python3 -m http.server 8000
manyhands start --host pi --restart on-failure --name camera -- /opt/camera --fps 30
manyhands start --host pi --ready-port 8000 -- python3 -m http.server 8000`

export const addStart = (program: Command, io: Io, done: Done): void => {
  const command = verb(program, 'start', {
    about: 'start a program on a host, to stay there; prints HOST/PID',
    examples: START_EXAMPLES,
    notes: `It is no task: it takes no slot, is not moved, and ends when its node does. No shell reads
the command. With --ready-... it returns when that came true; exit code 1: it never did.`,
  })
    .argument('[command...]', 'the program and its arguments, after --')
    .passThroughOptions()
    .requiredOption('--host <name>', 'where')
  surroundings(command, io)
    .option('--name <name>', 'shown in lists instead of the command')
    .option('--label <k=v>', 'shown in lists (repeatable)', parsed(parsePair))
    .option('--key <key>', 'the same key again starts nothing and prints the same')
    .optionsGroup('When it has ended:')
    .addOption(
      new Option('--restart <policy>', 'start it again? (default: never)').argParser(
        parsed(parseWord(['never', 'on-failure', 'always'])),
      ),
    )
    .option('--restart-limit <n>', 'so often in a row at most', parsed(parseCount(0)))
    .option(
      '--restart-delay <time>',
      'before the first restart, doubling to 60s (default: 1s)',
      parsed(parseDuration),
    )
    .optionsGroup('When it counts as ready:')
    .option('--ready-log <text>', 'it wrote a line with this in it')
    .option('--ready-port <port>', 'it listens there', parsed(parseCount(1)))
    .option('--ready-exit', 'it ended with exit code 0')
  meshFlags(jsonFlag(command)).action(async (words: string[], options) => {
    const { startProcess } = await import('./start-process.ts')
    done(await startProcess(io, words, options))
  })
}

const EXEC_EXAMPLES = `manyhands exec --on 'host=*' -- uptime
manyhands exec --on 'host=arm* label.gpu=yes' --deadline 5s -- nvidia-smi -L
manyhands exec --on host=pi,host=nas* --json -- df -h /`

export const addExec = (program: Command, io: Io, done: Done): void => {
  const command = verb(program, 'exec', {
    about: 'run a program on every host that matches, and show what each of them said',
    examples: EXEC_EXAMPLES,
    notes: `Terms are separated by commas or blanks: host=, role=, label.NAME=, each with a pattern (* any
letters, ? one); all have to match. Every host has its line by the deadline; what has not
ended then is stopped. Hosts that wrote the same are shown together.
Exit code 0: it ended with 0 on every host; else 1. 3: no host matches.`,
  })
    .argument('[command...]', 'the program and its arguments, after --')
    .passThroughOptions()
    .requiredOption('--on <terms>', 'which hosts', parsed(parseHostTerms))
    .option(
      '--deadline <time>',
      'every host has its result by then (default: 30s)',
      parsed(parseDuration),
      30_000,
    )
  meshFlags(jsonFlag(surroundings(command, io))).action(
    async (words: string[], options) => {
      const { exec } = await import('./exec.ts')
      done(await exec(io, words, options))
    },
  )
}

export const addStop = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    verb(program, 'stop', {
      about: 'end processes: INT, after 5 s TERM, after 5 s more KILL',
      examples: 'manyhands stop pi/4711\nmanyhands stop --wait pi/p1 nas/p3',
    })
      .argument('<process...>', PROCESS)
      .option('--wait', 'return when they have ended'),
  ).action(async (addresses: string[], options) => {
    const { stop } = await import('./stop.ts')
    done(await stop(io, addresses, options))
  })
}

export const addSignal = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    verb(program, 'signal', {
      about: 'send a signal to processes and their children',
      examples: 'manyhands signal HUP pi/4711\nmanyhands signal SIGSTOP pi/p1',
      notes: `Signals: ${Signal.words.join(', ')}.`,
    })
      .argument('<signal>', 'its name, with or without SIG', parsed(parseSignal))
      .argument('<process...>', PROCESS),
  ).action(async (name: Signal, addresses: string[], options) => {
    const { signal } = await import('./stop.ts')
    done(await signal(io, name, addresses, options))
  })
}

const parseSignal = (text: string): Signal => {
  const upper = text.toUpperCase()
  return parseWord(Signal.words)(upper.startsWith('SIG') ? upper : `SIG${upper}`)
}
