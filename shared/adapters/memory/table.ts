/**
 * The memory table: what the memory TaskStore and WorkerStore share, and the reference model of the stored state.
 *
 * - A transaction is a list of operations, each with a check and an effect. All checks run first, in order; the first
 *   that fails refuses and nothing changes. There is no await between check and effect.
 * - Values are copied on the way in and on the way out: no caller can change what is stored.
 * - Iteration is by key, so equal histories give equal lists.
 */
import type { Capacity } from "#domain/capacity.ts";
import type { Experiment, Gate, TaskSet } from "#domain/experiment.ts";
import type { IndexSet } from "#domain/index-set.ts";
import type { Lease } from "#domain/lease.ts";
import type { Segment, Tries } from "#domain/segment.ts";
import type { Worker } from "#domain/worker.ts";
import type { ProjectRecord } from "#ports/project-store.ts";
import type { Refuser, WriteOutcome } from "#ports/task-store.ts";
import type { GatewayRecord, JoinToken } from "#ports/worker-store.ts";

export interface MemorySnapshot {
  readonly experiments: readonly Experiment[];
  readonly gates: readonly Gate[];
  readonly sets: readonly TaskSet[];
  readonly segments: readonly Segment[];
  readonly leases: readonly Lease[];
  readonly workers: readonly Worker[];
}

export interface StoredToken extends JoinToken {
  readonly used: boolean;
}

/** Keys: experiment id; `<experiment>/<shard>`; `<experiment>/<ordinal>`; segmentName; leaseName; worker id; workerName; hash; gateway id. */
export interface MemoryTable {
  readonly experiments: Map<string, Experiment>;
  /** Of experiments that were deleted. */
  readonly tombstones: Set<string>;
  readonly gates: Map<string, Gate>;
  readonly sets: Map<string, TaskSet>;
  readonly segments: Map<string, Segment>;
  readonly leases: Map<string, Lease>;
  readonly heads: Map<string, number>;
  readonly workers: Map<string, Worker>;
  readonly tokens: Map<string, StoredToken>;
  readonly gateways: Map<string, GatewayRecord>;
  readonly projects: Map<string, ProjectRecord>;
  /** Copies of everything that the protocol's invariants speak of, by key. */
  snapshot(): MemorySnapshot;
}

export function createMemoryTable(): MemoryTable {
  const table = {
    experiments: new Map<string, Experiment>(),
    tombstones: new Set<string>(),
    gates: new Map<string, Gate>(),
    sets: new Map<string, TaskSet>(),
    segments: new Map<string, Segment>(),
    leases: new Map<string, Lease>(),
    heads: new Map<string, number>(),
    workers: new Map<string, Worker>(),
    tokens: new Map<string, StoredToken>(),
    gateways: new Map<string, GatewayRecord>(),
    projects: new Map<string, ProjectRecord>(),
  };
  return {
    ...table,
    snapshot: () => ({
      experiments: sorted(table.experiments).map(copyExperiment),
      gates: sorted(table.gates).map((g) => ({ ...g })),
      sets: sorted(table.sets).map((s) => ({ ...s })),
      segments: sorted(table.segments).map(copySegment),
      leases: sorted(table.leases).map(copyLease),
      workers: sorted(table.workers).map(copyWorker),
    }),
  };
}

/** One item of a transaction. `check` reads only what was there before; no two operations of a transaction share an item. */
export interface Operation {
  readonly by: Refuser;
  readonly index: number;
  readonly check: () => boolean;
  readonly effect?: () => void;
}

/** All or nothing. */
export function transact(operations: readonly Operation[]): WriteOutcome {
  const refuser = operations.find((o) => !o.check());
  if (refuser !== undefined) return { kind: "refused", by: refuser.by, index: refuser.index };
  for (const o of operations) o.effect?.();
  return { kind: "done" };
}

/** Values by ascending key; numbers within keys compare as numbers. */
export function sorted<T>(map: ReadonlyMap<string, T>): T[] {
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  return [...map].sort((a, b) => compare(a[0], b[0])).map(([, value]) => value);
}

export const copyExperiment = (e: Experiment): Experiment => ({
  ...e,
  ...(e.budget === undefined ? {} : { budget: { ...e.budget } }),
  ...(e.labels === undefined ? {} : { labels: { ...e.labels } }),
  ...(e.operation === undefined ? {} : { operation: { id: e.operation.id, select: { ...e.operation.select } } }),
});

const copySet = (s: IndexSet): IndexSet => s.slice() as IndexSet;
const copyCapacity = (c: Capacity): Capacity => ({ ...c });

export const copySegment = (s: Segment): Segment => ({
  ...s,
  key: { ...s.key },
  leased: copySet(s.leased),
  done: copySet(s.done),
  failed: copySet(s.failed),
  skipped: copySet(s.skipped),
  tries: new Map([...s.tries].sort(([a], [b]) => a - b).map(([task, t]) => [task, storedTries(t)])),
});

/** As every store keeps them: counts saturate at 255, the time is rounded up to whole seconds. */
const storedTries = (t: Tries): Tries => ({
  attempts: Math.min(255, t.attempts),
  losses: Math.min(255, t.losses),
  notBeforeMs: Math.ceil(t.notBeforeMs / 1000) * 1000,
});

export const copyLease = (l: Lease): Lease => ({
  ...l,
  key: { ...l.key },
  worker: { ...l.worker },
  hold: copySet(l.hold),
  done: copySet(l.done),
  failed: copySet(l.failed),
  causes: new Map([...l.causes].sort(([a], [b]) => a - b)),
  refs: l.refs.map((r) => ({ ...r, mask: copySet(r.mask) })),
  reserved: copyCapacity(l.reserved),
  ...(l.back === undefined
    ? {}
    : { back: new Map([...l.back].sort(([a], [b]) => (a < b ? -1 : 1)).map(([cause, tasks]) => [cause, copySet(tasks)])) }),
});

export const copyWorker = (w: Worker): Worker => ({
  ...w,
  key: { ...w.key },
  size: copyCapacity(w.size),
  cap: copyCapacity(w.cap),
  free: copyCapacity(w.free),
  leases: new Set([...w.leases].sort()),
  packages: [...w.packages],
  phases: copyPhases(w.phases),
});
export const copyPhases = (phases: Worker["phases"] = new Map()): Worker["phases"] =>
  new Map([...phases].sort(([a], [b]) => (a < b ? -1 : 1)));
