// Inviting and taking out, for a client elsewhere, where the authority's key is. It must
// have the scope `admin` for every host: who has it can let anybody in, with any scope.

import { hostname } from 'node:os'
import * as E from 'fp-ts/lib/Either.js'
import type { Handlers, RequestOf, Respond } from '../../protocol/index.ts'
import { DEFAULT_SCOPES } from '../../protocol/scopes.ts'
import { isAuthorityHere } from '../identity/issue.ts'
import { membersOf } from '../identity/members.ts'
import { type OpenInvitation, openInvitation } from '../identity/open-invitation.ts'
import { revoke } from '../identity/revocations.ts'
import type { MeshState } from '../identity/state.ts'
import { isGrantable } from '../identity/subject.ts'
import type { Audit, Log, Peer } from '../ports.ts'
import type { MembershipMesh } from './ports.ts'

const MAX_OPEN = 16
const MAX_USES = 1000
const PAGE = 500

export interface InvitingOptions {
  readonly mesh: MembershipMesh
  readonly state: MeshState
  /** Where this node listens, and so do its invitations. */
  readonly listen: string
  readonly log: Log
  readonly audit: Audit
}

type Kinds = 'InviteCreate' | 'MembersList' | 'MembersRevoke'
interface No {
  readonly reason: string
  readonly message: string
}

export class Inviting {
  readonly #options: InvitingOptions
  readonly #open = new Set<OpenInvitation>()
  readonly handlers: Pick<Handlers<Peer>, Kinds>

  constructor(options: InvitingOptions) {
    this.#options = options
    this.handlers = {
      InviteCreate: (body, respond, from) =>
        this.#serve(respond, from, () => this.#invite(body, respond, from)),
      MembersList: (body, respond, from) =>
        this.#serve(respond, from, () => this.#list(body, respond)),
      MembersRevoke: (body, respond, from) =>
        this.#serve(respond, from, () => this.#revoke(body, respond, from)),
    }
  }

  /** Withdraws what is open. */
  async close(): Promise<void> {
    await Promise.all([...this.#open].map((invitation) => invitation.withdraw()))
  }

  /** What fails is said on both sides; a full disk is the issuer's matter. */
  #serve(
    respond: (kind: 'Refused', body: No) => void,
    from: Peer,
    act: () => Promise<void>,
  ): void {
    const no = this.#objection(from)
    if (no !== undefined) {
      respond('Refused', no)
      return
    }
    act().catch((error: unknown) => {
      const message = error instanceof Error ? error.message : String(error)
      this.#options.log.error('membership', { peer: from.hostName, error: message })
      respond('Refused', { reason: 'failed', message })
    })
  }

  #objection({ rights }: Peer): No | undefined {
    const { state } = this.#options
    if (!isAuthorityHere(state))
      return { reason: 'no-issuer', message: 'the key of the authority is not here' }
    if (rights?.get('admin') === 'anywhere') return undefined
    const message = 'this takes the scope admin for all hosts, without @'
    return { reason: 'forbidden', message }
  }

  async #invite(
    { role, name, uses, ttl_ms: ttlMs, scopes, labels }: RequestOf<'InviteCreate'>,
    respond: Respond<'InviteCreate'>,
    from: Peer,
  ): Promise<void> {
    const { state, listen, log, audit, mesh } = this.#options
    const grant = {
      scopes: scopes ?? [...DEFAULT_SCOPES],
      ...(labels && { labels }),
    }
    const no = this.#unfit(uses, grant)
    if (no !== undefined) return respond('Refused', no)
    const opened = await openInvitation({
      ...{ state, role, grant, listen, uses, ttlMs },
      hostName: name,
      otherManagers: managersBeside(mesh),
      onJoined: ({ hostName: peer, role: its, nodeId: node_id }) => {
        log.info('joined', { peer, role: its })
        audit.record('joined', { peer, role: its, node_id, invited_by: from.hostName })
      },
      onRefused: (address, reason, why) => {
        log.info('refused to let in', { from: address, reason, why })
        audit.record('refused', { from: address, reason, why })
      },
    })
    if (E.isLeft(opened)) {
      respond('Refused', { reason: 'failed', message: opened.left.reason })
      return
    }
    const { token, at, expiresMs: expires_ms } = opened.right
    this.#keep(opened.right)
    log.info('invited', { by: from.hostName, role, name, uses })
    respond('InviteCreated', { token, at: at.slice(0, 64), expires_ms })
  }

  #unfit(uses: number, grant: Parameters<typeof isGrantable>[0]): No | undefined {
    if (uses < 1 || uses > MAX_USES)
      return { reason: 'invalid', message: `an invitation has 1 to ${MAX_USES} uses` }
    if (!isGrantable(grant))
      return { reason: 'invalid', message: 'more than a certificate holds' }
    if (this.#open.size < MAX_OPEN) return undefined
    const message = `${MAX_OPEN} invitations are open at ${hostname()}; wait until one has ended`
    return { reason: 'busy', message }
  }

  #keep(invitation: OpenInvitation): void {
    this.#open.add(invitation)
    void invitation.ended.then((how) => {
      this.#open.delete(invitation)
      this.#options.log.info('an invitation ended', { how })
    })
  }

  async #list(
    { after }: RequestOf<'MembersList'>,
    respond: Respond<'MembersList'>,
  ): Promise<void> {
    const members = membersOf(this.#options.state)
    if (E.isLeft(members)) {
      respond('Refused', { reason: 'failed', message: members.left.reason })
      return
    }
    const page = members.right.slice(after, after + PAGE)
    const next = after + page.length
    respond('MembersListed', {
      members: page,
      ...(next < members.right.length && { next }),
    })
  }

  async #revoke(
    { names }: RequestOf<'MembersRevoke'>,
    respond: Respond<'MembersRevoke'>,
    from: Peer,
  ): Promise<void> {
    const { state, log } = this.#options
    const own = state.client.party.hostName.toLowerCase()
    const revoked: { host_name: string; role: Peer['role'] }[] = []
    const unknown: string[] = []
    for (const name of names) {
      const out = name.toLowerCase() === own ? E.right([]) : await revoke(state, name)
      if (E.isLeft(out)) {
        respond('Refused', { reason: 'failed', message: out.left.reason })
        return
      }
      if (out.right.length === 0) unknown.push(name)
      for (const { hostName: host_name, role } of out.right)
        revoked.push({ host_name, role })
    }
    log.info('took out of the mesh', { by: from.hostName, members: revoked.length })
    respond('MembersRevoked', { revoked, unknown })
  }
}

/** Managers of other machines that others can reach as this node does. */
const managersBeside = ({ peers }: MembershipMesh): readonly string[] =>
  peers.flatMap(({ role, address, remoteAddress }) =>
    role === 'manager' && address !== undefined && !remoteAddress.startsWith('127.')
      ? [address]
      : [],
  )
