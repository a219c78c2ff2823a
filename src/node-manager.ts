// The manager of a node, made from its parts. Loaded only where a manager is started.

import type { PrepareRole } from './node-role.ts'

export const prepareManager: PrepareRole = async () => ({
  introduction: {},
  about: 'tasks in memory',
  begin: () => ({
    handlers: {},
    peerConnected: () => undefined,
    peerLost: () => undefined,
    close: async () => undefined,
  }),
})
