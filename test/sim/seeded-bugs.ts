// Seeded bugs: mistakes that somebody could make in the machines and roles, each against a
// rule of the promise or into a hole that its text warns of. The simulator has to find every
// one (hunt.ts): so it can find such mistakes, and the next change that makes one is caught.
//
// Each is an edit of the compiled code, which is close to the source but for its types. The
// text that is replaced must stand in its file exactly once: an edit that has gone stale
// fails, so that whoever changes the code moves the bug along.

import { type Edit, edit, type Planted } from '../support/plant.ts'

export interface SeededBug extends Planted {
  /** What it breaks: the rule, or the hole. */
  readonly breaks: string
}

const bug = (name: string, breaks: string, ...edits: readonly Edit[]): SeededBug => ({
  name,
  breaks,
  edits,
})

export const seededBugs: readonly SeededBug[] = [
  // ---- durable before visible
  bug(
    'an outcome is acknowledged before its record is durable',
    'durable before visible',
    edit(
      'roles/manager-commits',
      'if (this.#gathering.changes.length > 0)\n            this.#gathering.acks.push(ack);',
      'if (this.#gathering.changes.length > 0)\n            ack();',
    ),
  ),
  bug(
    'a task is sent before its assignment is durable',
    'durable before visible',
    edit(
      'roles/manager-commits',
      'this.#ledger.commit(group.changes, (result) => {',
      'this.#events.durable(group.changes);\n        this.#ledger.commit(group.changes, (result) => {',
    ),
    edit(
      'roles/manager-commits',
      'this.#underWay = undefined;\n                    this.#events.durable(group.changes);',
      'this.#underWay = undefined;',
    ),
  ),
  bug(
    'a start is not recorded: its task waits on disk as before',
    'durable before visible, at a worker',
    edit('roles/worker-effects', 'outbox.removePending(taskId);', ''),
  ),
  // ---- a worker refuses a second (task, attempt)
  bug(
    'a higher attempt starts beside the copy that runs',
    'a worker runs a task once',
    edit(
      'machines/worker-task-taking',
      'const adopted = { ...entry, task };\n            core.set(taskId, adopted);\n            return startedReport(adopted);',
      'core.remove(taskId);\n            return accept(core, task);',
    ),
  ),
  bug(
    'a commit that failed is taken for durable',
    'durable before visible',
    edit(
      'roles/manager-commits',
      "case 'durable':",
      "case 'failed':\n                case 'durable':",
    ),
  ),
  // ---- who may close a task
  bug(
    "an old attempt's error counts",
    'only the current attempt closes a task with an error',
    edit(
      'machines/task-outcomes',
      'const isCurrent = attempt === task.attempt &&',
      'const isCurrent = true ||',
    ),
  ),
  bug(
    'an outcome counts from whoever sends it',
    'an outcome counts only from a node that the attempt was assigned to',
    edit(
      'machines/task-outcomes',
      'if (task !== undefined && wasHandedTo(task, nodeId, attempt)) {',
      'if (task !== undefined) {',
    ),
  ),
  // ---- TasksExecute names the boot
  bug(
    'a reboot is not noticed, and what its earlier life got is sent again',
    "TasksExecute names the worker's boot",
    edit(
      'machines/roster',
      'const reborn = state.bootId !== undefined && state.bootId !== bootId;',
      'const reborn = false;',
    ),
    edit(
      'machines/task-workers',
      'const reborn = event.reborn || worker.bootId !== claims.bootId;',
      'const reborn = false;',
    ),
  ),
  // ---- no attempt twice
  bug(
    'the same attempt again starts anew',
    'a worker refuses a second (task, attempt)',
    edit(
      'machines/worker-task-taking',
      'return again(entry);',
      'return (core.remove(taskId), accept(core, task));',
    ),
  ),
  // ---- what fits
  bug(
    'a worker starts what does not fit beside what runs',
    'the worker itself is the judge of what it takes',
    edit(
      'machines/occupancy',
      'if (this.#cores + coresOf(task) > cores)',
      'if (coresOf(task) > cores)',
    ),
  ),
  // ---- exclusive tasks
  bug(
    'an exclusive task is taken back when its worker is lost',
    'an exclusive task is never run again while its worker may be alive',
    edit(
      'machines/task-workers',
      "if (task.request.exclusive === true && cost !== 'none')\n            continue;",
      '',
    ),
  ),
  // ---- leases
  bug(
    "the manager's lease is shorter than the worker's",
    "the manager's lease is the longer one",
    edit(
      'roles/manager',
      'const config = { ...managerDefaults, ...deps.config };',
      'const config = { ...managerDefaults, ...deps.config };\n    config.managerLeaseMs = config.workerLeaseMs / 2;',
    ),
  ),
  bug(
    'a worker counts its lease from the answer',
    'a worker counts its lease from when it asked',
    edit(
      'machines/relationship-managed',
      'sentAtMs + phase.bond.leaseMs',
      'facts.nowMs + phase.bond.leaseMs',
    ),
    edit(
      'machines/relationship-asking',
      'untilMs: event.sentAtMs + grant.leaseMs,',
      'untilMs: facts.nowMs + grant.leaseMs,',
    ),
  ),
  bug(
    'the lease is looked at only while disconnected',
    'a lease is checked before each start, in whatever state',
    edit(
      'machines/worker-task-core',
      'return !this.isDraining && nowMs < this.leaseUntilMs;',
      'return !this.isDraining && this.leaseUntilMs > 0;',
    ),
    edit(
      'machines/relationship-leases',
      'if (bond === undefined || bond.isOver)',
      "if (bond === undefined || bond.isOver || phase.kind === 'managed')",
    ),
  ),
  // ---- inventory and drops
  bug(
    'a worker comes back without its inventory',
    'ManagerRequest carries the inventory',
    edit(
      'roles/worker-link',
      '(lines) => this.#sendPage(to, serial, rel, lines)',
      '() => this.#sendPage(to, serial, rel, [])',
    ),
  ),
  bug(
    'what the manager has no more use for is not dropped',
    'ManagerAnswer carries the drops',
    edit(
      'roles/manager-workers',
      'drop = [...its.drops];\n                    else if',
      'drop = [];\n                    else if',
    ),
  ),
  // ---- the holes that the text warns of
  bug(
    'an answer is applied one turn late',
    'an answer is applied before the next frame is looked at',
    edit(
      'roles/worker-link',
      'this.#answered(to, serial, sentAtMs, answer);\n',
      'this.#ports.clock.after(1, () => this.#answered(to, serial, sentAtMs, answer));\n',
    ),
  ),
  bug(
    'an abort means every attempt so far',
    'an abort names its attempt',
    edit(
      'roles/worker-orders',
      "const attempt = typeof one === 'string' ? undefined : one.attempt;",
      'const attempt = undefined;',
    ),
  ),
  bug(
    'an adopted copy keeps its old number',
    'an adopted copy takes the current number',
    edit(
      'machines/worker-task-taking',
      'const adopted = { ...entry, task };',
      'const adopted = { ...entry };',
    ),
  ),
  bug(
    'a copy that is ending is adopted',
    'only pending and running copies are adopted',
    edit(
      'machines/worker-task-taking',
      "core.set(taskId, { ...entry, isSilent: true, next: task, isNextReady: false });\n            return [{ kind: 'pend', task }];",
      'core.set(taskId, { ...entry, task });\n            return none;',
    ),
  ),
  bug(
    'a success leaves the other copy alone',
    'a success of any attempt closes the task, the other copies are aborted',
    edit(
      'machines/task-outcomes',
      'if (worker !== undefined && elsewhere && core.hasCopy(task)) {',
      'if (false) {',
    ),
  ),
  bug(
    'a deadline runs on through a partition',
    'deadlines stand still while the worker is suspect',
    edit('machines/task-placing', 'if (isAway || pausedMs > 0) {', 'if (false) {'),
  ),
  bug(
    'a loss is counted for a partition',
    'a loss counts when the boot is surely gone',
    edit(
      'machines/roster',
      "const certain = cause !== 'lease-over';",
      'const certain = true;',
    ),
  ),
]
