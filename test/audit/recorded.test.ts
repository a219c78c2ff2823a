// What is recorded: of requests by who asked and what the answer was, of programs what
// became of them; and nothing that is secret of either.

import t from 'tap'
import { auditedRunner } from '../../src/audit/programs.ts'
import { audited, withoutSecrets } from '../../src/audit/requests.ts'
import type {
  Audit,
  AuditFields,
  Peer,
  Run,
  RunEvents,
  RunSpec,
} from '../../src/ports.ts'

const made = () => {
  const lines: [event: string, fields: AuditFields | undefined][] = []
  const audit: Audit = { record: (event, fields) => void lines.push([event, fields]) }
  return { audit, lines }
}
// Of a peer no more is looked at.
const from = { hostName: 'ci', role: 'client', nodeId: 'ab' } as Peer
const who = { by: 'ci', role: 'client', node_id: 'ab' }

const SECRET = 'hunter2'
const task = {
  job_addr: 'exec:/bin/curl',
  arguments: ['-u', SECRET],
  env: { TOKEN: SECRET },
  stdin: Buffer.from(SECRET),
  timeout_ms: 0,
}

t.test(
  'who asked for what, and what the answer was; not what it was given',
  async (t) => {
    const { audit, lines } = made()
    const handlers = audited(
      {
        TasksSubmit: (_body, respond) =>
          respond('TasksSubmitted', { task_ids: ['aaaaaaaaaa-1', 'aaaaaaaaaa-2'] }),
        TasksCancel: (_body, respond) =>
          respond('Error', { code: 'busy', message: 'too much' }),
        ProcessStart: (_body, respond) =>
          respond('Refused', { reason: 'forbidden', message: 'not here' }),
        TasksList: (_body, respond) => respond('TaskList', { tasks: [] }),
      },
      audit,
    )
    const answers: string[] = []
    const respond = (kind: string) => void answers.push(kind)
    const download = `https://user:${SECRET}@host/tool?token=${SECRET}#sha256=00`
    const other = { ...task, job_addr: download }
    handlers.TasksSubmit?.({ key: 'k', batch: 'b', tasks: [task, other] }, respond, from)
    handlers.TasksCancel?.({ task_ids: ['aaaaaaaaaa-1'] }, respond, from)
    const spec = { path: '/bin/x', args: [SECRET], env: { A: SECRET } }
    handlers.ProcessStart?.({ spec }, respond, from)
    handlers.TasksList?.({ limit: 1 }, respond, from)
    t.same(answers, ['TasksSubmitted', 'Error', 'Refused', 'TaskList'], 'it is passed on')
    const [first, last] = ['aaaaaaaaaa-1', 'aaaaaaaaaa-2']
    const programs = ['exec:/bin/curl', 'https://host/tool#sha256=00']
    t.same(lines, [
      [
        'asked',
        {
          ...{ kind: 'TasksSubmit', ...who, batch: 'b', tasks: 2, programs },
          ...{ answer: 'TasksSubmitted', first, last },
        },
      ],
      [
        'asked',
        {
          ...{ kind: 'TasksCancel', ...who, tasks: 1, ids: [first] },
          ...{ answer: 'Error', reason: 'busy', why: 'too much' },
        },
      ],
      [
        'asked',
        {
          ...{ kind: 'ProcessStart', ...who, program: '/bin/x' },
          ...{ answer: 'Refused', reason: 'forbidden', why: 'not here' },
        },
      ],
    ])
    t.notMatch(JSON.stringify(lines), SECRET)
  },
)

t.test('of what a manager gives a worker, what its owner forbids', async (t) => {
  const { audit, lines } = made()
  const refused = [
    { task_id: 'aaaaaaaaaa-1', reason: 'forbidden' as const, message: 'not allowed' },
    { task_id: 'aaaaaaaaaa-2', reason: 'busy' as const },
  ]
  const { TasksExecute: execute } = audited(
    { TasksExecute: (_body, respond) => respond('TasksRefused', { refused }) },
    audit,
  )
  const tasks = [1, 2].map((n) => ({ ...task, task_id: `aaaaaaaaaa-${n}`, attempt: 1 }))
  const body = { rel: 'r', epoch: 1, boot: 'ab'.repeat(8), tasks }
  execute?.(body, () => undefined, from)
  t.same(lines, [
    ['forbidden', { ...who, ids: ['aaaaaaaaaa-1'], programs: ['exec:/bin/curl'] }],
  ])
})

t.test('what an address tells beside the address is left out', async (t) => {
  const rows: [address: string, recorded: string][] = [
    ['exec:/bin/true', 'exec:/bin/true'],
    ['https://a.b/c#sha256=1', 'https://a.b/c#sha256=1'],
    ['https://u:p@a.b/c?k=v#sha256=1', 'https://a.b/c#sha256=1'],
    ['https://[', 'an address that is none'],
    [`exec:${'x'.repeat(400)}`, `exec:${'x'.repeat(295)}`],
  ]
  for (const [address, recorded] of rows) t.equal(withoutSecrets(address), recorded)
})

t.test('a program: started, signalled, ended, or not to be started', async (t) => {
  const { audit, lines } = made()
  const kept = { size: 0, lost: 0, sha256: '' }
  const end = { runMs: 12.4, stdout: kept, stderr: kept, lostTail: false }
  let events: RunEvents | undefined
  const killed: string[] = []
  const runner = auditedRunner(
    {
      start: (_spec, its) => {
        events = its
        return { kill: (signal: string) => void killed.push(signal) } as Run
      },
      close: () => Promise.resolve(),
    },
    audit,
  )
  const spec: RunSpec = {
    program: '/bin/curl',
    arguments: ['-u', SECRET],
    directory: '/tmp',
    environment: {
      TOKEN: SECRET,
      MANYHANDS_TASK_ID: 'aaaaaaaaaa-1',
      MANYHANDS_ATTEMPT: '2',
    },
    output: 'none',
    outputCapBytes: 1,
  }
  const heard: string[] = []
  const its = {
    started: (pid: number) => void heard.push(`started ${pid}`),
    ended: () => void heard.push('ended'),
  }
  const run = runner.start(spec, its)
  events?.started(7)
  run.kill('SIGTERM')
  events?.ended({ ...end, signal: 'SIGTERM' })
  runner.start(spec, its)
  events?.ended({ ...end, spawnError: { code: 'EACCES', reason: 'x' } })
  t.same(heard, ['started 7', 'ended', 'ended'])
  t.same(killed, ['SIGTERM'])
  const ids = { task: 'aaaaaaaaaa-1', attempt: 2, process: undefined }
  const what = { program: '/bin/curl', arguments: 2, directory: '/tmp' }
  t.same(lines, [
    ['started', { ...ids, pid: 7, ...what }],
    ['signalled', { ...ids, pid: 7, signal: 'SIGTERM' }],
    ['ended', { ...ids, pid: 7, exit_code: undefined, signal: 'SIGTERM', run_ms: 12 }],
    ['not-started', { ...ids, code: 'EACCES' }],
  ])
  const account = { name: 'nobody', uid: 65_534, gid: 65_534, home: '/' }
  runner.start({ ...spec, account }, its)
  events?.started(8)
  t.match(lines.at(-1), ['started', { pid: 8, user: 'nobody' }])
  t.notMatch(JSON.stringify(lines), SECRET)
})
