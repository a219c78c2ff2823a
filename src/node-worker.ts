// The worker of a node, made from its parts. Loaded only where a worker is started.

import type { PrepareRole } from './node-role.ts'

export const prepareWorker: PrepareRole = async () => ({
  introduction: {},
  about: 'nothing yet',
  begin: () => ({
    handlers: {},
    peerConnected: () => undefined,
    peerLost: () => undefined,
    close: async () => undefined,
  }),
})
