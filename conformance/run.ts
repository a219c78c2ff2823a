// Run: all cases against one implementation. Those that stand alone go side by side; those
// that need a worker's one relationship one after the other, at the same time.

import type { Case } from './case.ts'
import { cases as all } from './cases/index.ts'
import { Skip, Stage } from './stage.ts'
import type { Target } from './target.ts'
import { Watch, type Watched } from './watch.ts'

export interface Result {
  readonly name: string
  readonly rule: string
  readonly verdict: 'pass' | 'fail' | 'skip'
  /** What was seen instead, or why it was not tried. */
  readonly reason?: string
  readonly ms: number
}

export interface RunOptions {
  readonly target: Target
  readonly role: 'worker' | 'manager'
  /** Only cases whose name contains one of these. */
  readonly only?: readonly string[]
  readonly patienceMs?: number
  /** Called as each is over. */
  readonly onResult?: (result: Result) => void
}

/** How many of those that stand alone go at a time. */
const AT_A_TIME = 12

/** Judged at the end, over everything that was seen. */
export const watched: readonly {
  readonly name: string
  readonly rule: string
  readonly watched: Watched
}[] = [
  {
    name: 'watch: its frames are frames',
    rule: 'A frame is one MessagePack map, of exactly one of two forms',
    watched: 'frames',
  },
  {
    name: 'watch: its ids grow',
    rule: 'ids grow, one counter per direction, given when the request is written',
    watched: 'ids',
  },
  {
    name: 'watch: it answers once',
    rule: 'every request gets exactly one answer',
    watched: 'answers',
  },
  {
    name: 'watch: its answers are of the row',
    rule: "an answer of a kind that its request's row does not list",
    watched: 'rows',
  },
  {
    name: 'watch: its bodies fit their schemas',
    rule: 'a body that its row does not allow',
    watched: 'schemas',
  },
]

export const run = async (options: RunOptions): Promise<readonly Result[]> => {
  const { target, role, only, patienceMs = 5000, onResult } = options
  const watch = new Watch()
  const results: Result[] = []
  const note = (result: Result) => {
    results.push(result)
    onResult?.(result)
  }
  const isWanted = ({ name }: { readonly name: string }) =>
    only === undefined || only.some((word) => name.includes(word))
  const cases = all.filter((one) => one.role === role || one.role === 'any')
  const wanted = cases.filter(isWanted)
  const judge = async (one: Case) => {
    const stage = new Stage(target, patienceMs, watch)
    note(await runCase(one, stage))
  }
  // The slow ones first, so that the run is over when they are.
  const together = wanted.filter(({ isAlone }) => isAlone !== true)
  const alone = wanted.filter(({ isAlone }) => isAlone === true)
  await Promise.all([inTurn(alone, judge), ...lanes(together, judge)])
  for (const { name, rule, watched: what } of watched.filter(isWanted)) {
    const [...seen] = watch.against(what)
    if (seen.length === 0) note({ name, rule, verdict: 'pass', ms: 0 })
    else note({ name, rule, verdict: 'fail', reason: seen.slice(0, 5).join('; '), ms: 0 })
  }
  return results
}

const inTurn = async (
  cases: readonly Case[],
  judge: (one: Case) => Promise<void>,
): Promise<void> => {
  for (const one of cases) await judge(one)
}

/** Several at a time, each taking the next. */
const lanes = (
  cases: readonly Case[],
  judge: (one: Case) => Promise<void>,
): readonly Promise<void>[] => {
  const left = [...cases]
  const lane = async () => {
    for (let one = left.shift(); one; one = left.shift()) await judge(one)
  }
  return Array.from({ length: AT_A_TIME }, lane)
}

const runCase = async ({ name, rule, run }: Case, stage: Stage): Promise<Result> => {
  const begun = performance.now()
  const result = (verdict: Result['verdict'], reason?: string): Result => {
    const ms = Math.round(performance.now() - begun)
    return { name, rule, verdict, ms, ...(reason !== undefined && { reason }) }
  }
  try {
    await run(stage)
    return result('pass')
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return result(error instanceof Skip ? 'skip' : 'fail', reason)
  } finally {
    await stage.close()
  }
}
