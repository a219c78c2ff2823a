// The manager's side of a relationship: every row of its table, then random histories.

import fc from 'fast-check'
import t from 'tap'
import {
  leaseLeftMs,
  type Relationship,
  type RosterEffect,
  type RosterEvent,
  stepRoster,
  stranger,
} from '../../src/machines/roster.ts'

const managing: Relationship = { kind: 'managing', bootId: 'b1', rel: 'r1' }
const suspect: Relationship = { kind: 'suspect', bootId: 'b1', rel: 'r1' }
const known: Relationship = { kind: 'known', bootId: 'b1' }

const request = (more: Partial<RosterEvent> = {}): RosterEvent =>
  // The parts that a row changes are all of a request.
  ({
    kind: 'request',
    bootId: 'b1',
    rel: undefined,
    newRel: 'r2',
    objection: undefined,
    ...more,
  }) as RosterEvent

const begin = (rel: string, reborn: boolean, resumed: boolean): RosterEffect[] => [
  { kind: 'reconcile', rel, reborn },
  { kind: 'accept', rel, resumed },
]
const managed = (rel: string, bootId = 'b1'): Relationship => ({
  kind: 'managing',
  bootId,
  rel,
})

const rows: readonly [string, Relationship, RosterEvent, Relationship, RosterEffect[]][] =
  [
    [
      'a stranger is accepted',
      stranger,
      request(),
      managed('r2'),
      begin('r2', false, false),
    ],
    [
      'a known one is accepted in the same boot',
      known,
      request({ rel: 'r1' }),
      managed('r2'),
      begin('r2', false, false),
    ],
    [
      'an objection refuses a stranger',
      stranger,
      request({ objection: 'no' }),
      stranger,
      [{ kind: 'refuse', reason: 'no' }],
    ],
    [
      'an objection changes nothing of a relationship',
      managing,
      request({ objection: 'no' }),
      managing,
      [{ kind: 'refuse', reason: 'no' }],
    ],
    [
      'managing: back with its rel, it is resumed',
      managing,
      request({ rel: 'r1' }),
      managed('r1'),
      begin('r1', false, true),
    ],
    [
      'suspect: back with its rel, it is resumed',
      suspect,
      request({ rel: 'r1' }),
      managed('r1'),
      begin('r1', false, true),
    ],
    [
      'managing: without a rel it begins anew',
      managing,
      request(),
      managed('r2'),
      begin('r2', false, false),
    ],
    [
      'suspect: with another rel it begins anew',
      suspect,
      request({ rel: 'r0' }),
      managed('r2'),
      begin('r2', false, false),
    ],
    ...[managing, suspect, known].map(
      (state): [string, Relationship, RosterEvent, Relationship, RosterEffect[]] => [
        `${state.kind}: a new boot ends the old one, whatever rel it names`,
        state,
        request({ bootId: 'b2', rel: 'r1' }),
        managed('r2', 'b2'),
        begin('r2', true, false),
      ],
    ),
    [
      'a socket that ended cleanly is probed',
      managing,
      { kind: 'closed', clean: true },
      suspect,
      [{ kind: 'suspect' }, { kind: 'probe' }],
    ],
    [
      'a socket that fell silent is not',
      managing,
      { kind: 'closed', clean: false },
      suspect,
      [{ kind: 'suspect' }],
    ],
    [
      'suspect: another socket closes',
      suspect,
      { kind: 'closed', clean: true },
      suspect,
      [],
    ],
    ['known: a socket closes', known, { kind: 'closed', clean: true }, known, []],
    ...[managing, suspect].map(
      (state): [string, Relationship, RosterEvent, Relationship, RosterEffect[]] => [
        `${state.kind}: the lease is over`,
        state,
        { kind: 'lease-over' },
        known,
        [
          { kind: 'terminate', why: 'its lease is over' },
          { kind: 'lose', certain: false },
        ],
      ],
    ),
    ['known: a lease that is over twice', known, { kind: 'lease-over' }, known, []],
    [
      'suspect: its port refuses',
      suspect,
      { kind: 'refused' },
      known,
      [
        { kind: 'terminate', why: 'its port refuses connections' },
        { kind: 'lose', certain: true },
      ],
    ],
    [
      'managing: a late refusal means nothing',
      managing,
      { kind: 'refused' },
      managing,
      [],
    ],
    ...[managing, suspect].map((state): (typeof rows)[number] => [
      `${state.kind}: it is no member any more`,
      state,
      { kind: 'expelled' },
      known,
      [
        { kind: 'terminate', why: 'it was taken out of the mesh' },
        { kind: 'lose', certain: true },
      ],
    ]),
    ['known: expelled changes nothing', known, { kind: 'expelled' }, known, []],
    ['bye', managing, { kind: 'bye', rel: 'r1' }, known, [{ kind: 'release' }]],
    ['suspect: bye', suspect, { kind: 'bye', rel: 'r1' }, known, [{ kind: 'release' }]],
    [
      'bye of an earlier relationship',
      managing,
      { kind: 'bye', rel: 'r0' },
      managing,
      [],
    ],
    ['known: bye', known, { kind: 'bye', rel: 'r1' }, known, []],
    [
      'NotMine with my rel',
      managing,
      { kind: 'not-mine', rel: 'r1' },
      suspect,
      [{ kind: 'suspect' }, { kind: 'terminate', why: 'it says NotMine' }],
    ],
    ['NotMine with another rel', managing, { kind: 'not-mine', rel: 'r0' }, managing, []],
    ['suspect: NotMine', suspect, { kind: 'not-mine', rel: 'r1' }, suspect, []],
  ]

for (const [name, state, event, next, effects] of rows)
  t.test(name, async (t) => {
    t.same(stepRoster(state, event), [next, effects])
  })

t.test('a lease is what is left since the last word', async (t) => {
  t.equal(leaseLeftMs(1_000, 20_000, 1_000), 20_000)
  t.equal(leaseLeftMs(1_000, 20_000, 21_000), 0)
  t.equal(leaseLeftMs(1_000, 20_000, 22_000), -1_000)
})

t.test('tasks are lost only by a relationship that was, and once for each', async (t) => {
  const word = fc.constantFrom('r1', 'r2', 'r3')
  const event: fc.Arbitrary<RosterEvent> = fc.oneof(
    fc
      .record({
        rel: fc.option(word, { nil: undefined }),
        bootId: fc.constantFrom('b1', 'b2'),
      })
      .map(({ rel, bootId }) => request({ rel, bootId })),
    fc.boolean().map((clean): RosterEvent => ({ kind: 'closed', clean })),
    fc.constantFrom<RosterEvent>(
      { kind: 'lease-over' },
      { kind: 'refused' },
      { kind: 'expelled' },
    ),
    word.map((rel): RosterEvent => ({ kind: 'bye', rel })),
    word.map((rel): RosterEvent => ({ kind: 'not-mine', rel })),
  )
  fc.assert(
    fc.property(fc.array(event), (events) => {
      let state = stranger
      let isHeld = false
      let rels = 0
      for (const drawn of events) {
        const one = drawn.kind === 'request' ? { ...drawn, newRel: `r${++rels}` } : drawn
        const [next, effects] = stepRoster(state, one)
        for (const { kind } of effects) {
          if (kind === 'accept') isHeld = true
          if (kind !== 'lose' && kind !== 'release') continue
          if (!isHeld) return false
          isHeld = false
        }
        if ((next.kind === 'known') === isHeld) return false
        state = next
      }
      return true
    }),
  )
  t.pass()
})
