// Relationship: who is who, and who manages whom. (Source: the manager/worker protocol's
// NodeType*, Manager* messages. What it leaves open is decided at the field concerned.)

import * as t from 'io-ts'
import { exchange } from '../exchange.ts'
import {
  BootId,
  fields,
  HostName,
  LedgerId,
  List,
  Milliseconds,
  NodeId,
  NodeType,
  Rel,
  Text,
  Uint,
} from '../scalars.ts'
import { InventoryEntry, Labels, Resources, TaskAttempt } from '../task.ts'

/** At most this many inventory entries in one ManagerRequest; more go in pages. */
export const INVENTORY_PAGE = 1000

/**
 * Who a node is. Decided ("what happens if the node type of a peer changes?"): it is fixed
 * for one (node_id, boot_id); a change within a boot ends the connection (role-changed), a
 * new boot_id makes the receiver forget what it learned about the old one.
 */
const Introduction = fields(
  {
    node_type: NodeType,
    node_id: NodeId,
    boot_id: BootId,
    host_name: HostName,
    /** Minor version of the protocol; the major one is the subprotocol's name. */
    minor: Uint,
    /** Names of optional kinds that this node understands. */
    features: List(Text(64), 256),
    /** How many requests it takes at once, and the largest frame, in bytes. */
    max_in_flight: Uint,
    max_frame: Uint,
  },
  {
    /** Where it accepts connections, if it does. */
    listen_port: Uint,
    /** A manager's ledger; another one than before = the old ledger is gone. */
    ledger_id: LedgerId,
    pid: Uint,
    version: Text(32),
  },
)
export type Introduction = t.TypeOf<typeof Introduction>

export const relationship = {
  NodeTypeRequest: exchange({
    direction: 'any -> any',
    about: 'Says who the asker is and asks who the other is. First in each direction.',
    priority: true,
    request: Introduction,
    answers: { NodeTypeAnswer: Introduction },
  }),
  ManagerRequest: exchange({
    direction: 'worker -> manager',
    about: 'A worker asks to be managed, with its specifications and its inventory.',
    request: fields(
      {
        cores: Uint,
        memory: Uint,
        /** What it runs, waits to run or has not yet delivered, of this manager's ledger. */
        tasks: List(InventoryEntry, INVENTORY_PAGE),
        /** More pages follow; nothing is dropped or requeued before the last one. */
        more: t.boolean,
      },
      {
        /**
         * Decided ("how much can we trust the specs?"): they are a claim, used for placement,
         * and the worker itself is the judge and may refuse any task.
         */
        specs: fields(
          {},
          {
            network_speed: Uint,
            kinds: List(Text(64), 64),
            labels: Labels,
            resources: Resources,
          },
        ),
        /** The relationship it comes back to. */
        rel: Rel,
        /** It serves another manager and only hands over outcomes. */
        settle: t.boolean,
        /** A guest worker's name; it has no socket of its own. */
        guest: Text(64),
      },
    ),
    answers: {
      /** Decided: with `accepted` come the relationship's id and the manager's fencing epoch. */
      ManagerAnswer: fields(
        { accepted: t.boolean },
        {
          rel: Rel,
          epoch: Uint,
          ping_ms: Milliseconds,
          lease_ms: Milliseconds,
          resumed: t.boolean,
          /** What the worker must end or forget; only of the manager's own ledger. */
          drop: List(TaskAttempt, INVENTORY_PAGE),
          retry_after_ms: Milliseconds,
          /** The page was taken; send the next. */
          continue: t.boolean,
          reason: Text(255),
        },
      ),
    },
  }),
  ManagerBye: exchange({
    direction: 'peers',
    about:
      'Ends the relationship. From a stranger it changes nothing, and is acknowledged.',
    priority: true,
    request: fields({ rel: Rel }, { reason: Text(255) }),
    answers: { Ack: fields({}) },
  }),
  ManagerPing: exchange({
    direction: 'peers',
    about: 'Checks that both still consider themselves in the relationship.',
    priority: true,
    request: fields({ rel: Rel }),
    answers: {
      ManagerPong: fields({ rel: Rel }, { free_slots: Uint, running: Uint }),
      NotMine: fields({}),
    },
  }),
}
