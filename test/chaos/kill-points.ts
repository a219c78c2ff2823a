// Points at which a node may die: just before and just after what must not come undone. Each
// is planted into a copy of the compiled code, and killed at when a file names it.

import { type Edit, edit, type Planted } from '../support/plant.ts'

export interface KillPoint {
  readonly name: string
  readonly of: 'manager' | 'worker'
  /** It dies when it comes here so many times after it was told to. */
  readonly times: number
  /** How often the task's program is then started in all. */
  readonly starts: readonly number[]
}

/** The compiled text that asks whether to die here. */
const at = (point: string): string => `globalThis.killAt?.('${point}');`
/** The same, when what was just said has left. */
const soon = (point: string): string => `globalThis.killSoon?.('${point}');`

/** The first commit records the submission, the second the hand-out, the third the outcome. */
const COMMITS = [1, 2, 3]

const manager = (name: string, times = 1): KillPoint => ({
  ...{ name, times },
  of: 'manager',
  // Its workers go on: nothing runs again because of it.
  starts: [1],
})
const worker = (name: string, ...starts: readonly number[]): KillPoint => ({
  ...{ name, starts },
  of: 'worker',
  times: 1,
})

export const killPoints: readonly KillPoint[] = [
  ...COMMITS.map((times) => manager('before a commit', times)),
  ...COMMITS.map((times) => manager('written, not flushed', times)),
  ...COMMITS.map((times) => manager('flushed, not told', times)),
  manager('before the ids are answered'),
  manager('after the ids are answered'),
  manager('before a task leaves'),
  manager('after a task has left'),
  manager('before an outcome is acknowledged'),
  manager('after an outcome is acknowledged'),
  worker('before an acceptance is written', 1),
  worker('after an acceptance is written', 1),
  // It starts the task at once: which comes first is open.
  worker('after an acceptance is told', 1, 2),
  worker('before a start is written', 1),
  worker('after a start is written', 1),
  worker('after a program is started', 2),
  worker('after a program has ended', 2),
  worker('after an outcome is written', 1),
  worker('after an outcome was acknowledged', 1),
]

/** What the planted code asks: is that point named in the file, for the so-manieth time? */
const KILLING = `
import { readFileSync as readKillFile } from 'node:fs';
let killText = '';
let killHits = 0;
const isPoint = (point) => {
    let text = '';
    try { text = readKillFile(process.env.KILL_FILE ?? '', 'utf8'); } catch { return false; }
    if (text !== killText) { killText = text; killHits = 0; }
    const [name, times] = text.split('\\n');
    if (name !== point) return false;
    killHits += 1;
    return killHits === Number(times);
};
const kill = () => process.kill(process.pid, 'SIGKILL');
globalThis.killAt = (point) => { if (isPoint(point)) kill(); };
globalThis.killSoon = (point) => { if (isPoint(point)) setTimeout(kill, 5); };
`

const edits: readonly Edit[] = [
  edit('cli', 'const argv = ', `${KILLING}const argv = `),
  edit(
    'ledger/embedded',
    'const batch = this.#batchOf(changes);',
    `${at('before a commit')} const batch = this.#batchOf(changes);`,
  ),
  edit(
    'ledger/embedded',
    'forgetting.write();\n            });',
    `forgetting.write(); ${at('written, not flushed')}\n            });`,
  ),
  edit(
    'ledger/embedded',
    'this.#take(batch);',
    `${at('flushed, not told')} this.#take(batch);`,
  ),
  edit(
    'roles/manager-clients',
    "for (const respond of waiting)\n            respond('TasksSubmitted', this.#ids(submission));",
    `${at('before the ids are answered')} for (const respond of waiting)
            respond('TasksSubmitted', this.#ids(submission)); ${soon('after the ids are answered')}`,
  ),
  edit(
    'roles/manager-asks',
    "this.#ask(worker, 'TasksExecute'",
    `${at('before a task leaves')} ${soon('after a task has left')} this.#ask(worker, 'TasksExecute'`,
  ),
  edit(
    'roles/manager',
    "(effect) => acked(effect, () => respond('Ack', {})));\n        },\n        TaskError",
    `(effect) => acked(effect, () => { ${at('before an outcome is acknowledged')}
                respond('Ack', {}); ${soon('after an outcome is acknowledged')} }));\n        },\n        TaskError`,
  ),
  edit(
    'roles/worker-orders',
    'this.#ports.outbox.sync((isDurable) => {\n            if',
    `${at('before an acceptance is written')} this.#ports.outbox.sync((isDurable) => {\n            if`,
  ),
  edit(
    'roles/worker-orders',
    "if (refused.length === 0)\n                respond('Ack', {});",
    `${at('after an acceptance is written')} if (refused.length === 0) {
                respond('Ack', {}); ${soon('after an acceptance is told')} }`,
  ),
  edit(
    'roles/worker-effects',
    'outbox.removePending(taskId);',
    `${at('before a start is written')} outbox.removePending(taskId);`,
  ),
  edit(
    'roles/worker-effects',
    "this.apply({ kind: 'go'",
    `${at('after a start is written')} this.apply({ kind: 'go'`,
  ),
  edit(
    'roles/worker-runs',
    'const events = { started, ended: (end) => this.#ended(slot, end) };',
    `const events = {
            started: (pid) => { started(pid); ${at('after a program is started')} },
            ended: (end) => { ${at('after a program has ended')} this.#ended(slot, end); },
        };`,
  ),
  edit(
    'roles/worker-delivery',
    'this.#makeReady(parcel);\n                this.#pump();\n                return;',
    `${at('after an outcome is written')} this.#makeReady(parcel);\n                this.#pump();\n                return;`,
  ),
  edit(
    'roles/worker-delivery',
    'this.#ports.acked(taskId, attempt);',
    `${at('after an outcome was acknowledged')} this.#ports.acked(taskId, attempt);`,
  ),
]

/** The program that dies where it is told to. */
export const mortal: Planted = { name: 'kill points', edits }
