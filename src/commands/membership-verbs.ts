// The verbs of who belongs to the mesh, with their flags.

import { type Command, Option } from 'commander'
import { DEFAULT_SCOPES, ScopeName } from '../../protocol/scopes.ts'
import type { Io } from './io.ts'
import {
  parseCount,
  parseDuration,
  parseHostName,
  parseIssuedLabel,
  parseScope,
} from './values.ts'
import { type Done, jsonFlag, meshFlags, parsed, stateFlag, verb } from './verb-parts.ts'

const INVITE_EXAMPLES = `manyhands invite --role worker
manyhands invite --role worker --uses 10 --ttl 1h --label zone=lab
manyhands invite --role client --name dashboard --scope read
manyhands invite --role client --scope read --scope 'tasks:run@lab-*'`

const ISSUE_EXAMPLES = `manyhands issue --role worker --name pi --out pi-state
scp -rp pi-state pi: && ssh pi manyhands --role worker --state pi-state
manyhands issue --role worker --name vault --label trusted=yes --out vault-state
manyhands issue --role client --name ci --scope read --scope tasks:run --out ci-state
manyhands issue --role worker --name python`

const SCOPE_NOTES = `A command line that joins may do what its scopes say:
  read        list and show tasks, processes, their output, and nodes
  tasks:run   submit tasks, feed and cancel them
  processes   start, stop and feed processes
  modules     for what comes later
  admin       invite and take out members, and so everything; set variables that make other
              code run (LD_PRELOAD and the like)
With @ and a pattern, tasks:run@lab-*, only on the hosts that match; none holds another, so
manyhands run takes read and tasks:run. The user who made the mesh has all of them.`

const ROLES = ['worker', 'manager', 'hub', 'client']

const roleOption = () =>
  new Option('--role <role>', 'what the new member is')
    .choices(ROLES)
    .makeOptionMandatory()

/** What the certificates of an invitation or a bundle say besides who it is. */
const grantFlags = (command: Command): Command =>
  command
    .option(
      '--scope <scope>',
      `what the command line there may do: ${ScopeName.words.join(', ')}, each alone or @ a pattern of hosts; repeatable (default: ${DEFAULT_SCOPES.join(' and ')})`,
      parsed(parseScope),
    )
    .option(
      '--label <k=v>',
      'of a worker, vouched for by this mesh: tasks ask for it as --label issuer/K=V; repeatable',
      parsed(parseIssuedLabel),
    )

export const addInvite = (program: Command, io: Io, done: Done): void => {
  const command = verb(program, 'invite', {
    about: 'let another machine join: prints what to type there, and waits for it',
    examples: INVITE_EXAMPLES,
    notes: `The invitation ends when it is used, after its time, or with this command. On a machine
that joined the mesh it is opened at the node where the mesh was made, and stays open there;
that takes the scope admin.

${SCOPE_NOTES}`,
  })
    .addOption(roleOption())
    .option('--name <name>', 'the name that the new member gets', parsed(parseHostName))
    .option('--ttl <time>', 'how long it is good for', parsed(parseDuration), 900_000)
    .option('--uses <n>', 'how many may use it', parsed(parseCount(1)), 1)
    .option(
      '--listen <address>',
      'where it waits for them (default: every address of this machine)',
    )
    .option('--no-mdns', 'do not announce it on the network')
  meshFlags(jsonFlag(grantFlags(command))).action(async ({ ttl: ttlMs, ...options }) => {
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
  const command = verb(program, 'issue', {
    about: 'make a member: a state directory for another machine, or a slot here',
    examples: ISSUE_EXAMPLES,
    notes: `Whoever has the directory is that member: copy it over a safe way.

${SCOPE_NOTES}`,
  })
    .addOption(roleOption())
    .requiredOption('--name <name>', 'its name in the mesh', parsed(parseHostName))
    .option(
      '--out <dir>',
      'the directory to make (default: a slot here, for a program of your own)',
    )
  stateFlag(grantFlags(command)).action(async (options) => {
    const { issue } = await import('./issue.ts')
    done(await issue(io, options))
  })
}

export const addMembers = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    jsonFlag(
      verb(program, 'members', {
        about: 'list who was let into the mesh, and who was taken out',
        examples: 'manyhands members\nmanyhands members --json',
        notes:
          'Away from where the mesh was made it takes the scope admin, and a node there.',
      }),
    ),
  ).action(async (options) => {
    const { members } = await import('./members.ts')
    done(await members(io, options))
  })
}

export const addRevoke = (program: Command, io: Io, done: Done): void => {
  meshFlags(
    verb(program, 'revoke', {
      about: 'take members out of the mesh; every node cuts their connections',
      examples: 'manyhands revoke pi',
      notes:
        'With a node goes the command line that joined with it. The name is free again afterwards.\nAway from where the mesh was made it takes the scope admin, and a node there.',
    }).argument('<name...>', 'names of members'),
  ).action(async (names: string[], options) => {
    const { revoke } = await import('./revoke.ts')
    done(await revoke(io, names, options))
  })
}

const AUDIT_EXAMPLES = `manyhands audit show
manyhands audit show --event asked --by ci --since 1d
manyhands audit show node-pi --event started --event ended --json | jq .program
manyhands audit verify
manyhands audit verify --has 5f2c…e1`

export const addAudit = (program: Command, io: Io, done: Done): void => {
  const command = verb(program, 'audit', {
    about: 'who did what on this machine: show the record, or verify that it holds',
    examples: AUDIT_EXAMPLES,
    notes: `Each node here has a log, and the commands that change who is a member have one: what was
started, signalled and ended, who asked for it, who was let in, taken out or refused. Each line
has the hash of the one before, so that verify finds the first that was changed, added or taken
out. That the end was cut off shows only to somebody who kept the hash that verify printed
elsewhere: --has. Arguments, variables, input and secrets are never recorded.

Events: node-started, node-stopped; asked (with the answer), started, not-started, signalled,
ended, forbidden; refused (a connection, a join, a manager), denied and busy (a request);
mesh-made, invited, joined, joined-mesh, certified, renewed, revoked, revocations; untold (how
many refusals of a kind beyond 100 in 10 s), audit-end-cut, audit-lost, audit-broken.
Exit codes: 1 a log does not hold, or a hash is in none; 3 no such log.`,
  })
    .argument('<verify|show>', 'what to do')
    .argument('[log...]', 'names of logs, as verify prints them (default: all)')
    .option(
      '--has <hash>',
      'verify: this line must be in one of them; repeatable',
      gather,
    )
    .option('--event <name>', 'show: these events alone; repeatable', gather)
    .option('--by <name>', 'show: of this member or user alone')
    .option('--since <time>', 'show: not older than 90s, 2h, 7d', parsed(parseDuration))
    .option('--last <n>', 'show: so many lines', parsed(parseCount(1)), 100)
  stateFlag(jsonFlag(command)).action(async (word: string, logs: string[], options) => {
    const { audit, parseAuditAction } = await import('./audit.ts')
    done(await audit(io, parseAuditAction(word), logs, options))
  })
}

const gather = (value: string, before: readonly string[] = []): readonly string[] => [
  ...before,
  value,
]
