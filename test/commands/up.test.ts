// up: interrupted at its start it takes back what it had begun.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, watch } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const binary = fileURLToPath(new URL('../../manyhands.js', import.meta.url))

/** The processes whose command line names the directory (Linux). */
const processesOf = (directory: string): readonly string[] =>
  readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`).includes(directory)
    } catch {
      return false // it has just ended
    }
  })

const skip = !existsSync('/proc/self/cmdline') && 'no /proc to count processes in'

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)
  t.test(`${signal} while nodes start leaves no process`, { skip }, async (t) => {
    const state = t.testdir({ logs: {} })
    const up = spawn(process.execPath, [binary, 'up', '--state', state])
    const closed = once(up, 'close')
    t.teardown(() => up.kill('SIGKILL'))
    const logs = watch(join(state, 'logs'))
    t.teardown(() => logs.close())
    await once(logs, 'change') // the manager's log is opened before its process is started
    up.kill(signal)
    t.equal((await closed)[0], code)
    t.same(processesOf(state), [])
    t.notOk(existsSync(join(state, 'up.lock')))
  })
