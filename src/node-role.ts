// What the composition root asks of a role, whichever it is: the parts that it is given,
// and how it is begun, drained and closed.

import type { Introduction, Respond } from '../protocol/index.ts'
import type { Role } from './mesh/mesh.ts'
import type { NodeOptions } from './options.ts'
import type { Audit, Clock, Log, Mesh, Random } from './ports.ts'
import type { HostAsk } from './roles/host-requests.ts'
import type { Hub } from './roles/hub.ts'

/** What every role is made from, besides the mesh. */
export interface RoleParts {
  readonly options: NodeOptions
  readonly self: Introduction
  /** The labels of its certificate. */
  readonly issued?: Readonly<Record<string, string>>
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly audit: Audit
  /** A directory of this node's own, private. */
  readonly directory: string
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Asks this node itself, as a hub asks another. */
  readonly answerHere: (ask: HostAsk, respond: Respond<'HostRequest'>) => void
  /** The node cannot go on; a sentence says why. */
  readonly fail: (reason: string) => void
}

/** Thrown where a role cannot start for a reason that its user can mend: the message is it, with the remedy. */
export class CannotStart extends Error {
  override readonly name = 'CannotStart'
}

/** A role at work. */
export interface NodeRole extends Role {
  /** A hub's: the way to every other node. */
  readonly hub?: Pick<Hub, 'forward' | 'lists' | 'events'>
  /** Takes no new work and waits up to `graceMs` for tasks that run; processes are stopped. */
  drain?(graceMs: number): Promise<void>
  /** Ends it, and the processes it started. Its connections are closed afterwards. */
  close(): Promise<void>
}

/** A role whose parts are ready, before it has a mesh. */
export interface PreparedRole {
  /** What the introduction says of it besides the node's identity. */
  readonly introduction: Partial<Introduction>
  /** Names of optional kinds that it serves (the introduction's `features`). */
  readonly features?: readonly string[]
  /** A line about what it brings, for the start's lines. */
  readonly about: string
  /** `address` tells where the node listens, once it does; '' before. */
  begin(mesh: Mesh, address: () => string): Promise<NodeRole>
}

export type PrepareRole = (parts: RoleParts) => Promise<PreparedRole>
