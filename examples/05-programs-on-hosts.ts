// Programs on hosts by their name, through a hub: one that stays until it is stopped, one on
// every host at once, and what happened meanwhile.
//
//   npm run build && node dist/examples/05-programs-on-hosts.js
//
// prints:
//   the server on lab is ready
//   lab exited 0: hello from lab
//   lab-2 exited 0: hello from lab-2
//   the server was ended by SIGINT
//   its events: process-started, process-ready, process-ended

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { connect, execOn } from 'manyhands'

const binary = fileURLToPath(new URL('../manyhands.js', import.meta.url))
const manyhands = (...args: string[]) =>
  promisify(execFile)(process.execPath, [binary, ...args])
Object.assign(process.env, { B0_HOST_ID: 'lab' }) // else they are named as the machine
await manyhands('up', '--hub')

await using client = await connect()
const names: string[] = []
const watching = (async () => {
  for await (const { host_name, process_id, name } of client.events())
    if (host_name === 'lab' && process_id === 'p1') {
      names.push(name)
      if (name === 'process-ended') return
    }
})()

const host = await client.host('lab')
const script = 'echo listening; exec sleep 1000'
const spec = { path: 'sh', args: ['-c', script], ready: { log: 'listening' } }
const { processId } = await host.start(spec)
await host.wait(processId, 'ready')
console.log(`the server on ${host.hostName} is ready`)

const hosts = ['lab', 'lab-2'].map((name) => ({
  hostName: name,
  open: () => client.host(name),
}))
const hello = { path: 'sh', args: ['-c', 'echo "hello from $MANYHANDS_HOST_NAME"'] }
const lines: string[] = []
await execOn(hosts, hello, { deadlineMs: 10_000 }, ({ hostName, exitCode, stdout }) =>
  lines.push(`${hostName} exited ${exitCode}: ${Buffer.from(stdout).toString().trim()}`),
)
console.log(lines.sort().join('\n'))

await host.stop(processId)
const { signal } = await host.wait(processId)
console.log(`the server was ended by ${signal}`)
await watching
console.log(`its events: ${names.join(', ')}`)
await manyhands('down')
