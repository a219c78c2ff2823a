// Is anybody listening there? The one question a manager asks about a worker that fell
// silent in good order: a refused connection means that its process is gone.

import { connect } from 'node:net'

/** A firewall that drops says nothing about the process; more waiting would not tell more. */
const LIMIT_MS = 1000

/** True only when the connection was refused. Never rejects. */
export const isRefused = (host: string, port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host, port })
    const settle = (isRefusal: boolean) => {
      socket.destroy()
      resolve(isRefusal)
    }
    socket.setTimeout(LIMIT_MS, () => settle(false))
    socket.on('connect', () => settle(false))
    socket.on('error', (error) =>
      settle('code' in error && error.code === 'ECONNREFUSED'),
    )
  })
