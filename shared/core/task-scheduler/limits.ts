/** Named limits of this room. */

/** Segments of one experiment looked at in one round of a pass. */
export const SEGMENTS_PER_ROUND = 24;
/** Unborn segments of one set that are looked at, and born in order, in one round. */
export const BIRTHS_PER_ROUND = 8;
/** Sets whose task duration one scheduler remembers. */
export const MEASURED_SETS_KEPT = 1_024;
/** Experiments looked at in one pass. */
export const EXPERIMENTS_PER_PASS = 64;
/** Workers with room looked at in one round. */
export const WORKERS_PER_ROUND = 256;
/** So long the list of running experiments holds, unless it is longer than a pass. */
export const RUNNING_FRESH_MS = 1_000;
/** A pass reads who has room again after so long. */
export const SUPPLY_FRESH_MS = 500;
/** Leases planned in one round. */
export const LEASES_PER_ROUND = 64;
/** Leases in one transaction: 4 items and at most 2 for each lease stay within 25. */
export const LEASES_PER_ASSIGN = 10;
/** Rounds of a pass; each must make progress to be followed by another. */
export const ROUNDS_PER_PASS = 200;
/** Tasks in one lease. */
export const LEASE_TASKS_MAX = 1024;
/** Work that a lease should hold once the task duration is measured. */
export const LEASE_TARGET_MS = 4_000;
/** Near the end of a set leases shrink, so that all workers end together, but not below this: each costs the same. */
export const LEASE_FLOOR_MS = 500;
/** Tasks for each slot while nothing is measured yet. */
export const LEASE_PROBE_TASKS_PER_SLOT = 2;
/** Only tasks shorter than this wait at a worker behind others; longer ones would be stuck there while others idle. */
export const PREFETCH_TASK_MS_MAX = 30_000;
/** Kept free before the end of a worker's allocation. */
export const WALLTIME_MARGIN_MS = 10_000;
/** A task lost with its worker this often is failed as poison. The last two times it was alone in its lease. */
export const LOSSES_MAX = 4;
/** From this many losses on, a task is leased alone. */
export const LOSSES_ALONE = 2;
export const BACKOFF_MS_MAX = 3_600_000;
/** Tries of one conditional write, each rebuilt from a new read. */
export const WRITE_TRIES = 8;
export const WRITE_JITTER_MS = 25;
/** Longest delay of a message; a task that waits longer is found by the timer. */
export const HINT_DELAY_MS_MAX = 900_000;
/** Hint to oneself when a pass was refused everywhere although room and work are there (index lag). */
export const REPEAT_HINT_MS = 1_000;
/** Tasks are asked back only from where they would wait longer than this: moving them costs two messages and two transactions. */
export const REBALANCE_WAIT_MS = 1_000;
/** One process looks for tasks to ask back at most this often: what was asked for should have come by then. */
export const REBALANCE_INTERVAL_MS = 2_000;
/** Open leases that are looked at for it. */
export const REBALANCE_LEASES = 128;
/** What a lease costs the control plane, roughly (protocol, Cost): leases near the end of a budget are sized by it. */
export const LEASE_NANO_USD = 25_000;
/** Costs of leases are in what meters have saved by then. */
export const UNSAVED_MS = 15_000;
/** Experiments with a budget whose closed segments one process remembers. */
export const SPENDERS_KEPT = 256;
/** Live experiments visited by one timer sweep. */
export const EXPERIMENTS_PER_SWEEP = 1_000;
/** Segments that one explanation reads, and looks into for what is ready. */
export const EXPLAIN_SEGMENTS = 1_024;
export const EXPLAIN_LOOKS = 256;
/** Workers, open leases, competitors and parents of one task that one explanation reads or names. */
export const EXPLAIN_WORKERS = 1_000;
export const EXPLAIN_LEASES = 128;
export const EXPLAIN_AHEAD = 8;
export const EXPLAIN_PARENTS = 20;
/** A gateway beats every 5 s. */
export const GATEWAY_SILENT_MS = 30_000;
/** A lease that runs so many times as long as its tasks take one after the other is told as slow. */
export const LONG_TAIL_FACTOR = 3;
/** A deletion goes on for so long, then lets others have a turn. */
export const DELETION_RUN_MS = 5_000;
export const OBJECTS_REMOVED_AT_ONCE = 50;
/** Objects of one folder, and experiments that are kept for a time, that one timer run looks at. */
export const OBJECTS_PER_SWEEP = 500;
export const KEPT_PER_SWEEP = 100;
/** A draft that no experiment names is somebody's attempt to create one for so long. */
export const DRAFT_MS = 86_400_000;
/** Result objects, for outputs that are swept, up to this size; an output whose result object is larger is kept. */
export const SWEPT_RESULT_BYTES_MAX = 256 * 1024 * 1024;
/** Before a deletion that was too much for one run goes on. */
export const MORE_HINT_MS = 200;
