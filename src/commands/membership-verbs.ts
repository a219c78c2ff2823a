// The verbs of who belongs to the mesh, with their flags.

import { type Command, Option } from 'commander'
import type { Io } from './io.ts'
import { parseCount, parseDuration, parseHostName } from './values.ts'
import { type Done, jsonFlag, parsed, stateFlag, verb } from './verb-parts.ts'

const ROLES = ['worker', 'manager', 'client']

const roleOption = () =>
  new Option('--role <role>', 'what the new member is')
    .choices(ROLES)
    .makeOptionMandatory()

export const addInvite = (program: Command, io: Io, done: Done): void => {
  stateFlag(
    jsonFlag(
      verb(program, 'invite', {
        about: 'let another machine join: prints what to type there, and waits for it',
        examples:
          'manyhands invite --role worker\nmanyhands invite --role worker --uses 10 --ttl 1h\nmanyhands invite --role client --name laptop',
        notes:
          'Runs where the mesh was made. The invitation ends when it is used, after its time, or with this command.',
      })
        .addOption(roleOption())
        .option(
          '--name <name>',
          'the name that the new member gets',
          parsed(parseHostName),
        )
        .option('--ttl <time>', 'how long it is good for', parsed(parseDuration), 900_000)
        .option('--uses <n>', 'how many may use it', parsed(parseCount(1)), 1)
        .option('--listen <address>', 'where it waits for them', '0.0.0.0')
        .option('--no-mdns', 'do not announce it on the network'),
    ),
  ).action(async ({ ttl: ttlMs, ...options }) => {
    const { invite } = await import('./invite.ts')
    done(await invite(io, { ...options, ttlMs }))
  })
}

export const addJoin = (program: Command, io: Io, done: Done): void => {
  stateFlag(
    verb(program, 'join', {
      about: 'make this machine a member of the mesh that an invitation is from',
      examples:
        'manyhands join TOKEN\nmanyhands join TOKEN --at 192.168.1.5:40123\nmanyhands join TOKEN --name pi',
      notes:
        'An unused mesh that was made here is put aside. Afterwards start a node, as it says.',
    })
      .argument('<token>', 'what manyhands invite printed')
      .option('--at <host:port>', 'where the invitation waits, if mDNS does not find it')
      .option(
        '--name <name>',
        'its name in the mesh, and no other',
        parsed(parseHostName),
      )
      .option('--force', 'leave the mesh that this machine is in'),
  ).action(async (token: string, options) => {
    const { join } = await import('./join.ts')
    done(await join(io, token, options))
  })
}

export const addIssue = (program: Command, io: Io, done: Done): void => {
  stateFlag(
    verb(program, 'issue', {
      about: 'make a member: a state directory for another machine, or a slot here',
      examples:
        'manyhands issue --role worker --name pi --out pi-state\nscp -rp pi-state pi: && ssh pi manyhands --role worker --state pi-state\nmanyhands issue --role worker --name python',
      notes: 'Whoever has the directory is that member: copy it over a safe way.',
    })
      .addOption(roleOption())
      .requiredOption('--name <name>', 'its name in the mesh', parsed(parseHostName))
      .option(
        '--out <dir>',
        'the directory to make (default: a slot here, for a program of your own)',
      ),
  ).action(async (options) => {
    const { issue } = await import('./issue.ts')
    done(await issue(io, options))
  })
}

export const addMembers = (program: Command, io: Io, done: Done): void => {
  stateFlag(
    jsonFlag(
      verb(program, 'members', {
        about: 'list who was let into the mesh that was made here',
        examples: 'manyhands members\nmanyhands members --json',
      }),
    ),
  ).action(async (options) => {
    const { members } = await import('./members.ts')
    done(await members(io, options))
  })
}

export const addRevoke = (program: Command, io: Io, done: Done): void => {
  stateFlag(
    verb(program, 'revoke', {
      about: 'take members out of the mesh; their connections to nodes here are cut',
      examples: 'manyhands revoke pi',
      notes:
        'With a node goes the command line that joined with it. The name is free again afterwards.',
    }).argument('<name...>', 'names of members'),
  ).action(async (names: string[], options) => {
    const { revoke } = await import('./revoke.ts')
    done(await revoke(io, names, options))
  })
}
