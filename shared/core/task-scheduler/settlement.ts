/**
 * Settlement: the one effectful loop behind commit, fold, close, give-back and reclaim.
 *
 * Results are in the object store before this is called. Every try reads the leases and the segment strongly, computes
 * post-images, and writes them under the revision and version that it read (T2, T3). Refused or unknown: read again;
 * what a lease lists as committed is then acknowledged, whoever wrote it (T4).
 */
import type { IndexSet } from "#domain/index-set.ts";
import { emptySet, isEmptySet, minus, union } from "#domain/index-set.ts";
import { type BackCause, type Lease, type LeaseKey, leaseName } from "#domain/lease.ts";
import type { Segment, SegmentKey } from "#domain/segment.ts";
import type { Clock } from "#ports/clock.ts";
import type { Random } from "#ports/random.ts";
import type { LeaseWrite, TaskStore, WriteOutcome } from "#ports/task-store.ts";
import { type Batch, commitBatch, foldLease, sealSegment } from "./fold.ts";
import { LEASES_PER_ASSIGN, WRITE_JITTER_MS, WRITE_TRIES } from "./limits.ts";
import type { Plans } from "./plans.ts";

export interface SettleRequest {
  readonly lease: LeaseKey;
  readonly batches?: readonly Batch[];
  /** Tasks that come back without an outcome: a set, or everything that the lease holds. */
  readonly back?: { readonly tasks: IndexSet | "all"; readonly cause: BackCause };
  /** Move committed outcomes into the segment now although the lease stays open. */
  readonly fold: boolean;
}

export interface SettleReport {
  readonly lease: LeaseKey;
  /** Committed under this lease, by whoever: to be acknowledged. */
  readonly committed: IndexSet;
  /** What the lease still holds; empty when it is closed or unknown. */
  readonly hold: IndexSet;
  readonly state: "OPEN" | "CLOSED" | "ABSENT";
  /** Something moved into the segment. */
  readonly folded: boolean;
  /** Nothing could be decided: the caller comes again. */
  readonly undecided: boolean;
}

export interface Settlement {
  /** All requests must be of one segment; at most 10 are put into one transaction. */
  settle(segment: SegmentKey, requests: readonly SettleRequest[]): Promise<readonly SettleReport[]>;
}

interface Deps {
  readonly store: TaskStore;
  readonly plans: Plans;
  readonly clock: Clock;
  readonly random: Random;
}

const report = (key: LeaseKey, lease: Lease | undefined, folded: boolean, undecided = false): SettleReport => ({
  lease: key,
  committed: lease === undefined ? emptySet() : union(lease.done, lease.failed),
  hold: lease?.state === "OPEN" ? lease.hold : emptySet(),
  state: lease?.state ?? "ABSENT",
  folded,
  undecided,
});

interface Draft {
  readonly request: SettleRequest;
  readonly before: Lease;
  /** With the batches committed; same as `before` when nothing was new. */
  readonly lease: Lease;
  readonly folds: boolean;
}

function draft(request: SettleRequest, before: Lease): Draft | undefined {
  let lease = before;
  for (const batch of request.batches ?? []) lease = commitBatch(lease, batch) ?? lease;
  const committed = union(lease.done, lease.failed);
  const rest = minus(lease.hold, committed);
  const toFold = !isEmptySet(minus(lease.hold, rest));
  const gives =
    request.back !== undefined &&
    (request.back.tasks === "all" ? !isEmptySet(rest) : !isEmptySet(minus(request.back.tasks, minus(request.back.tasks, rest))));
  const folds = gives || (toFold && (request.fold || isEmptySet(rest)));
  return lease === before && !folds ? undefined : { request, before, lease, folds };
}

export function createSettlement(deps: Deps): Settlement {
  async function writeFolds(key: SegmentKey, drafts: readonly Draft[]): Promise<WriteOutcome> {
    const { plan } = await deps.plans.of(key.experiment);
    const planSet = plan.sets[key.set];
    const old = await deps.store.readSegment(key);
    if (planSet === undefined || old === undefined) return { kind: "unknown" };
    let segment: Segment = old;
    const leases: LeaseWrite[] = [];
    for (const d of drafts) {
      const back = d.request.back;
      const tasks = back === undefined ? emptySet() : back.tasks === "all" ? d.lease.hold : back.tasks;
      const folded = foldLease(segment, d.lease, { tasks, cause: back?.cause ?? "given-back" }, { planSet, nowMs: deps.clock.now() });
      segment = folded.segment;
      leases.push({ post: { ...folded.lease, rev: d.before.rev + 1 }, expectRev: d.before.rev });
    }
    const { post, sums } = sealSegment(old, segment, planSet.count);
    const write = { post, expect: { version: old.version }, setCount: planSet.count };
    return deps.store.settle({ leases, segment: write, ...(sums === undefined ? {} : { sums }) });
  }

  async function attempt(
    key: SegmentKey,
    requests: readonly SettleRequest[],
  ): Promise<{ reports: SettleReport[]; again: SettleRequest[] }> {
    const leases = await Promise.all(requests.map((r) => deps.store.readLease(r.lease)));
    const reports: SettleReport[] = [];
    const drafts: Draft[] = [];
    requests.forEach((request, i) => {
      const lease = leases[i];
      const made = lease?.state === "OPEN" ? draft(request, lease) : undefined;
      if (made === undefined) reports.push(report(request.lease, lease, false));
      else drafts.push(made);
    });
    const folds = drafts.filter((d) => d.folds);
    const again: SettleRequest[] = [];
    if (folds.length > 0) {
      // The post-images are read back on the next round: one read decides what to acknowledge, however this ends.
      const outcome = await writeFolds(key, folds);
      for (const d of folds) {
        if (outcome.kind === "done") reports.push(report(d.request.lease, await deps.store.readLease(d.request.lease), true));
        else again.push(d.request);
      }
    }
    for (const d of drafts.filter((x) => !x.folds)) {
      const post = { ...d.lease, rev: d.before.rev + 1 };
      const outcome = await deps.store.commit({ post, expectRev: d.before.rev });
      if (outcome.kind === "done") reports.push(report(d.request.lease, post, false));
      else again.push(d.request);
    }
    return { reports, again };
  }

  async function settleSome(key: SegmentKey, requests: readonly SettleRequest[]): Promise<SettleReport[]> {
    const reports: SettleReport[] = [];
    let waiting = requests;
    for (let i = 0; i < WRITE_TRIES && waiting.length > 0; i++) {
      if (i > 0) await deps.clock.sleep(deps.random.next() * WRITE_JITTER_MS * i);
      const round = await attempt(key, waiting);
      reports.push(...round.reports);
      waiting = round.again;
    }
    return [...reports, ...waiting.map((r) => report(r.lease, undefined, false, true))];
  }

  return {
    async settle(key, requests) {
      const merged = new Map<string, SettleRequest>();
      for (const r of requests) {
        const name = leaseName(r.lease);
        const old = merged.get(name);
        merged.set(name, old === undefined ? r : join(old, r));
      }
      const all = [...merged.values()];
      const reports: SettleReport[] = [];
      for (let i = 0; i < all.length; i += LEASES_PER_ASSIGN) reports.push(...(await settleSome(key, all.slice(i, i + LEASES_PER_ASSIGN))));
      return reports;
    },
  };
}

/** Two requests for one lease become one (an item may stand in a transaction once); the graver cause stays. */
function join(a: SettleRequest, b: SettleRequest): SettleRequest {
  const backs = [a.back, b.back].filter((x) => x !== undefined);
  const all = backs.find((x) => x.tasks === "all");
  const back =
    all ??
    (backs.length === 2
      ? { tasks: union(...backs.map((x) => x.tasks as IndexSet)), cause: (backs[0] as { cause: BackCause }).cause }
      : backs[0]);
  return {
    lease: a.lease,
    batches: [...(a.batches ?? []), ...(b.batches ?? [])],
    fold: a.fold || b.fold,
    ...(back === undefined ? {} : { back }),
  };
}
