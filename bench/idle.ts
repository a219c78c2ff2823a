// What a node costs that has nothing to do, over half a minute. Not what it costs to have
// been started: some 8 s after the last work V8 collects what the start left (about 100 ms
// once, which would be 0.3 % of the half minute), so the first 20 s are not counted.

import { setTimeout as pause } from 'node:timers/promises'
import { cpuMs, residentBytes, startMesh } from './support/mesh.ts'
import { report } from './support/report.ts'

const SPAN_MS = 30_000
const SETTLE_MS = 20_000

const mesh = await startMesh()
try {
  const nodes = await mesh.nodes()
  await pause(SETTLE_MS)
  const before = await Promise.all(nodes.map(({ pid }) => cpuMs(pid)))
  await pause(SPAN_MS)
  for (const [at, { host_name, pid }] of nodes.entries()) {
    const used = (await cpuMs(pid)) - (before[at] ?? 0)
    report({
      what: `processor share of an idle node, ${host_name}`,
      value: (used / SPAN_MS) * 100,
      unit: '%',
      goal: ['<=', 0.2],
    })
    report({
      what: `resident memory of its main process, ${host_name}`,
      value: (await residentBytes(pid)) / 2 ** 20,
      unit: 'MiB',
      goal: ['<=', 80],
    })
  }
} finally {
  await mesh.close()
}
