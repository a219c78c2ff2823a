// Issuer: what an administrator asks of the node with the authority's key, on a connection
// to that very node: nobody passes on who is let into a mesh.

import type { Either } from 'fp-ts/lib/Either.js'
import * as E from 'fp-ts/lib/Either.js'
import type {
  AnswerBodyOf,
  Kind,
  MemberInfo,
  NodeInfo,
  RequestOf,
} from '../../protocol/index.ts'
import { ClientError, type ClientFailure } from './failures.ts'
import type { DialUrl } from './host.ts'
import { type Answered, Link, type LinkConnection } from './link.ts'

export type Invited = AnswerBodyOf<'InviteCreate', 'InviteCreated'>
export type Revoked = AnswerBodyOf<'MembersRevoke', 'MembersRevoked'>

export class Issuer {
  readonly hostName: string
  readonly #link: Link

  constructor(hostName: string, link: Link) {
    this.hostName = hostName
    this.#link = link
  }

  /** Opens an invitation there. Rejects with `rejected`. */
  async invite(invitation: RequestOf<'InviteCreate'>): Promise<Invited> {
    const answer = await this.#link.ask('InviteCreate', invitation)
    if (answer.kind === 'Refused') throw rejected('InviteCreate', answer.body)
    return answer.body
  }

  /** Who was let in, and who was taken out. */
  async members(): Promise<readonly MemberInfo[]> {
    const members: MemberInfo[] = []
    let after: number | undefined = 0
    do {
      const answer: Answered<'MembersList'> = await this.#link.ask('MembersList', {
        after,
      })
      if (answer.kind === 'Refused') throw rejected('MembersList', answer.body)
      members.push(...answer.body.members)
      after = answer.body.next
    } while (after !== undefined)
    return members
  }

  /** Takes members out; the nodes of the mesh hear of it then. */
  async revoke(names: readonly string[]): Promise<Revoked> {
    const answer = await this.#link.ask('MembersRevoke', { names: [...names] })
    if (answer.kind === 'Refused') throw rejected('MembersRevoke', answer.body)
    return answer.body
  }

  close(): Promise<void> {
    return this.#link.close()
  }
}

const rejected = (
  exchange: Kind,
  { reason: code, message }: { readonly reason: string; readonly message: string },
): ClientError => new ClientError({ kind: 'rejected', exchange, code, message })

/** Finds the node that has the key among those that the manager knows, and connects. */
export const openIssuer = async (
  nodes: () => Promise<readonly NodeInfo[]>,
  dial: DialUrl,
): Promise<Issuer> => {
  const dialIssuer = async (
    signal?: AbortSignal,
  ): Promise<Either<ClientFailure, LinkConnection>> => {
    const able = (await nodes()).filter(({ features }) => features?.includes('issuer'))
    if (able.length === 0) return E.left(noIssuer)
    let failure: ClientFailure = noIssuer
    for (const { address, host_name: host } of able) {
      const reason = 'nobody can connect to it; start it with --listen'
      const dialled =
        address === undefined
          ? E.left<ClientFailure>({ kind: 'unreachable', host, reason })
          : await dial(address, signal)
      if (E.isRight(dialled)) return dialled
      failure = dialled.left
    }
    return E.left(failure)
  }
  const first = await dialIssuer()
  if (E.isLeft(first)) throw new ClientError(first.left)
  return new Issuer(first.right.peer.hostName, new Link(first.right, dialIssuer))
}

const noIssuer: ClientFailure = {
  kind: 'not-found',
  what: "node with the key of the mesh's authority; start one where the mesh was made, or type this there",
  list: 'manyhands nodes',
}
