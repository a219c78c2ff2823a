// Headless Chromium, as far as a test of a page needs it: open a page, evaluate in it, wait
// until something in it is true. It is driven through two pipes (--remote-debugging-pipe:
// JSON, a zero byte after each message), so it opens no port and dies with its end of them.
//
// Not a library for this: the few commands below are all that is used, and a driver would
// weigh more than the rest of what `npm ci` brings.

import { type ChildProcess, spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { existsSync } from 'node:fs'
import type { Readable, Writable } from 'node:stream'

const PLACES = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
]

/** The browser of this machine, or why a test that needs one is skipped. */
export const chromium: { readonly path: string } | { readonly missing: string } = (() => {
  const path = PLACES.find((place) => existsSync(place))
  if (path !== undefined) return { path }
  return { missing: 'Chromium is not installed: scripts/install-test-browser.sh' }
})()

const flags = (profile: string): readonly string[] => [
  '--headless',
  // Its sandbox does not work as root, as continuous integration often runs.
  ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
  '--disable-gpu',
  '--disable-quic',
  '--disable-dev-shm-usage',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
  `--user-data-dir=${profile}`,
  '--remote-debugging-pipe',
]

/** What the commands used here give; each only some of it. */
interface Result {
  readonly targetId?: string
  readonly sessionId?: string
  readonly loaderId?: string
  readonly result?: { readonly value?: unknown }
  readonly exceptionDetails?: unknown
  readonly data?: string
}

interface Reply {
  readonly id?: number
  readonly method?: string
  readonly params?: { readonly name?: string; readonly loaderId?: string }
  readonly result?: Result
  readonly error?: { readonly message: string }
}

export interface Page {
  /** The value of an expression in the page, as JSON can carry it; promises are awaited. */
  evaluate(expression: string): Promise<unknown>
  /** Waits until an expression is true, which is looked at after each change of the page. */
  until(expression: string): Promise<void>
  /** A PNG of what the page shows. */
  screenshot(): Promise<Buffer>
}

export class Chromium {
  readonly #process: ChildProcess
  readonly #input: Writable
  readonly #pending = new Map<number, (reply: Reply) => void>()
  readonly #loads = new EventEmitter()
  readonly #loadedIds = new Set<string>()
  readonly #exited: Promise<void>
  #received = ''
  #lastId = 0

  constructor(path: string, profile: string) {
    const stdio = ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] as const
    this.#process = spawn(path, flags(profile), { stdio: [...stdio] })
    // Descriptors 3 and 4, as asked for just above.
    this.#input = this.#process.stdio[3] as Writable
    const output = this.#process.stdio[4] as Readable
    output.setEncoding('utf8').on('data', (text: string) => this.#take(text))
    this.#input.on('error', () => {})
    this.#exited = new Promise((resolve) => {
      const ended = () => {
        for (const settle of this.#pending.values())
          settle({ error: { message: 'Chromium has ended' } })
        resolve()
      }
      this.#process.on('error', ended).on('close', ended)
    })
  }

  /** Opens a page, and gives it when it has loaded. */
  async open(url: string): Promise<Page> {
    const blank = { url: 'about:blank' }
    const { targetId } = await this.#command('Target.createTarget', blank)
    const attached = { targetId, flatten: true }
    const { sessionId } = await this.#command('Target.attachToTarget', attached)
    const inPage = (method: string, parameters: object) =>
      this.#command(method, parameters, sessionId)
    const evaluate = async (expression: string): Promise<unknown> => {
      const how = { expression, awaitPromise: true, returnByValue: true }
      const { result, exceptionDetails } = await inPage('Runtime.evaluate', how)
      if (exceptionDetails !== undefined)
        throw new Error(JSON.stringify(exceptionDetails))
      return result?.value
    }
    await inPage('Page.enable', {})
    await inPage('Page.setLifecycleEventsEnabled', { enabled: true })
    await this.#loaded((await inPage('Page.navigate', { url })).loaderId ?? '')
    return {
      evaluate,
      until: async (expression) => {
        await evaluate(`new Promise((resolve) => {
          const look = () => { if (${expression}) { watch.disconnect(); resolve() } }
          const watch = new MutationObserver(look)
          watch.observe(document, { subtree: true, childList: true, characterData: true })
          look()
        })`)
      },
      screenshot: async () => {
        const { data } = await inPage('Page.captureScreenshot', {})
        return Buffer.from(data ?? '', 'base64')
      },
    }
  }

  async close(): Promise<void> {
    this.#command('Browser.close', {}).catch(() => {})
    await this.#exited
  }

  async #command(method: string, params: object, sessionId?: string): Promise<Result> {
    const id = ++this.#lastId
    const replied = new Promise<Reply>((resolve) => this.#pending.set(id, resolve))
    const message = { id, method, params, ...(sessionId && { sessionId }) }
    this.#input.write(`${JSON.stringify(message)}\0`)
    const { error, result } = await replied
    if (error !== undefined) throw new Error(`${method}: ${error.message}`)
    return result ?? {}
  }

  #load(loaderId: string): void {
    this.#loadedIds.add(loaderId)
    this.#loads.emit(loaderId)
  }

  async #loaded(loaderId: string): Promise<void> {
    if (!this.#loadedIds.has(loaderId)) await once(this.#loads, loaderId)
  }

  #take(text: string): void {
    const messages = (this.#received + text).split('\0')
    this.#received = messages.pop() ?? ''
    for (const message of messages) {
      const reply = JSON.parse(message) as Reply
      if (reply.method === 'Page.lifecycleEvent' && reply.params?.name === 'load')
        this.#load(reply.params.loaderId ?? '')
      if (reply.id === undefined) continue
      this.#pending.get(reply.id)?.(reply)
      this.#pending.delete(reply.id)
    }
  }
}
