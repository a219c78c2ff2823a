// Target: where the implementation listens, and what makes this kit a member of its mesh.

import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

export interface Target {
  readonly host: string
  readonly port: number
  readonly meshId: string
  readonly secret: Uint8Array
}

/** The mesh of a state directory, read as manyhands.json describes it. */
export const readMesh = (directory: string): Pick<Target, 'meshId' | 'secret'> => {
  const { mesh_id: meshId } = JSON.parse(
    readFileSync(join(directory, 'mesh', 'mesh.json'), 'utf8'),
  )
  return { meshId, secret: readFileSync(join(directory, 'mesh', 'secret')) }
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
  const [, host, port] = /^(?:ws:\/\/)?\[?([^/]*?)\]?:(\d{1,5})\/?$/.exec(text) ?? []
  if (host === undefined || port === undefined)
    throw new TypeError(`Expected HOST:PORT, got \`${text}\``)
  return { host, port: Number(port) }
}
