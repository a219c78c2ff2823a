// Options: what a node can be told at its start. Each has a meaning, a unit, a default and
// a reason for it; the command line's flags, its help and the checks all come from here.

import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import { HostName, NodeId, type NodeType, UserName } from '../protocol/index.ts'
import { type FaceAddress, isLoopbackFace, parseFaceAddress } from './http/address.ts'

/** A node as it is asked for. What is undefined is decided by the machine it runs on. */
export interface NodeOptions {
  readonly role: 'manager' | 'worker' | 'hub'
  readonly name: HostName | undefined
  readonly state: string | undefined
  readonly listen: string
  /** As root, other machines may connect all the same. */
  readonly allowRoot: boolean
  /** 0: the port of the last time if it is free, else any. */
  readonly port: number
  readonly join: readonly string[]
  readonly mdns: boolean
  /** Looks for nodes in the state directory. Only a measurement of mDNS turns it off. */
  readonly local: boolean
  /** The mDNS service type, without underscore. Tests use their own. */
  readonly service: string
  readonly cores: number | undefined
  readonly tasks: number | undefined
  readonly memoryBytes: number | undefined
  readonly labels: Readonly<Record<string, string>>
  readonly resources: Readonly<Record<string, number>>
  /** Serves ProcessStart and its like; undefined: a worker does, others do not. */
  readonly processes: boolean | undefined
  /** Names or ids of the managers that may manage it and of the hubs that may ask it; empty: any of its mesh. */
  readonly managers: readonly string[]
  /** Programs and folders of programs that tasks may run; empty: any. */
  readonly allow: readonly string[]
  /** Undefined: yes, unless programs are limited. */
  readonly downloads: boolean | undefined
  /** Users of this machine that programs may ask to run as. */
  readonly users: readonly string[]
  /** Who programs run as that do not ask; undefined: as the node. */
  readonly runAs: string | undefined
  readonly graceMs: number
  /** Of a captured output, per descriptor. */
  readonly outputCapBytes: number
  readonly pingMs: number
  readonly ledger: 'embedded' | 'memory'
  /** Where the API listens; undefined: nowhere. */
  readonly http: FaceAddress | undefined
  /** Where the BlueZero face listens; undefined: nowhere. */
  readonly bluezero: FaceAddress | undefined
  /** On loopback its clients need no token. */
  readonly adapterOpen: boolean
  readonly keepMs: number
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error'
  readonly logFormat: 'text' | 'json'
}

/** A flag of the command line, with what its help says. */
export interface Flag {
  readonly flag: string
  /** The placeholder of its value; undefined: it takes none. */
  readonly value?: string
  /** What it means without one. */
  readonly bare?: string
  readonly isRepeatable?: boolean
  readonly about: string
  /** As a person reads it; undefined: it has none. */
  readonly byDefault?: string
  readonly why: string
}

export const NODE_FLAGS: readonly Flag[] = [
  {
    flag: 'role',
    value: 'ROLE',
    about: 'what this node is: manager, worker or hub',
    why: 'the one thing that nobody can guess',
  },
  {
    flag: 'name',
    value: 'HOST_NAME',
    about: 'its name in the mesh',
    byDefault:
      "$B0_HOST_ID or the machine's name; a manager appends -manager, a hub -hub",
    why: 'stable without being written down: a node started again gets its name back',
  },
  {
    flag: 'state',
    value: 'DIR',
    about: "the directory of the mesh's and the nodes' keys",
    byDefault: '$XDG_STATE_HOME/manyhands or ~/.local/state/manyhands',
    why: 'same user, same home: same mesh',
  },
  {
    flag: 'listen',
    value: 'ADDRESS',
    about: 'the address to listen on; 0.0.0.0 lets other machines connect',
    byDefault: '127.0.0.1',
    why: 'nobody else can reach it',
  },
  {
    flag: 'allow-root',
    about: 'as root, listen to other machines all the same: what they run, runs as root',
    why: 'nobody should do that by accident',
  },
  {
    flag: 'port',
    value: 'PORT',
    about: 'the port to listen on',
    byDefault: 'that of the last time, else any free one',
    why: 'peers find the port by themselves; the last one lets them return at once',
  },
  {
    flag: 'join',
    value: 'URL',
    isRepeatable: true,
    about: 'a node to connect to, host:port; tried for as long as this node lives',
    why: 'for networks without multicast',
  },
  {
    flag: 'no-mdns',
    about: 'neither announce this node on the network nor look for others there',
    why: 'mDNS is how nodes find each other when nothing is configured',
  },
  {
    flag: 'cores',
    value: 'N',
    about: 'cores that tasks may use',
    byDefault: 'all of this machine',
    why: 'several workers on one machine share it',
  },
  {
    flag: 'tasks',
    value: 'N',
    about: 'tasks that run at a time, those that ask for no core too',
    byDefault: '256 beside the cores',
    why: 'a task may say that it needs no core',
  },
  {
    flag: 'memory',
    value: 'SIZE',
    about: 'memory that tasks may use: 512M, 8G',
    byDefault: "the machine's",
    why: 'placement counts it; nothing enforces it yet',
  },
  {
    flag: 'label',
    value: 'K=V',
    isRepeatable: true,
    about: 'a label that tasks can ask for',
    why: 'places tasks by what a machine has',
  },
  {
    flag: 'resource',
    value: 'NAME=N',
    isRepeatable: true,
    about: 'a resource that tasks can use up: gpu=1',
    why: 'bounds what cores and memory do not',
  },
  {
    flag: 'manager',
    value: 'NAME',
    isRepeatable: true,
    about:
      'a manager that may manage this worker, or a hub that may ask it, by name or id; * is any of its mesh',
    byDefault: 'any of its mesh',
    why: 'whoever is a manager or a hub of the mesh was let in for just that',
  },
  {
    flag: 'allow',
    value: 'PATH',
    isRepeatable: true,
    about: 'a program, or a folder of programs, that may be run here, and no others',
    byDefault: 'all',
    why: 'whoever has a mesh to himself may run everything here anyway',
  },
  {
    flag: 'downloads',
    value: 'YES|NO',
    about: 'run programs fetched by https',
    byDefault: 'yes; no with --allow',
    why: 'their digest is in the task; a list of what may run should be all of it',
  },
  {
    flag: 'user',
    value: 'NAME',
    isRepeatable: true,
    about: 'a user of this machine that programs may ask to run as; only as root',
    byDefault: "none but the node's own",
    why: 'who may run as somebody may do all that he may',
  },
  {
    flag: 'run-as',
    value: 'NAME',
    about: 'the user that programs run as which do not ask for one; only as root',
    byDefault: "the node's own",
    why: 'nothing has to be set up to begin; a root that serves others should say it',
  },
  {
    flag: 'grace',
    value: 'TIME',
    about: 'how long a stopping worker lets its tasks finish: 30s, 5m',
    byDefault: '30s',
    why: 'short tasks end by themselves; longer ones run again elsewhere',
  },
  {
    flag: 'processes',
    about:
      'members may start, stop and watch programs here by name; workers do it anyway',
    why: 'managers and hubs run no programs unless they are told to',
  },
  {
    flag: 'no-processes',
    about: 'a worker that runs tasks alone',
    why: 'a worker is there to run programs',
  },
  {
    flag: 'output-cap',
    value: 'SIZE',
    about: "how much of a program's captured stdout, and of its stderr, a worker keeps",
    byDefault: '64M',
    why: 'the first and the last half of it are kept: a program must not fill the disk',
  },
  {
    flag: 'http',
    value: 'ADDR',
    bare: 'unix',
    about:
      "serve the API by HTTP, on a manager or a hub: 127.0.0.1:8701, unix:PATH, or, without ADDR, a socket in the node's folder",
    why: 'nothing listens that nobody asked for',
  },
  {
    flag: 'bluezero',
    value: 'ADDR',
    bare: 'unix',
    about:
      "serve BlueZero's process manager by HTTP, on a hub for all hosts: 127.0.0.1:8700, unix:PATH, or, without ADDR, a socket in the node's folder",
    why: 'nothing listens that nobody asked for',
  },
  {
    flag: 'adapter-open',
    about: 'let its clients in without a token, on loopback alone',
    why: 'old clients cannot send one; everybody else on the machine gets in too',
  },
  {
    flag: 'ledger',
    value: 'KIND',
    about: 'where a manager keeps its tasks: embedded, in its own folder; or memory',
    byDefault: 'embedded',
    why: 'tasks that nobody would miss need no disk',
  },
  {
    flag: 'keep',
    value: 'TIME',
    about: 'how long a manager remembers ended tasks: 12h, 90d; never more than 100,000',
    byDefault: '30d',
    why: 'long enough to ask what ran last month',
  },
  {
    flag: 'ping',
    value: 'TIME',
    about:
      "how often a manager's workers check in; the leases are three and four times it",
    byDefault: '5s',
    why: 'a worker that hangs is noticed in 20 s, and a slow network is not called dead',
  },
  {
    flag: 'log-level',
    value: 'LEVEL',
    about: 'debug, info, warn or error',
    byDefault: 'info',
    why: 'who came and went, not every message',
  },
  {
    flag: 'log-format',
    value: 'FORMAT',
    about: 'text or json',
    byDefault: 'text',
    why: 'a person reads it first',
  },
]

/** What the command line gave, by flag. */
export type Given = Readonly<
  Record<string, string | boolean | readonly string[] | undefined>
>

/** A value that is not understood: a sentence naming the flag, the value and what was expected. */
export type Fault = string

/** The defaults, for everything but the role. */
export const DEFAULTS: Omit<NodeOptions, 'role'> = {
  name: undefined,
  state: undefined,
  listen: '127.0.0.1',
  allowRoot: false,
  port: 0,
  join: [],
  mdns: true,
  local: true,
  service: 'manyhands',
  cores: undefined,
  tasks: undefined,
  memoryBytes: undefined,
  labels: {},
  resources: {},
  processes: undefined,
  managers: [],
  allow: [],
  downloads: undefined,
  users: [],
  runAs: undefined,
  graceMs: 30_000,
  outputCapBytes: 64 * 1024 * 1024,
  pingMs: 5000,
  ledger: 'embedded',
  http: undefined,
  bluezero: undefined,
  adapterOpen: false,
  keepMs: 30 * 24 * 3_600_000,
  logLevel: 'info',
  logFormat: 'text',
}

/** Checks what the command line gave; all faults are reported together. */
export const readNodeOptions = (given: Given): Either<readonly Fault[], NodeOptions> => {
  const reader = new Reader(given)
  const role = reader.read('role', undefined, parseRole)
  const options = {
    ...DEFAULTS,
    name: reader.read('name', undefined, parseName),
    state: reader.read('state', undefined, (text) => E.right(text)),
    listen: reader.read('listen', DEFAULTS.listen, (text) => E.right(text)),
    allowRoot: given['allow-root'] === true,
    port: reader.read('port', DEFAULTS.port, parsePort),
    join: reader.all('join', parseUrl),
    mdns: given['no-mdns'] !== true,
    service: reader.read('service', DEFAULTS.service, (text) => E.right(text)),
    local: given['no-local'] !== true,
    cores: reader.read('cores', undefined, parseCount),
    tasks: reader.read('tasks', undefined, parseCount),
    memoryBytes: reader.read('memory', undefined, parseSize),
    labels: Object.fromEntries(reader.all('label', parseLabel)),
    resources: Object.fromEntries(reader.all('resource', parseAmount)),
    processes: processesOf(given),
    managers: reader.all('manager', parseManager),
    allow: reader.all('allow', parsePath),
    downloads: reader.read('downloads', DEFAULTS.downloads, parseYesNo),
    users: reader.all('user', parseUser),
    runAs: reader.read('run-as', DEFAULTS.runAs, parseUser),
    graceMs: reader.read('grace', DEFAULTS.graceMs, parseTime),
    outputCapBytes: reader.read('output-cap', DEFAULTS.outputCapBytes, parseSize),
    pingMs: reader.read('ping', DEFAULTS.pingMs, parseTime),
    keepMs: reader.read('keep', DEFAULTS.keepMs, parseTime),
    http: reader.read('http', DEFAULTS.http, parseFaceAddress),
    bluezero: reader.read('bluezero', DEFAULTS.bluezero, parseFaceAddress),
    adapterOpen: given['adapter-open'] === true,
    ledger: reader.read('ledger', DEFAULTS.ledger, wordOf(LEDGERS)),
    logLevel: reader.read('log-level', DEFAULTS.logLevel, wordOf(LEVELS)),
    logFormat: reader.read('log-format', DEFAULTS.logFormat, wordOf(FORMATS)),
  }
  if (role === 'worker' && options.http !== undefined)
    reader.faults.push('--http: is served by a manager or a hub, and this is a worker')
  if (role === 'manager' || role === 'hub')
    for (const flag of OF_WORKERS)
      if (given[flag] !== undefined)
        reader.faults.push(`--${flag}: is a worker's to say, and this is a ${role}`)
  reader.faults.push(...adapterFaults(options))
  if (reader.faults.length > 0 || role === undefined) {
    const missing =
      role === undefined && reader.faults.length === 0
        ? ['--role is missing: manager, worker or hub']
        : []
    return E.left([...missing, ...reader.faults])
  }
  return E.right({ ...options, role })
}

/** Without tokens everybody who reaches it is let in: so nobody else may reach it. */
const adapterFaults = ({
  bluezero,
  adapterOpen,
}: Pick<NodeOptions, 'bluezero' | 'adapterOpen'>): readonly Fault[] => {
  if (!adapterOpen) return []
  if (bluezero === undefined)
    return ['--adapter-open: there is no face that it would open; give --bluezero']
  return isLoopbackFace(bluezero)
    ? []
    : [
        '--adapter-open: is for loopback alone, for whoever connects may start programs; give a loopback address, or leave it out and use tokens',
      ]
}

/** Undefined: as the role has it. Both said: no. */
const processesOf = (given: Given): boolean | undefined => {
  const { processes, 'no-processes': no } = given
  if (no === true) return false
  return processes === true ? true : undefined
}
/** On a manager they would seem to protect something. */
const OF_WORKERS = ['manager', 'downloads', 'tasks', 'output-cap']

const LEDGERS = ['embedded', 'memory'] as const
const LEVELS = ['debug', 'info', 'warn', 'error'] as const
const FORMATS = ['text', 'json'] as const

/** Left: what was expected. */
type Parse<A> = (text: string) => Either<string, A>

class Reader {
  readonly #given: Given
  readonly faults: Fault[] = []

  constructor(given: Given) {
    this.#given = given
  }

  read<A, D>(flag: string, byDefault: D, parse: Parse<A>): A | D {
    const [text] = this.#texts(flag).slice(-1)
    return text === undefined ? byDefault : (this.#parse(flag, text, parse) ?? byDefault)
  }

  all<A>(flag: string, parse: Parse<A>): readonly A[] {
    return this.#texts(flag).flatMap((text) => {
      const value = this.#parse(flag, text, parse)
      return value === undefined ? [] : [value] // a pair must stay one
    })
  }

  #parse<A>(flag: string, text: string, parse: Parse<A>): A | undefined {
    const parsed = parse(text)
    if (E.isRight(parsed)) return parsed.right
    this.faults.push(`--${flag}: expected ${parsed.left}, got \`${text}\``)
    return undefined
  }

  #texts(flag: string): readonly string[] {
    const value = this.#given[flag]
    if (typeof value === 'string') return [value]
    return typeof value === 'object' ? value : []
  }
}

const parseRole: Parse<NodeOptions['role']> = (text) =>
  text === 'manager' || text === 'worker' || text === 'hub'
    ? E.right(text)
    : E.left('manager, worker or hub')

const parseName: Parse<HostName> = (text) =>
  HostName.is(text)
    ? E.right(text)
    : E.left('letters, digits, - and _, in labels joined by dots')

const parsePort: Parse<number> = (text) =>
  /^\d{1,5}$/.test(text) && Number(text) < 65_536
    ? E.right(Number(text))
    : E.left('a port from 0 to 65535')

/** `wss://host:port`, or `host:port` for short. */
const parseUrl: Parse<string> = (text) => {
  const url = /^[a-z]+:\/\//.test(text) ? text : `wss://${text}`
  return /^wss:\/\/(\[[0-9a-f:]+\]|[A-Za-z0-9.-]+):\d{1,5}\/?$/.test(url)
    ? E.right(url.replace(/\/$/, ''))
    : E.left('host:port or wss://host:port')
}

const parseCount: Parse<number> = (text) =>
  /^[1-9]\d{0,5}$/.test(text) ? E.right(Number(text)) : E.left('a whole number from 1')

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  K: 1024,
  M: 1024 ** 2,
  G: 1024 ** 3,
  T: 1024 ** 4,
}

const parseSize: Parse<number> = (text) => {
  const [, amount, unit = ''] = /^(\d{1,12})([KMGT]?)$/.exec(text) ?? []
  const bytes = Number(amount) * (UNITS[unit] ?? 1)
  return bytes >= 1 && Number.isSafeInteger(bytes)
    ? E.right(bytes)
    : E.left('a size as 512M or 8G')
}

const SPANS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

const parseTime: Parse<number> = (text) => {
  const [, amount, unit = ''] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) ?? []
  const ms = Number(amount) * (SPANS[unit] ?? 1)
  return Number.isSafeInteger(ms) ? E.right(ms) : E.left('a time as 500ms, 30s, 5m or 7d')
}

const parseManager: Parse<string> = (text) =>
  text === '*' || HostName.is(text) || NodeId.is(text)
    ? E.right(text)
    : E.left('the name or the id of a manager or a hub, or *')

const parsePath: Parse<string> = (text) =>
  text.startsWith('/') && !text.includes('\0')
    ? E.right(text)
    : E.left('an absolute path')

const parseUser: Parse<string> = (text) =>
  UserName.is(text) ? E.right(text) : E.left('the name of a user of this machine')

const parseYesNo: Parse<boolean> = (text) =>
  text === 'yes' || text === 'no' ? E.right(text === 'yes') : E.left('yes or no')

const parseLabel: Parse<readonly [string, string]> = (text) =>
  text.startsWith('issuer/')
    ? E.left(
        "a label of its own (issuer/… is the certificate's: manyhands invite --label)",
      )
    : parsePair(text)

const parsePair: Parse<readonly [string, string]> = (text) => {
  const [, name, value] = /^([A-Za-z0-9_.-]{1,63})=(.{0,255})$/.exec(text) ?? []
  return name === undefined || value === undefined
    ? E.left('key=value')
    : E.right([name, value])
}

const parseAmount: Parse<readonly [string, number]> = (text) => {
  const [, name, value] = /^([A-Za-z0-9_.-]{1,63})=(\d{1,12})$/.exec(text) ?? []
  return name === undefined || value === undefined
    ? E.left('name=amount')
    : E.right([name, Number(value)])
}

const wordOf =
  <W extends string>(words: readonly W[]): Parse<W> =>
  (text) => {
    const word = words.find((one) => one === text)
    return word === undefined ? E.left(words.join(', ')) : E.right(word)
  }

/** To which roles a node keeps a connection, dialling again when it is lost. */
export const KEEPS: Readonly<Record<NodeOptions['role'], readonly NodeType[]>> = {
  worker: ['manager', 'hub'],
  manager: [],
  hub: ['worker', 'manager'],
}
