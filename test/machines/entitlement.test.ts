// Entitlement: what the scopes of a client make of its tasks.

import t from 'tap'
import { rightsOf, type TaskRequest } from '../../protocol/index.ts'
import { entitled } from '../../src/machines/entitlement.ts'

const task = (more: Partial<TaskRequest> = {}): TaskRequest => ({
  job_addr: 'exec:x',
  arguments: [],
  timeout_ms: 0,
  ...more,
})

const one = (more: Partial<TaskRequest>, ...scopes: string[]) => {
  const its = entitled([task(more)], rightsOf(scopes))
  return 'forbidden' in its ? its.forbidden : its.tasks[0]
}

t.test('a task of whoever may run tasks anywhere is recorded as it came', async (t) => {
  const came = task({ requires: { cores: 2 }, env: { A: 'b' } })
  const its = entitled([came], rightsOf(['tasks:run']))
  t.equal('tasks' in its && its.tasks[0], came)
})

t.test('the hosts of a scope are said in the task', async (t) => {
  t.match(one({}, 'tasks:run@lab-*', 'tasks:run@x'), {
    requires: { within: [['lab-*', 'x']] },
  })
  const kept = one({ requires: { cores: 2, host_name: 'lab-1' } }, 'tasks:run@lab-*')
  t.same(kept, task({ requires: { cores: 2, host_name: 'lab-1', within: [['lab-*']] } }))
  t.match(
    one({ requires: { host_name: 'vault' } }, 'tasks:run@lab-*'),
    /hold on lab-\*, and the task asks for the host vault/,
  )
})

t.test('what a client says in the place of its manager is not kept', async (t) => {
  const within = [['*']]
  t.same(one({ requires: { within } }, 'tasks:run'), task())
  t.same(one({ requires: { within, cores: 2 }, unsafe_env: true }, 'tasks:run'), {
    ...task({ requires: { cores: 2 } }),
  })
  t.match(one({ requires: { within } }, 'tasks:run@lab-*'), {
    requires: { within: [['lab-*']] },
  })
})

t.test('variables that make other code run take the scope admin', async (t) => {
  for (const name of ['LD_PRELOAD', 'NODE_OPTIONS', 'BASH_ENV', 'SHELLOPTS', 'PS4']) {
    const env = { A: 'b', [name]: 'x' }
    t.match(one({ env }, 'read', 'tasks:run'), /can make other code run.* scope admin/)
    t.same(one({ env }, 'tasks:run', 'admin'), task({ env, unsafe_env: true }))
  }
  const env = { LD_PRELOAD: 'x' }
  t.same(one({ env }, 'tasks:run', 'admin@lab-*'), {
    ...task({ env, unsafe_env: true, requires: { within: [['lab-*']] } }),
  })
  t.match(
    one({ env, requires: { host_name: 'b' } }, 'tasks:run@a*', 'tasks:run@b', 'admin@a*'),
    /hold on a\*/,
  )
  t.match(one({ env }, 'tasks:run@a*', 'admin@b*'), {
    requires: { within: [['a*'], ['b*']] },
  })
})

t.test('without a scope nothing may be run anywhere', async (t) => {
  t.match(one({}), { requires: { within: [[]] } })
  t.match(entitled([task()], undefined), { tasks: [{ requires: { within: [[]] } }] })
})
