// The hub of a node, made from its parts. Loaded only where a hub is started.

import { openPrograms, type Programs } from './node-programs.ts'
import type { PrepareRole } from './node-role.ts'
import { Hub } from './roles/hub.ts'

export const prepareHub: PrepareRole = async (parts) => {
  const { clock, log, audit, options, self } = parts
  const isServing = options.processes ?? false
  return {
    introduction: {},
    features: isServing ? ['processes'] : [],
    about: 'every node of its mesh within reach of one',
    begin: async (mesh, address) => {
      const { node_id, boot_id, host_name, features, pid, version } = self
      const hub = new Hub({
        ...{ clock, mesh, log, audit },
        answerHere: parts.answerHere,
        self: {
          ...{ node_id, boot_id, host_name, features },
          ...(pid === undefined ? {} : { pid }),
          ...(version === undefined ? {} : { version }),
          // Known only once the node listens; read anew at each use.
          get address() {
            return address()
          },
        },
      })
      const programs: Programs | undefined = isServing
        ? openPrograms(parts, mesh, { isServing, tell: (news) => hub.events.tell(news) })
        : undefined
      return {
        handlers: { ...programs?.processes?.handlers, ...hub.handlers },
        hub,
        peerConnected: (peer) => hub.peerConnected(peer),
        peerLost: (peer, how) => hub.peerLost(peer, how),
        ...(programs !== undefined && {
          drain: async () => {
            await programs.processes?.drain()
          },
        }),
        close: async () => {
          hub.close()
          await programs?.close()
        },
      }
    },
  }
}
