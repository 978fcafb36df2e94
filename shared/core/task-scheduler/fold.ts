/**
 * The one pure step behind commit, fold, close, give-back and reclaim: (lease, segment, facts) -> post-images.
 *
 * T2, T3: only tasks in `hold` that are not committed yet can be committed. Conservation: what leaves `hold` leaves
 * `segment.leased` in the same transaction, and `leased` is the union of `hold` over open leases.
 */
import { emptySet, hasIndex, type IndexSet, intersect, isEmptySet, members, minus, setOf, sizeOf, union } from "#domain/index-set.ts";
import type { BackCause, CloseCause, Lease, ResultRef } from "#domain/lease.ts";
import { addPace, type Attempted, NO_PACE, type Pace, paceOf, type Span } from "#domain/pace.ts";
import type { FailureCause, PlanSet } from "#domain/plan.ts";
import { isFinished, type Segment, type Tries } from "#domain/segment.ts";
import type { SetSums } from "#ports/task-store.ts";
import { BACKOFF_MS_MAX, LOSSES_MAX } from "./limits.ts";

/** Outcomes that a result object already holds. */
export interface Batch {
  readonly ref: Omit<ResultRef, "mask">;
  readonly done: IndexSet;
  readonly failed: ReadonlyMap<number, FailureCause>;
  /** Run time of each task. */
  readonly runMs: ReadonlyMap<number, number>;
  /** When each was at it; for charts only. */
  readonly spans?: ReadonlyMap<number, Span>;
}

/** The lease with the batch committed, or `undefined` when nothing of it is new. First committed outcome wins. */
export function commitBatch(lease: Lease, batch: Batch): Lease | undefined {
  const open = minus(lease.hold, lease.done, lease.failed);
  const done = intersect(batch.done, open);
  const failed = intersect(setOf(batch.failed.keys()), minus(open, done));
  const mask = union(done, failed);
  if (isEmptySet(mask)) return undefined;
  const causes = new Map(lease.causes);
  for (const i of members(failed)) causes.set(i, batch.failed.get(i) as FailureCause);
  let runMs = lease.runMs;
  for (const i of members(done)) runMs += batch.runMs.get(i) ?? 0;
  let failedMs = lease.failedMs;
  for (const i of members(failed)) failedMs += batch.runMs.get(i) ?? 0;
  return {
    ...lease,
    rev: lease.rev + 1,
    done: union(lease.done, done),
    failed: union(lease.failed, failed),
    causes,
    refs: [...lease.refs, { ...batch.ref, mask }],
    runMs,
    failedMs,
    ...paced(paceIn(batch, done, failed), lease.pace),
  };
}

function paceIn({ spans }: Batch, done: IndexSet, failed: IndexSet): Pace {
  const attempts: Attempted[] = [];
  for (const [index, span] of spans ?? []) {
    if (hasIndex(done, index)) attempts.push({ ...span, outcome: "done" });
    else if (hasIndex(failed, index)) attempts.push({ ...span, outcome: "failed" });
  }
  return paceOf(attempts);
}

/** Absent when nothing is known. */
function paced(a: Pace | undefined, b: Pace | undefined): { readonly pace?: Pace } {
  const pace = addPace(a ?? NO_PACE, b ?? NO_PACE);
  return pace.counts.length === 0 ? {} : { pace };
}

export interface FoldFacts {
  readonly planSet: PlanSet;
  readonly nowMs: number;
}

const LIMIT_U8 = 255;

function afterFailure(old: Tries | undefined, cause: FailureCause, facts: FoldFacts): { tries: Tries; spent: boolean } {
  const attempts = Math.min(LIMIT_U8, (old?.attempts ?? 0) + 1);
  const policy = facts.planSet.retry;
  const waitMs = Math.min(BACKOFF_MS_MAX, policy.backoffMs * 2 ** Math.min(20, attempts - 1));
  return { tries: { attempts, losses: old?.losses ?? 0, notBeforeMs: facts.nowMs + waitMs }, spent: attempts > policy.retries[cause] };
}

/**
 * Moves committed outcomes and `back` (tasks without one that the worker gives up) from the lease to the segment.
 * The segment's version is left as it was: the caller raises it once for all leases of a transaction.
 */
export function foldLease(
  segment: Segment,
  lease: Lease,
  back: { readonly tasks: IndexSet; readonly cause: BackCause },
  facts: FoldFacts,
): { segment: Segment; lease: Lease } {
  const doneNow = intersect(lease.done, lease.hold);
  const failedNow = intersect(lease.failed, lease.hold);
  const returned = minus(intersect(back.tasks, lease.hold), doneNow, failedNow);
  const tries = new Map(segment.tries);
  const spent: number[] = [];
  for (const i of members(doneNow)) tries.delete(i);
  for (const i of members(failedNow)) {
    const next = afterFailure(tries.get(i), lease.causes.get(i) ?? "exit", facts);
    tries.set(i, next.tries);
    if (next.spent) spent.push(i);
  }
  if (back.cause === "worker-lost") {
    for (const i of members(returned)) {
      const old = tries.get(i);
      const losses = Math.min(LIMIT_U8, (old?.losses ?? 0) + 1);
      tries.set(i, { attempts: old?.attempts ?? 0, losses, notBeforeMs: old?.notBeforeMs ?? 0 });
      if (losses >= LOSSES_MAX) spent.push(i);
    }
  }
  const { pace, ...unpaced } = lease;
  const gone = union(doneNow, failedNow, returned);
  const hold = minus(lease.hold, gone);
  const closed = isEmptySet(hold);
  const closeCause: CloseCause = isEmptySet(returned) ? "finished" : back.cause === "worker-fault" ? "given-back" : back.cause;
  return {
    lease: {
      ...unpaced,
      hold,
      rev: lease.rev + 1,
      runMs: 0,
      failedMs: 0,
      state: closed ? "CLOSED" : "OPEN",
      ...(closed ? { closeCause } : {}),
      ...(isEmptySet(returned) ? {} : { back: withBack(lease, back.cause, returned) }),
    },
    segment: {
      ...segment,
      leased: minus(segment.leased, gone),
      done: union(segment.done, doneNow),
      failed: union(segment.failed, setOf(spent)),
      tries,
      runMs: segment.runMs + lease.runMs,
      failedMs: segment.failedMs + lease.failedMs,
      ...paced(segment.pace, pace),
    },
  };
}

function withBack({ back }: Lease, cause: BackCause, returned: IndexSet): ReadonlyMap<BackCause, IndexSet> {
  return new Map([...(back ?? []), [cause, union(back?.get(cause) ?? emptySet(), returned)]]);
}

/** Raises the version and, when the segment has just become complete, closes it and says what its set's sums gain. */
export function sealSegment(old: Segment, changed: Segment, count: number): { post: Segment; sums?: SetSums } {
  const post = { ...changed, version: old.version + 1 };
  if (old.closed || !isFinished(post, count)) return { post };
  return { post: { ...post, closed: true }, sums: sumsOf(post, 1) };
}

export const sumsOf = (s: Segment, sign: 1 | -1): SetSums => ({
  closed: sign,
  done: sign * sizeOf(s.done),
  failed: sign * sizeOf(s.failed),
  skipped: sign * sizeOf(s.skipped),
});

/** A segment that nothing has happened to. */
export const newSegment = (key: Segment["key"], generation: number): Segment => ({
  key,
  version: 0,
  epoch: 0,
  leased: emptySet(),
  done: emptySet(),
  failed: emptySet(),
  skipped: emptySet(),
  tries: new Map(),
  closed: false,
  generation,
  runMs: 0,
  failedMs: 0,
});
