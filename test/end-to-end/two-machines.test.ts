// Two machines that know nothing of each other but what a person types on them, and the
// cable between them: pulled, and put back.

import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import t from 'tap'
import { noMachines, twoMachines } from './machines.ts'
import { isGone, longSleep, Manyhands, processesWith, until } from './support.ts'

// The machine may be busy with other tests.
t.setTimeout(180_000)

t.test('two machines are one mesh', { skip: noMachines }, async (t) => {
  const [desk, shelf] = twoMachines(t)
  const here = new Manyhands(t, join(t.testdir(), 'here'), desk.within)
  const there = new Manyhands(t, join(t.testdirName, 'there'), shelf.within)
  const began = performance.now()
  const manager = here.begin(
    ...['--role', 'manager', '--name', 'm', '--state', here.state, '--ping', '250ms'],
    ...['--listen', '0.0.0.0', '--allow-root'],
  )
  await manager.said(/announced\s+by mDNS on .*10\.0\.0\.1/)
  const invitation = here.start('invite', '--role', 'worker')
  const [, token = ''] = await invitation.said(/manyhands join (\S+)/)

  await t.test('by the lines of the README, without an address', async (t) => {
    const joined = await there.call('join', token, '--name', 'pi')
    t.match(joined, { code: 0, stdout: /^joined as worker pi/ })
    const worker = there.begin('--role', 'worker', '--state', there.state)
    await worker.said(/phase=managed manager=m\b/)
    t.match(await here.call('run', '--', 'echo', 'from afar'), {
      code: 0,
      stdout: /from afar/,
    })
    t.comment(`a first task ${Math.round(performance.now() - began)} ms after the start`)
    const [record] = await here.list('tasks')
    t.match(record, { host_name: 'pi', state: 'completed', attempt: 1 })
  })

  /** A task that sleeps at the other machine. */
  const sleeper = async () => {
    const marker = longSleep()
    const id = (await here.text('submit', '--', 'sleep', marker)).trim()
    await until(() => processesWith(marker).length > 0)
    return { id, pids: processesWith(marker), marker }
  }
  const stateOf = async (name: string) =>
    (await here.list('nodes')).find(({ host_name }) => host_name === name)?.state

  await t.test('the cable is out for a moment: nothing runs twice', async (t) => {
    const { id, pids } = await sleeper()
    shelf.unplug()
    shelf.plug()
    t.equal(await here.call('cancel', id).then(({ code }) => code), 0)
    await Promise.all(pids.map(isGone))
    t.match(await here.list('show', id), [{ state: 'aborted', attempt: 1 }])
  })

  await t.test('the cable is out: the task runs elsewhere, and once', async (t) => {
    const { id, pids, marker } = await sleeper()
    shelf.unplug()
    const second = here.begin(
      ...['--role', 'worker', '--name', 'desk', '--state', here.state],
      ...['--cores', '1', '--no-mdns'],
    )
    await second.said(/phase=managed manager=m\b/)
    await until(() => processesWith(marker).length === 2)
    t.match(await here.list('show', id), [
      { state: 'running', attempt: 2, host_name: 'desk' },
    ])
    t.not(await stateOf('pi'), 'managed')
    shelf.plug()
    await until(async () => (await stateOf('pi')) === 'managed')
    await Promise.all(pids.map(isGone))
    t.equal(processesWith(marker).length, 1, 'the older copy was ended')
    t.match(await here.list('show', id), [{ state: 'running', attempt: 2 }])
    t.match(await here.call('cancel', id), { code: 0 })
    t.same(processesWith(marker), [])
  })
})
