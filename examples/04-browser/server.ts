// The protocol in a browser: gives out a page, and is the test endpoint that the page speaks
// to: a manager that has it add numbers. It is no node of a mesh: a node refuses every
// browser (a handshake with an `Origin`) and wants a certificate of the mesh.
//
//   npm run build && node dist/examples/04-browser/server.js
//
// prints:
//   open http://127.0.0.1:PORT
//   page: 1 + 2 = 3

import { createReadStream } from 'node:fs'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { WebSocketServer } from 'ws'
import { manage } from './manager.ts'

const page = new URL('../../../examples/04-browser/page/', import.meta.url)
const files: Readonly<Record<string, readonly [type: string, url: string | URL]>> = {
  '/': ['text/html', new URL('index.html', page)],
  '/worker.js': ['text/javascript', new URL('worker.js', import.meta.url)],
  '/protocol.js': ['text/javascript', import.meta.resolve('manyhands/protocol/browser')],
}

const server = createServer((request, response) => {
  const file = files[(request.url ?? '/').replace(/\?.*/, '')]
  if (file === undefined) {
    response.writeHead(404).end()
    return
  }
  const [type, url] = file
  response.setHeader('content-type', `${type}; charset=utf-8`)
  createReadStream(fileURLToPath(url)).pipe(response)
})
const sockets = new WebSocketServer({
  server,
  maxPayload: 1024 * 1024,
  perMessageDeflate: false,
  // Any page may open a WebSocket to loopback: only our own is heard.
  verifyClient: ({ origin }: { origin?: string }) => origin === address(),
  handleProtocols: (offered) => offered.has('manyhands.v1') && 'manyhands.v1',
})
sockets.on('connection', manage)

const address = (): string => {
  const at = server.address()
  return typeof at === 'object' && at !== null ? `http://127.0.0.1:${at.port}` : ''
}
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () =>
  console.log(`open ${address()}`),
)
