// Doctor: looks at everything that a node needs, and says of each whether it is well.

import type { Finding } from './finding.ts'
import { checkDescriptors, checkNode, checkPrograms, readLimits } from './machine.ts'
import { checkState } from './membership.ts'
import { checkMulticast, checkNodes } from './network.ts'

export type { Finding } from './finding.ts'

/** In the order in which a node meets them. */
export const examine = async (directory: string): Promise<readonly Finding[]> => {
  const { state, findings } = checkState(directory, Date.now())
  const [multicast, nodes] = await Promise.all([
    checkMulticast(),
    state === undefined ? [] : checkNodes(directory),
  ])
  return [
    checkNode(process.versions.node),
    checkDescriptors(readLimits()),
    ...checkPrograms(),
    ...findings,
    multicast,
    ...nodes,
  ]
}
