// Yardstick: beanstalkd (Debian's package) with one producer that keeps 64 puts in flight
// and two consumer processes, each `reserve`, then `delete`, one job after the other.

import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'

const IN_FLIGHT = 64

/** A port that was free a moment ago. */
export const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo // a TCP server has no other kind
  server.close()
  await once(server, 'close')
  return port
}

/** Connects as soon as the server listens. */
export const connectWhenUp = async (port: number): Promise<Socket> => {
  for (let tries = 0; ; tries += 1) {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    try {
      await once(socket, 'connect')
      return socket
    } catch (error) {
      if (tries === 100) throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

const lines = (socket: Socket, onLine: (line: string) => void): void => {
  let rest = ''
  socket.setEncoding('latin1')
  socket.on('data', (chunk: string) => {
    rest += chunk
    for (let end = rest.indexOf('\r\n'); end >= 0; end = rest.indexOf('\r\n')) {
      onLine(rest.slice(0, end))
      rest = rest.slice(end + 2)
    }
  })
}

const consume = async (port: number): Promise<void> => {
  const socket = await connectWhenUp(port)
  // Told every few milliseconds, so that telling costs the consumer nothing.
  let untold = 0
  const tell = (): void => {
    process.send?.(untold)
    untold = 0
  }
  lines(socket, (line) => {
    if (line.startsWith('RESERVED')) {
      socket.write(`delete ${line.split(' ')[1]}\r\n`)
    } else if (line === 'DELETED') {
      if (untold === 0) setTimeout(tell, 5)
      untold += 1
      socket.write('reserve\r\n')
    }
  })
  socket.write('reserve\r\n')
  process.send?.(0)
}

const produce = (socket: Socket, jobs: number): void => {
  let sent = 0
  const put = (): void => {
    if (sent === jobs) return
    sent += 1
    socket.write('put 0 0 60 4\r\nnoop\r\n')
  }
  lines(socket, put)
  socket.cork()
  for (let places = 0; places < IN_FLIGHT; places += 1) put()
  socket.uncork()
}

/** Jobs per second from the first put to the last delete. */
export const beanstalkdRate = async (jobs: number): Promise<number> => {
  const port = await freePort()
  const server = spawn('beanstalkd', ['-l', '127.0.0.1', '-p', String(port)], {
    stdio: 'ignore',
  })
  await once(server, 'spawn')
  const socket = await connectWhenUp(port)
  const consumers = [0, 1].map(() => fork(fileURLToPath(import.meta.url), [String(port)]))
  try {
    await Promise.all(consumers.map((consumer) => once(consumer, 'message')))
    let open = jobs
    const finished = new Promise<void>((resolve) => {
      for (const consumer of consumers)
        consumer.on('message', (done: number) => {
          open -= done
          if (open === 0) resolve()
        })
    })
    const start = performance.now()
    produce(socket, jobs)
    await finished
    return jobs / ((performance.now() - start) / 1000)
  } finally {
    for (const consumer of consumers) consumer.kill()
    socket.destroy()
    server.kill()
    await once(server, 'exit')
  }
}

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url))
  await consume(Number(process.argv[2]))
