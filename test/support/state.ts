/** Builders of stored state and of the changes that the stores take. */
import type { Capacity } from "#domain/capacity.ts";
import type { Experiment, TaskSet } from "#domain/experiment.ts";
import { type ExperimentId, type GatewayId, makeId, type UserId, type WorkerId } from "#domain/id.ts";
import { emptySet, type IndexSet, minus, rangeSet, sizeOf, union } from "#domain/index-set.ts";
import type { Lease } from "#domain/lease.ts";
import { isFinished, type Segment, type SegmentKey, segmentsFor } from "#domain/segment.ts";
import type { Worker, WorkerKey } from "#domain/worker.ts";
import type { Assign, LeaseWrite, Settle, SetSums } from "#ports/task-store.ts";

export const NOW_MS = 1_800_000_000_000;

const bytesOf = (n: number): Uint8Array => Uint8Array.from({ length: 10 }, (_, i) => Math.floor(n / 256 ** i) % 256);
export const experimentId = (n: number): ExperimentId => makeId("experiment", NOW_MS, bytesOf(n));
export const workerId = (n: number): WorkerId => makeId("worker", NOW_MS, bytesOf(n));
export const userId = (n: number): UserId => makeId("user", NOW_MS, bytesOf(n));
export const gatewayId = (n: number): GatewayId => makeId("gateway", NOW_MS, bytesOf(n));

export const SLOT: Capacity = { cpuMilli: 1000, memoryMib: 512, gpu: 0 };

export const anExperiment = (over: Partial<Experiment> = {}): Experiment => ({
  id: experimentId(1),
  owner: userId(1),
  name: "sweep",
  status: "RUNNING",
  generation: 1,
  version: 1,
  planHash: "a".repeat(64),
  gates: 1,
  taskCount: 10_000,
  priority: 0,
  weight: 100,
  createdAtMs: NOW_MS,
  live: true,
  ...over,
});

export const aSet = (over: Partial<TaskSet> = {}): TaskSet => ({
  experiment: experimentId(1),
  ordinal: 0,
  count: 10_000,
  segments: segmentsFor(over.count ?? 10_000),
  next: 0,
  closed: 0,
  done: 0,
  failed: 0,
  skipped: 0,
  generation: 1,
  skipAll: false,
  ...over,
});

export const aSegmentKey = (segment = 0, set = 0, experiment = experimentId(1)): SegmentKey => ({ experiment, set, segment });

/** As it would be if it were born with nothing handed out. */
export const anUnbornSegment = (key: SegmentKey = aSegmentKey(), generation = 1): Segment => ({
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

export const aWorker = (over: Partial<Worker> = {}): Worker => ({
  key: { id: workerId(1), incarnation: 1 },
  pool: "local",
  state: "READY",
  size: { cpuMilli: 4000, memoryMib: 4096, gpu: 1 },
  cap: { cpuMilli: 8000, memoryMib: 8192, gpu: 2 },
  free: over.cap ?? { cpuMilli: 8000, memoryMib: 8192, gpu: 2 },
  leases: new Set(),
  session: 0,
  gateway: undefined,
  beat: 0,
  expiresAtMs: NOW_MS + 90_000,
  endsAtMs: undefined,
  packages: [],
  phases: new Map(),
  host: "node-1",
  version: "1.0.0",
  ...over,
});

export interface LeasePlan {
  readonly worker: WorkerKey;
  readonly session?: number;
  readonly hold: IndexSet;
  readonly reserved?: Capacity;
}

/** The assignment of `plans` from a segment as read (`born` false: it isn't there yet). */
export function anAssign(
  from: { readonly segment: Segment; readonly born: boolean; readonly setCount?: number; readonly gates?: number },
  plans: readonly LeasePlan[],
): Assign {
  const { segment } = from;
  const leases = plans.map(
    (p, i): Lease => ({
      key: { ...segment.key, epoch: segment.epoch + 1 + i },
      worker: p.worker,
      nonce: `nonce-${segment.epoch + 1 + i}`,
      state: "OPEN",
      rev: 0,
      hold: p.hold,
      done: emptySet(),
      failed: emptySet(),
      causes: new Map(),
      refs: [],
      reserved: p.reserved ?? SLOT,
      runMs: 0,
      failedMs: 0,
      assignedAtMs: NOW_MS,
    }),
  );
  const post = {
    ...segment,
    version: segment.version + 1,
    epoch: segment.epoch + plans.length,
    leased: union(segment.leased, ...plans.map((p) => p.hold)),
  };
  return {
    gate: { experiment: segment.key.experiment, shard: segment.key.segment % (from.gates ?? 1), generation: segment.generation },
    segment: { post, expect: from.born ? { version: segment.version } : "unborn", setCount: from.setCount ?? 10_000 },
    leases,
    sessions: plans.map((p) => p.session ?? 0),
  };
}

/** A commit of `done` and `failed` on top of what the lease has. */
export const aCommit = (lease: Lease, done: IndexSet, failed: IndexSet = emptySet()): LeaseWrite => ({
  post: { ...lease, rev: lease.rev + 1, done: union(lease.done, done), failed: union(lease.failed, failed) },
  expectRev: lease.rev,
});

/** Folds what the leases have committed and gives back `give` of each; closes those that hold nothing then. */
export function aSettle(
  segment: Segment,
  leases: readonly Lease[],
  options: { readonly give?: IndexSet; readonly setCount?: number } = {},
): Settle {
  const count = options.setCount ?? 10_000;
  const give = options.give ?? emptySet();
  let post: Segment = { ...segment, version: segment.version + 1 };
  const writes = leases.map((l): LeaseWrite => {
    const hold = minus(l.hold, l.done, l.failed, give);
    post = {
      ...post,
      leased: union(minus(post.leased, l.hold), hold),
      done: union(post.done, l.done),
      failed: union(post.failed, l.failed),
    };
    const closed = sizeOf(hold) === 0;
    return { post: { ...l, rev: l.rev + 1, hold, ...(closed ? { state: "CLOSED", closeCause: "finished" } : {}) }, expectRev: l.rev };
  });
  const closes = !segment.closed && isFinished(post, count);
  if (closes) post = { ...post, closed: true };
  const sums: SetSums = { closed: 1, done: sizeOf(post.done), failed: sizeOf(post.failed), skipped: sizeOf(post.skipped) };
  return { leases: writes, segment: { post, expect: { version: segment.version }, setCount: count }, ...(closes ? { sums } : {}) };
}

export const range = rangeSet;
