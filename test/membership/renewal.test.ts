// Renewal: certificates of a few seconds, in nodes that run on, and in those that did not.

import * as E from 'fp-ts/lib/Either.js'
import t, { type Test } from 'tap'
import { beginNode, tryNode } from '../node/support.ts'
import { certifyNode, issueTo, makeMesh } from './support.ts'

/** Due after a third of it: its beginning lies as far back as its end is ahead. */
const LIFE_MS = 6000
const around = { certificateLifeMs: LIFE_MS }

/** A manager and a worker elsewhere, with certificates of a few seconds. */
const shortLived = async (t: Test, life = { lifeMs: LIFE_MS }) => {
  const maker = await makeMesh(t)
  const managerState = await issueTo(maker, 'manager', 'boss')
  const workerState = await issueTo(maker, 'worker', 'pi')
  const manager = await certifyNode(maker, managerState, 'manager', 'boss', life)
  const worker = await certifyNode(maker, workerState, 'worker', 'pi', life)
  return { maker, managerState, workerState, manager, worker }
}

const isRenewed = (line: string) => line.includes('certificate renewed')

t.test('nodes of other machines outlive their certificates, connected', async (t) => {
  const mesh = await shortLived(t)
  const { maker } = mesh
  const boss = { role: 'manager', state: mesh.managerState } as const
  const manager = await beginNode(t, boss, around)
  const join = [manager.node.url]
  // It has the authority's key, and no other node but the manager reaches it.
  const home = await beginNode(t, { state: maker.directory, name: 'home', join }, around)
  await manager.echo.when('up')
  const worker = await beginNode(t, { state: mesh.workerState, join }, around)
  await worker.echo.when('up')
  const endsMs = Math.max(mesh.manager.notAfterMs, mesh.worker.notAfterMs)
  // A renewal comes every two seconds: one of them is past the end of the first certificates.
  for (let count = 1; Date.now() < endsMs + 500; count++)
    await Promise.all(
      [manager, worker].map(({ logged }) => logged.when(isRenewed, count)),
    )
  t.same(
    [manager, worker].flatMap(({ echo }) =>
      echo.heard.filter(({ what }) => what === 'down'),
    ),
    [],
  )
  t.equal(manager.echo.heard.length, 2, 'nobody connected twice')
  t.equal(home.node.mesh.isConnected(manager.node.nodeId), true)
  // Whoever comes now is shown the newest, and has one of 90 days.
  const late = await issueTo(maker, 'worker', 'late')
  const latecomer = await beginNode(t, { state: late, join }, around)
  t.match(await latecomer.echo.when('up'), { peer: { hostName: 'boss' } })
  // What was kept serves a node that starts again.
  await worker.node.close()
  const again = await beginNode(t, { state: mesh.workerState, join }, around)
  t.match(await again.echo.when('up'), { peer: { hostName: 'boss' } })
})

t.test('where nobody can renew, a node says so, and ends with its cure', async (t) => {
  const mesh = await shortLived(t, { lifeMs: 2500 })
  const manager = await beginNode(t, { role: 'manager', state: mesh.managerState })
  const join = [manager.node.url]
  const worker = await beginNode(t, { state: mesh.workerState, join })
  await worker.logged.when((line) =>
    /not renewed .*no node with the key .*where the mesh was made/.test(line),
  )
  t.match(
    await worker.node.failed,
    /certificate of pi ended on .* nobody renewed it.*manyhands invite --role worker --name pi, then here: manyhands join/,
  )
  await manager.node.failed
})

t.test('a node that was off past its end says so, and how to come back', async (t) => {
  const nowMs = Date.now() - 91 * 86_400_000
  const { maker, workerState } = await shortLived(t)
  await certifyNode(maker, workerState, 'worker', 'pi', { nowMs })
  const late = await tryNode(t, { state: workerState })
  t.match(late.result, E.left({ reason: /ended on .*manyhands invite --role worker/ }))
})

t.test('where the mesh was made, a start after the end is no matter', async (t) => {
  const maker = await makeMesh(t)
  const state = maker.directory
  const { node } = await beginNode(t, { state, name: 'home' })
  await node.close()
  const nowMs = Date.now() - 91 * 86_400_000
  await certifyNode(maker, state, 'worker', 'home', { nowMs })
  const again = await beginNode(t, { state, name: 'home' })
  t.equal(again.node.nodeId, node.nodeId)
})

t.test('a clock that is a day behind is told, and waited for', async (t) => {
  const nowMs = Date.now() + 86_400_000
  const { maker, managerState, workerState } = await shortLived(t)
  await certifyNode(maker, workerState, 'worker', 'pi', { nowMs })
  const manager = await beginNode(t, { role: 'manager', state: managerState })
  const url = [manager.node.url]
  const early = await beginNode(t, { state: workerState, join: url })
  t.match(early.printed.items.join('\n'), /clock of this machine says.*clock is set/)
  const line = await early.logged.when((text) => text.includes('cannot connect'))
  t.match(line, /refused the certificate by its dates.*check the clock/)
})
