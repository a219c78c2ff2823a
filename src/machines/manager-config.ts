// What a manager can be told. Every figure has a default, and says what more of it costs.

export interface ManagerConfig {
  /** How often a worker pings. Handed to workers in ManagerAnswer. */
  readonly pingMs: number
  /** After this long without an answer a worker gives up its manager. Handed to workers. */
  readonly workerLeaseMs: number
  /**
   * After this long without a word a worker counts as gone. Must be longer than
   * workerLeaseMs, or two workers may run one task at a time.
   */
  readonly managerLeaseMs: number
  /**
   * After a start the workers of an earlier life have so long to come back, however short
   * the leases: they pause between dials, and run what they were given meanwhile.
   */
  readonly returnMs: number
  /** Between the two dials that tell whether a lost worker's process is gone. */
  readonly probeGapMs: number
  /** How long a worker may take to answer TasksExecute, TasksPing. */
  readonly askMs: number
  /** Added to a task's timeout and grace before its worker is asked what became of it. */
  readonly deadlineSlackMs: number
  /** Grace of a task that names none, as the worker's default. */
  readonly killGraceMs: number
  /** Back-off of a retried task: this, doubling with each own failure, up to the maximum; up to half is taken off. */
  readonly retryFirstMs: number
  readonly retryMaxMs: number
  /** A worker that refused as busy is left alone so long, unless it says how long itself. */
  readonly busyMs: number
  /** The same for one that is about to leave. */
  readonly drainingMs: number
  /** So many workers a task may take with it before it fails as WorkerLost. */
  readonly maxLosses: number
  /** Open tasks; beyond, submissions are refused as busy. About 500 bytes each, and the body. */
  readonly maxOpen: number
  /** Closed tasks kept for show, wait and logs; the oldest go first. */
  readonly keepClosed: number
  /**
   * Closed tasks kept of a batch once its reader has gone past them (TasksWait with a later
   * cursor): a flood that is read as it comes would otherwise fill `keepClosed` for nothing.
   */
  readonly keepRead: number
  /** Closed tasks are kept so long at most. */
  readonly keepClosedMs: number
  /** Bytes that closed tasks may take, body and output included; the oldest go first. */
  readonly keepClosedBytes: number
  /** Tasks that ask for no core (cores 0, noop) at one worker at a time. */
  readonly coreless: number
  /**
   * A worker whose tasks take less than this on average gets as many again as it has slots,
   * so that it never waits for the next (of tasks of a few milliseconds up to twelve times as
   * many: they are over before a record on disk is); with longer ones, waiting here keeps them free to
   * go wherever a slot frees first.
   */
  readonly prefetchBelowMs: number
  /** A task that fits a worker, but never finds room, gets one kept free after this long. */
  readonly reserveAfterMs: number
  /** Long polls of one client; beyond, it is answered busy. */
  readonly waitsPerClient: number
  /** Kinds of requirements looked at in one placement; the rest waits for the next turn. */
  readonly shapesPerTurn: number
  /** The longest a long poll waits, whatever it asks for. */
  readonly maxWaitMs: number
  /**
   * What is believed of one worker at most, whatever it claims: more is a mistake, or a lie
   * that would draw all tasks to it.
   */
  readonly mostCores: number
  readonly mostMemoryBytes: number
  readonly mostOfResource: number
  /** A worker that is busy time and again is left alone so long at most. */
  readonly busyMaxMs: number
  /** Only these host names may become workers; undefined: any that the mesh lets in. */
  readonly workers?: readonly string[]
}

export const managerDefaults: ManagerConfig = {
  pingMs: 5_000,
  workerLeaseMs: 15_000,
  managerLeaseMs: 20_000,
  returnMs: 12_000,
  probeGapMs: 100,
  askMs: 10_000,
  deadlineSlackMs: 10_000,
  killGraceMs: 5_000,
  retryFirstMs: 1_000,
  retryMaxMs: 60_000,
  busyMs: 500,
  drainingMs: 5_000,
  maxLosses: 3,
  maxOpen: 1_000_000,
  keepClosed: 100_000,
  keepRead: 10_000,
  keepClosedMs: 30 * 24 * 3_600_000,
  keepClosedBytes: 256 * 1024 * 1024,
  coreless: 1_024,
  prefetchBelowMs: 250,
  reserveAfterMs: 5_000,
  waitsPerClient: 256,
  shapesPerTurn: 1_000,
  maxWaitMs: 60_000,
  mostCores: 4_096,
  mostMemoryBytes: 64 * 1024 ** 4,
  mostOfResource: 1_000_000,
  busyMaxMs: 30_000,
}
