// Target: where the implementation listens, and what makes this kit members of its mesh.

import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { hashOf } from './members.ts'

/** A mesh, with the key that makes members of it. */
export interface Mesh {
  readonly meshId: string
  /** The authority's certificate, as PEM. */
  readonly authority: string
  readonly authorityKey: KeyObject
  /** Of the nodes in the state directory, by node id. */
  readonly keys: ReadonlyMap<string, KeyObject>
}

export interface Target {
  readonly host: string
  readonly port: number
  readonly mesh: Mesh
}

/** The mesh of a state directory, read as protocol/README.md describes it. */
export const readMesh = (directory: string): Mesh => {
  const read = (...names: string[]) => readFileSync(join(directory, ...names), 'utf8')
  const authorityKey = createPrivateKey(read('mesh', 'ca.key'))
  const nodes = join(directory, 'nodes')
  const keys = (existsSync(nodes) ? readdirSync(nodes) : []).flatMap((slot) => {
    const path = join(nodes, slot, 'identity', 'key.pem')
    if (!existsSync(path)) return []
    const key = createPrivateKey(readFileSync(path))
    return [[hashOf(createPublicKey(key), 32), key] as const]
  })
  return {
    meshId: hashOf(createPublicKey(authorityKey), 20),
    authority: read('mesh', 'ca.pem'),
    authorityKey,
    keys: new Map(keys),
  }
}

/** Where a mesh is when nobody says so. */
export const defaultDirectory = ({
  XDG_STATE_HOME: base = '',
}: NodeJS.ProcessEnv): string =>
  base.startsWith('/')
    ? join(base, 'manyhands')
    : join(homedir(), '.local', 'state', 'manyhands')

/** HOST:PORT, also as a URL. */
export const parseAddress = (text: string): Pick<Target, 'host' | 'port'> => {
  const [, host, port] = /^(?:wss:\/\/)?\[?([^/]*?)\]?:(\d{1,5})\/?$/.exec(text) ?? []
  if (host === undefined || port === undefined)
    throw new TypeError(`Expected HOST:PORT, got \`${text}\``)
  return { host, port: Number(port) }
}
