// Taken out: three machines of one mesh, of which two hear of it from the third, over the
// mesh alone.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import t, { type Test } from 'tap'
import { revoke } from '../../src/identity/revocations.ts'
import { beginNode, tryNode } from '../node/support.ts'
import { issueTo, makeMesh } from './support.ts'

/** A manager elsewhere, and two workers at it: one where the mesh was made, one elsewhere. */
const threeMachines = async (t: Test) => {
  const maker = await makeMesh(t)
  const managerState = await issueTo(maker, 'manager', 'boss')
  const workerState = await issueTo(maker, 'worker', 'pi')
  const manager = await beginNode(t, { role: 'manager', state: managerState })
  const join = [manager.node.url]
  const home = await beginNode(t, { state: maker.directory, name: 'home', join })
  const away = await beginNode(t, { state: workerState, join })
  await Promise.all([home.echo.when('up'), away.echo.when('up')])
  await manager.echo.when('up', 2)
  return { maker, managerState, workerState, manager, home, away }
}

t.test('a worker that is taken out is cut off by nodes of other machines', async (t) => {
  const { maker, workerState, manager, home, away } = await threeMachines(t)
  await revoke(maker, 'pi')
  const down = await manager.echo.when('down')
  t.match(down, { peer: { hostName: 'pi' }, clean: false, isExpelled: true })
  t.match(await away.node.failed, /pi was taken out .*manyhands invite .*--name pi/)
  t.equal(manager.node.mesh.isConnected(home.node.nodeId), true)

  await t.test('it knows when it starts again', async (t) => {
    await away.node.close()
    const again = await tryNode(t, { state: workerState, join: [manager.node.url] })
    t.match(again.result, E.left({ reason: /taken out of the mesh/ }))
  })
  await t.test('and is told if it lost the list', async (t) => {
    rmSync(join(workerState, 'revoked.bin'))
    const again = await beginNode(t, { state: workerState, join: [manager.node.url] })
    t.match(await again.node.failed, /taken out of the mesh.*manyhands invite/)
    await manager.logged.when((line) => /refused a connection.*taken out/.test(line))
  })
  await t.test('a node that comes later hears of it at once', async (t) => {
    const late = await issueTo(maker, 'worker', 'late')
    const node = await beginNode(t, { state: late, join: [manager.node.url] })
    t.match(
      await node.logged.when((line) => /revocations .*revoked=2/.test(line)),
      /node=late/,
    )
  })
})

t.test('a manager that is taken out is left by workers of other machines', async (t) => {
  const { maker, manager, away } = await threeMachines(t)
  await revoke(maker, 'boss')
  t.match(await away.echo.when('down'), { peer: { hostName: 'boss' }, isExpelled: true })
  t.match(await manager.node.failed, /boss was taken out/)
})
