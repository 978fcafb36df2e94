/**
 * TaskStore: experiments, sets, segments and leases, and the few writes that may change them.
 *
 * Law. Truth moves only by the conditional writes below; each is atomic: all of its items change or none.
 * - `done`: it was applied. `refused`: a condition did not hold, nothing changed; `by` names the item that refused
 *   (the first, when several do). `unknown`: it may have been applied, may not, or may be later (timeout, 5xx):
 *   the caller re-reads the decisive item and never assumes.
 * - Every write is conditional on the version, revision or epoch that its values were computed from.
 * - Contention (conflicting transactions, throttling) is retried inside with jitter, at most 6 times, then `unknown`.
 * - Reads are strongly consistent. Lists that say "hint" come from an index that may lag, miss or repeat entries.
 * - Implementations store post-images: the caller computed them from what it read; conditions make that safe.
 */
import type { Experiment, ExperimentState, Gate, TaskSet } from "#domain/experiment.ts";
import type { ExperimentId, ProjectId, UserId } from "#domain/id.ts";
import type { Lease, LeaseKey } from "#domain/lease.ts";
import type { Segment, SegmentKey } from "#domain/segment.ts";

/** Longer than any request is under way, and than an idempotency key may make the same experiment again. */
export const TOMBSTONE_MS = 30 * 86_400_000;

export type Refuser = "experiment" | "gate" | "set" | "segment" | "lease" | "worker" | "project";
export type WriteOutcome =
  | { readonly kind: "done" }
  | { readonly kind: "refused"; readonly by: Refuser; readonly index: number }
  | { readonly kind: "unknown" };

/** [gate: status = RUNNING and generation as given]. */
export interface GateCheck {
  readonly experiment: ExperimentId;
  readonly shard: number;
  readonly generation: number;
}

/** A segment's post-image and what it replaces: a version, or nothing (`unborn`: and the set's `next` must be this segment; it moves on by one). */
export interface SegmentWrite {
  readonly post: Segment;
  readonly expect: { readonly version: number } | "unborn";
  /** Tasks in the set; tells whether the segment belongs in the open index. */
  readonly setCount: number;
}

/** Added to a set's sums in the transaction that closes (+1) or reopens (-1) a segment. */
export interface SetSums {
  readonly closed: 1 | -1;
  readonly done: number;
  readonly failed: number;
  readonly skipped: number;
}

/** Leases of one segment given out together. `leases[i]` goes to a worker that must be READY, in `sessions[i]`, with room. */
export interface Assign {
  readonly gate: GateCheck;
  /** Of an experiment with a limit: [version and handouts as read] handouts + 1. */
  readonly turnstile?: { readonly version: number; readonly handouts: number };
  readonly segment: SegmentWrite;
  /** Post-images: OPEN, rev 0; [absent]. At most 10, each to another worker. */
  readonly leases: readonly Lease[];
  readonly sessions: readonly number[];
}

/** [state = OPEN and rev as expected]. The lease of a commit keeps its hold. */
export interface LeaseWrite {
  readonly post: Lease;
  readonly expectRev: number;
}

/** Fold, give back or close leases of ONE segment. For each post that is CLOSED the worker gets its reservation back, once. */
export interface Settle {
  readonly leases: readonly LeaseWrite[];
  readonly segment: SegmentWrite;
  readonly sums?: SetSums;
}

export interface Skip {
  readonly gate: GateCheck;
  readonly segment: SegmentWrite;
  readonly sums?: SetSums;
}

/** Experiment and all of its gates together: the linearization point of every change of status (T6). */
export interface Turn {
  /** [version as expected]; post carries version + 1. */
  readonly post: Experiment;
  readonly expectVersion: number;
}

export interface Reopen {
  /** [version as expected and generation < post.generation]. */
  readonly segment: SegmentWrite;
  readonly sums?: SetSums;
}

export interface LiveChoice {
  readonly status?: ExperimentState;
  readonly from?: ExperimentId;
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly cursor?: string;
}

export interface TaskStore {
  /**
   * Puts the experiment [absent], its gates and its sets, which start at next 0. At most 64 sets. When it names a project: that
   * one [present and not archived], else refused by `project`.
   */
  createExperiment(experiment: Experiment, sets: readonly TaskSet[]): Promise<WriteOutcome>;
  readExperiment(id: ExperimentId): Promise<Experiment | undefined>;
  readGate(id: ExperimentId, shard: number): Promise<Gate | undefined>;
  /** In order of their ordinals. */
  readSets(id: ExperimentId): Promise<readonly TaskSet[]>;
  readSegment(key: SegmentKey): Promise<Segment | undefined>;
  /** Up to 100 segments of one set, by number from `from`. Absent ones are left out. */
  readSegments(experiment: ExperimentId, set: number, from: number, limit: number): Promise<readonly Segment[]>;
  readLease(key: LeaseKey): Promise<Lease | undefined>;
  /** Leases of a segment by falling epoch. */
  listLeases(key: SegmentKey, options: { readonly limit: number; readonly cursor?: string }): Promise<Page<Lease>>;

  turn(change: Turn): Promise<WriteOutcome>;
  assign(change: Assign): Promise<WriteOutcome>;
  /** One conditional update of the lease alone. */
  commit(change: LeaseWrite): Promise<WriteOutcome>;
  settle(change: Settle): Promise<WriteOutcome>;
  skip(change: Skip): Promise<WriteOutcome>;
  /** Skips a whole unborn barrier set [gate; next = 0 and not skipAll]. */
  skipSet(gate: GateCheck, set: { readonly experiment: ExperimentId; readonly ordinal: number }): Promise<WriteOutcome>;
  reopen(change: Reopen): Promise<WriteOutcome>;
  /** Undoes {@link skipSet} under a newer generation [generation < given]; sets the set's generation in any case. */
  reopenSet(set: { readonly experiment: ExperimentId; readonly ordinal: number }, generation: number): Promise<WriteOutcome>;

  /**
   * Deletion, in this order, and only of an experiment that was read as DELETING with no lease open. Unconditional: its
   * ids never return, so these do no harm when they are late; every other write needs an item that is gone then.
   * The first deletes all leases of a segment and then the segment: one that can't be read any more has none.
   */
  removeSegment(key: SegmentKey): Promise<WriteOutcome>;
  removeSet(set: { readonly experiment: ExperimentId; readonly ordinal: number }): Promise<WriteOutcome>;
  /**
   * Deletes the gates and leaves a tombstone of the experiment [version as given] for {@link TOMBSTONE_MS}: it can't be
   * read, and a creation that comes late is refused by it.
   */
  removeExperiment(experiment: Experiment): Promise<WriteOutcome>;

  /** Hint: segments of the experiment with something to hand out, in no order. */
  openSegments(id: ExperimentId, limit: number): Promise<readonly SegmentKey[]>;
  /** Hint: experiments that are live, in this state only when it is given; those from `from` on come before the others. */
  liveExperiments(limit: number, wanted?: LiveChoice): Promise<readonly Experiment[]>;
  /** Experiments that name the project, newest first. */
  listProject(project: ProjectId, options: { readonly limit: number; readonly cursor?: string }): Promise<Page<Experiment>>;
  /** Hint: experiments that have ended and are kept for a time; those from `from` on come before the others. */
  keptExperiments(limit: number, from?: ExperimentId): Promise<readonly Experiment[]>;
  /** Experiments of an owner, newest first. Hint: may lag. */
  listExperiments(owner: UserId, options: { readonly limit: number; readonly cursor?: string }): Promise<Page<Experiment>>;
}
