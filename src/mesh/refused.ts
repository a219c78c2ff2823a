// Is anybody listening there? The one question a manager asks about a worker that fell
// silent in good order: a refused connection means that its process is gone.

import { connect } from 'node:net'

/** A firewall that drops says nothing about the process; more waiting would not tell more. */
const LIMIT_MS = 1000

/** Tells once; true only when the connection was refused. */
export const isRefused = (
  host: string,
  port: number,
  settle: (isRefused: boolean) => void,
): void => {
  const socket = connect({ host, port })
  let isTold = false
  const tell = (isRefusal: boolean) => {
    if (isTold) return
    isTold = true
    socket.destroy()
    settle(isRefusal)
  }
  socket.setTimeout(LIMIT_MS, () => tell(false))
  socket.on('connect', () => tell(false))
  socket.on('error', (error) => tell('code' in error && error.code === 'ECONNREFUSED'))
}
