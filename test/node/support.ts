// A node in this process, with roles that only answer, for tests of the composition.

import * as E from 'fp-ts/lib/Either.js'
import type { Test } from 'tap'
import { type NodeSurroundings, type RunningNode, startNode } from '../../src/node.ts'
import type { PreparedRole, PrepareRole } from '../../src/node-role.ts'
import { DEFAULTS, type NodeOptions } from '../../src/options.ts'
import { echoRole, watched } from '../mesh/support.ts'

export type Echo = ReturnType<typeof echoRole> & { readonly calls: string[] }

/** Roles that answer pings and note what is asked of them. */
export const echoRoles = () => {
  const echoes: Echo[] = []
  const prepare: PrepareRole = async (): Promise<PreparedRole> => {
    const calls: string[] = []
    const echo = { ...echoRole(), calls }
    echoes.push(echo)
    return {
      introduction: {},
      about: 'an echo',
      begin: async () => ({
        ...echo.role,
        drain: async (graceMs) => void calls.push(`drain ${graceMs}`),
        close: async () => void calls.push('close'),
      }),
    }
  }
  return { echoes, prepare: { manager: prepare, worker: prepare, hub: prepare } }
}

/** Starts a node in `state` without mDNS; closed when the test ends. */
export const tryNode = async (
  t: Test,
  given: Partial<NodeOptions>,
  around: Partial<NodeSurroundings> = {},
) => {
  const printed = watched<string>()
  const logged = watched<string>()
  const { echoes, prepare } = echoRoles()
  const result = await startNode(
    { ...DEFAULTS, role: 'worker', mdns: false, ...given },
    {
      environment: { B0_HOST_ID: 'test' },
      version: '0.0.0',
      print: printed.add,
      writeLog: logged.add,
      prepare,
      ...around,
    },
  )
  if (E.isRight(result)) t.teardown(() => result.right.close())
  return { result, printed, logged, echo: echoes[0] }
}

/** As `tryNode`, for a node that must start. */
export const beginNode = async (
  t: Test,
  given: Partial<NodeOptions>,
  around: Partial<NodeSurroundings> = {},
) => {
  const { result, printed, logged, echo } = await tryNode(t, given, around)
  if (E.isLeft(result)) throw new Error(result.left.reason)
  if (echo === undefined) throw new Error('Expected an echo role')
  const node: RunningNode = result.right
  return { node, printed, logged, echo }
}
