/**
 * TaskStore in memory: the reference model. Each method states its conditions as operations of one transaction, in the
 * order in which the DynamoDB adapter lists its items, so that both name the same refuser.
 */
import { addCapacity, fitsCapacity, minusCapacity, NO_CAPACITY } from "#domain/capacity.ts";
import { assert, SchedulerError } from "#domain/error.ts";
import { type Experiment, isKeptForATime, ownerPlace, placedIn } from "#domain/experiment.ts";
import type { ExperimentId } from "#domain/id.ts";
import { type Lease, leaseName } from "#domain/lease.ts";
import { isOpen, type SegmentKey, segmentName } from "#domain/segment.ts";
import { WORKER_LEASES_MAX, workerName } from "#domain/worker.ts";
import type {
  Assign,
  GateCheck,
  LeaseWrite,
  Page,
  SegmentWrite,
  SetSums,
  Settle,
  TaskStore,
  Turn,
  WriteOutcome,
} from "#ports/task-store.ts";
import { copyExperiment, copyLease, copySegment, type MemoryTable, type Operation, sorted, transact } from "./table.ts";

const SETS_MAX = 64;
const SEGMENTS_READ_MAX = 100;
const LEASES_MAX = 10;

export function createMemoryTaskStore(table: MemoryTable): TaskStore {
  return {
    createExperiment: async (experiment, sets) => transact(creation(table, experiment, sets)),
    readExperiment: async (id) => mapped(table.experiments.get(id), copyExperiment),
    readGate: async (id, shard) => mapped(table.gates.get(`${id}/${shard}`), (g) => ({ ...g })),
    readSets: async (id) =>
      [...table.sets.values()]
        .filter((s) => s.experiment === id)
        .sort((a, b) => a.ordinal - b.ordinal)
        .map((s) => ({ ...s })),
    readSegment: async (key) => mapped(table.segments.get(segmentName(key)), copySegment),
    readSegments: async (experiment, set, from, limit) => {
      const numbers = Array.from({ length: Math.min(limit, SEGMENTS_READ_MAX) }, (_, i) => from + i);
      const found = numbers.map((segment) => table.segments.get(segmentName({ experiment, set, segment })));
      return found.filter((s) => s !== undefined).map(copySegment);
    },
    readLease: async (key) => mapped(table.leases.get(leaseName(key)), copyLease),
    listLeases: async (key, options) => listLeases(table, key, options),

    turn: async (change) => transact(turning(table, change)),
    assign: async (change) => transact(assignment(table, change)),
    commit: async (change) => {
      assert(change.post.state === "OPEN", "a commit leaves its lease open");
      return transact([leaseWrite(table, change, 0)]);
    },
    settle: async (change) => transact(settlement(table, change)),
    skip: async (change) => transact([gateIsOpen(table, change.gate), ...segmentWrite(table, change.segment, change.sums)]),
    skipSet: async (gate, set) => transact([gateIsOpen(table, gate), setSkipping(table, gate, set)]),
    reopen: async ({ segment, sums }) => {
      assert(segment.expect !== "unborn", "an unborn segment has nothing to reopen");
      return transact(segmentWrite(table, segment, sums, segment.post.generation));
    },
    reopenSet: async (set, generation) => transact([setReopening(table, set, generation)]),

    removeSegment: async (key) => removeSegment(table, key),
    removeSet: async ({ experiment, ordinal }) => {
      table.sets.delete(`${experiment}/${ordinal}`);
      return { kind: "done" };
    },
    removeExperiment: async (experiment) => transact(removal(table, experiment)),

    openSegments: async (id, limit) => openSegments(table, id, limit),
    liveExperiments: async (limit, { status, from } = {}) => {
      const live = [...table.experiments.values()].filter((e) => e.live && (status === undefined || e.status === status));
      return inTurnFrom(live, from, limit);
    },
    keptExperiments: async (limit, from) => inTurnFrom([...table.experiments.values()].filter(isKeptForATime), from, limit),
    listProject: async (project, options) => listExperiments(table, (e) => e.project === project, options),
    listExperiments: async (owner, options) => listExperiments(table, (e) => e.owner === owner, options),
  };
}

function inTurnFrom(found: readonly Experiment[], from: ExperimentId | undefined, limit: number): Experiment[] {
  const ordered = [...found].sort((a, b) => (a.id < b.id ? -1 : 1));
  const isBefore = (e: Experiment): boolean => from !== undefined && e.id < from;
  return [...ordered.filter((e) => !isBefore(e)), ...ordered.filter(isBefore)].slice(0, limit).map(copyExperiment);
}

function removeSegment(table: MemoryTable, key: SegmentKey): WriteOutcome {
  const name = segmentName(key);
  for (const [lease, { key: of }] of table.leases) if (segmentName(of) === name) table.leases.delete(lease);
  table.segments.delete(name);
  return { kind: "done" };
}

/** The tombstone stays. */
function removal(table: MemoryTable, { id, version, gates }: Experiment): Operation[] {
  return [
    {
      by: "experiment",
      index: 0,
      check: () => table.experiments.get(id)?.version === version,
      effect: () => {
        table.experiments.delete(id);
        table.tombstones.add(id);
        for (let shard = 0; shard < gates; shard++) table.gates.delete(`${id}/${shard}`);
      },
    },
  ];
}

function mapped<T>(value: T | undefined, copy: (value: T) => T): T | undefined {
  return value === undefined ? undefined : copy(value);
}

function creation(table: MemoryTable, experiment: Experiment, sets: Parameters<TaskStore["createExperiment"]>[1]): Operation[] {
  assert(sets.length <= SETS_MAX, `at most ${SETS_MAX} sets`);
  const { id, status, generation } = experiment;
  const absent = (by: Operation["by"], index: number, map: ReadonlyMap<string, unknown>, key: string, effect: () => void): Operation => ({
    by,
    index,
    check: () => !map.has(key),
    effect,
  });
  return [
    {
      ...absent("experiment", 0, table.experiments, id, () => table.experiments.set(id, copyExperiment(experiment))),
      check: () => !table.experiments.has(id) && !table.tombstones.has(id),
    },
    ...Array.from({ length: experiment.gates }, (_, shard) =>
      absent("gate", shard, table.gates, `${id}/${shard}`, () =>
        table.gates.set(`${id}/${shard}`, { experiment: id, shard, status, generation }),
      ),
    ),
    ...sets.map((s, index) =>
      absent("set", index, table.sets, `${id}/${s.ordinal}`, () => table.sets.set(`${id}/${s.ordinal}`, { ...s, next: 0 })),
    ),
    ...(experiment.project === undefined
      ? []
      : [{ by: "project", index: 0, check: () => table.projects.get(experiment.project ?? "")?.archived === false } as const]),
  ];
}

/** T6: status and generation of the experiment and of all of its gates move together. */
function turning(table: MemoryTable, { post, expectVersion }: Turn): Operation[] {
  assert(post.version === expectVersion + 1, "a turn raises the version by one");
  return [
    {
      by: "experiment",
      index: 0,
      check: () => table.experiments.get(post.id)?.version === expectVersion,
      effect: () => table.experiments.set(post.id, copyExperiment(post)),
    },
    ...Array.from({ length: post.gates }, (_, shard): Operation => {
      const key = `${post.id}/${shard}`;
      const gate = { experiment: post.id, shard, status: post.status, generation: post.generation };
      return { by: "gate", index: shard, check: () => table.gates.has(key), effect: () => table.gates.set(key, gate) };
    }),
  ];
}

function assignment(table: MemoryTable, change: Assign): Operation[] {
  const { leases, sessions, segment } = change;
  assert(leases.length >= 1 && leases.length <= LEASES_MAX, `1 to ${LEASES_MAX} leases`);
  assert(sessions.length === leases.length, "one session for each lease");
  assert(new Set(leases.map((l) => workerName(l.worker))).size === leases.length, "each lease goes to another worker");
  for (const l of leases) {
    assert(l.state === "OPEN" && l.rev === 0, "a new lease is OPEN at rev 0");
    assert(segmentName(l.key) === segmentName(segment.post.key), "leases of one segment");
  }
  return [
    gateIsOpen(table, change.gate),
    ...turnstile(table, change),
    ...segmentWrite(table, segment),
    ...leases.map((lease, index): Operation => {
      const key = leaseName(lease.key);
      return { by: "lease", index, check: () => !table.leases.has(key), effect: () => table.leases.set(key, copyLease(lease)) };
    }),
    ...leases.map((lease, index) => reservation(table, lease, sessions[index] as number, index)),
  ];
}

/** Assignments of a limited experiment come one after the other. */
function turnstile(table: MemoryTable, { gate, turnstile: expect }: Assign): Operation[] {
  if (expect === undefined) return [];
  const e = table.experiments.get(gate.experiment);
  const check = () => e?.version === expect.version && (e.handouts ?? 0) === expect.handouts;
  const effect = () => e !== undefined && table.experiments.set(e.id, { ...e, handouts: expect.handouts + 1 });
  return [{ by: "experiment", index: 0, check, effect }];
}

/** W1: only a READY worker in its session. W2: what is handed out never exceeds what it registered. */
function reservation(table: MemoryTable, lease: Lease, session: number, index: number): Operation {
  const key = workerName(lease.worker);
  const worker = table.workers.get(key);
  return {
    by: "worker",
    index,
    check: () =>
      worker !== undefined &&
      worker.state === "READY" &&
      worker.session === session &&
      fitsCapacity(lease.reserved, worker.free) &&
      worker.leases.size < WORKER_LEASES_MAX,
    effect: () => {
      if (worker === undefined) return;
      const leases = new Set([...worker.leases, leaseName(lease.key)].sort());
      table.workers.set(key, { ...worker, free: minusCapacity(worker.free, lease.reserved), leases });
    },
  };
}

function settlement(table: MemoryTable, { leases, segment, sums }: Settle): Operation[] {
  assert(leases.length >= 1 && leases.length <= LEASES_MAX, `1 to ${LEASES_MAX} leases`);
  assert(segment.expect !== "unborn", "a segment with a lease is born");
  for (const l of leases) assert(segmentName(l.post.key) === segmentName(segment.post.key), "leases of one segment");
  return [...leases.map((l, index) => leaseWrite(table, l, index)), ...segmentWrite(table, segment, sums), ...returns(table, leases)];
}

/** [state = OPEN and rev as expected] (T2: nothing is written under a lease that is closed or has moved on). */
function leaseWrite(table: MemoryTable, { post, expectRev }: LeaseWrite, index: number): Operation {
  assert(post.rev === expectRev + 1, "a lease write raises rev by one");
  const key = leaseName(post.key);
  return {
    by: "lease",
    index,
    check: () => {
      const stored = table.leases.get(key);
      return stored?.state === "OPEN" && stored.rev === expectRev;
    },
    effect: () => table.leases.set(key, copyLease(post)),
  };
}

/** One operation for each worker that gets reservations back; its index is that of its first closed lease. */
function returns(table: MemoryTable, leases: readonly LeaseWrite[]): Operation[] {
  const byWorker = new Map<string, { index: number; closed: Lease[] }>();
  for (const [index, { post }] of leases.entries()) {
    if (post.state !== "CLOSED") continue;
    const key = workerName(post.worker);
    const entry = byWorker.get(key) ?? { index, closed: [] };
    entry.closed.push(post);
    byWorker.set(key, entry);
  }
  return [...byWorker].map(([key, { index, closed }]): Operation => {
    const worker = table.workers.get(key);
    const names = closed.map((l) => leaseName(l.key));
    return {
      by: "worker",
      index,
      check: () => worker !== undefined && names.every((n) => worker.leases.has(n)),
      effect: () => {
        if (worker === undefined) return;
        const free = addCapacity(
          worker.free,
          closed.reduce((sum, l) => addCapacity(sum, l.reserved), NO_CAPACITY),
        );
        table.workers.set(key, { ...worker, free, leases: new Set([...worker.leases].filter((l) => !names.includes(l))) });
      },
    };
  });
}

function gateIsOpen(table: MemoryTable, gate: GateCheck): Operation {
  const stored = table.gates.get(`${gate.experiment}/${gate.shard}`);
  return { by: "gate", index: 0, check: () => stored?.status === "RUNNING" && stored.generation === gate.generation };
}

/** The segment, and its set where the segment is born or its sums move. `below`: the stored generation must be less. */
function segmentWrite(table: MemoryTable, { post, expect }: SegmentWrite, sums?: SetSums, below = Number.POSITIVE_INFINITY): Operation[] {
  assert(expect === "unborn" || post.version === expect.version + 1, "a segment write raises the version by one");
  const key = segmentName(post.key);
  const stored = table.segments.get(key);
  const segment: Operation = {
    by: "segment",
    index: 0,
    check: () =>
      expect === "unborn" ? stored === undefined : stored !== undefined && stored.version === expect.version && stored.generation < below,
    effect: () => table.segments.set(key, copySegment(post)),
  };
  if (expect !== "unborn" && sums === undefined) return [segment];
  const setKey = `${post.key.experiment}/${post.key.set}`;
  const set = table.sets.get(setKey);
  return [
    segment,
    {
      by: "set",
      index: 0,
      check: () => set !== undefined && (expect !== "unborn" || set.next === post.key.segment),
      effect: () => {
        if (set === undefined) return;
        table.sets.set(setKey, {
          ...set,
          next: expect === "unborn" ? set.next + 1 : set.next,
          closed: set.closed + (sums?.closed ?? 0),
          done: set.done + (sums?.done ?? 0),
          failed: set.failed + (sums?.failed ?? 0),
          skipped: set.skipped + (sums?.skipped ?? 0),
        });
      },
    },
  ];
}

type SetKey = Parameters<TaskStore["skipSet"]>[1];

function setSkipping(table: MemoryTable, gate: GateCheck, { experiment, ordinal }: SetKey): Operation {
  const key = `${experiment}/${ordinal}`;
  const set = table.sets.get(key);
  return {
    by: "set",
    index: 0,
    check: () => set !== undefined && set.next === 0 && !set.skipAll,
    effect: () => set !== undefined && table.sets.set(key, { ...set, skipAll: true, generation: gate.generation }),
  };
}

function setReopening(table: MemoryTable, { experiment, ordinal }: SetKey, generation: number): Operation {
  const key = `${experiment}/${ordinal}`;
  const set = table.sets.get(key);
  return {
    by: "set",
    index: 0,
    check: () => set !== undefined && set.generation < generation,
    effect: () => set !== undefined && table.sets.set(key, { ...set, skipAll: false, generation }),
  };
}

function listLeases(table: MemoryTable, key: SegmentKey, options: { readonly limit: number; readonly cursor?: string }): Page<Lease> {
  const below = options.cursor === undefined ? Number.POSITIVE_INFINITY : Number(options.cursor);
  const name = segmentName(key);
  const all = [...table.leases.values()]
    .filter((l) => segmentName(l.key) === name && l.key.epoch < below)
    .sort((a, b) => b.key.epoch - a.key.epoch);
  const items = all.slice(0, options.limit).map(copyLease);
  return page(items, all.length, (l) => String(l.key.epoch));
}

function page<T>(items: readonly T[], available: number, cursorOf: (last: T) => string): Page<T> {
  const last = items.at(-1);
  return last === undefined || items.length === available ? { items } : { items, cursor: cursorOf(last) };
}

function openSegments(table: MemoryTable, id: ExperimentId, limit: number): SegmentKey[] {
  const open: SegmentKey[] = [];
  for (const s of sorted(table.segments)) {
    const set = s.key.experiment === id ? table.sets.get(`${id}/${s.key.set}`) : undefined;
    if (set !== undefined && isOpen(s, set.count)) open.push({ ...s.key });
    if (open.length >= limit) break;
  }
  return open;
}

function listExperiments(
  table: MemoryTable,
  isWanted: (experiment: Experiment) => boolean,
  options: { readonly limit: number; readonly cursor?: string },
): Page<Experiment> {
  if (options.cursor !== undefined && placedIn(options.cursor) === undefined)
    throw new SchedulerError("invalid-input", "the cursor is not one of ours; start without it");
  const all = [...table.experiments.values()]
    .filter((e) => isWanted(e) && (options.cursor === undefined || ownerPlace(e) < options.cursor))
    .sort((a, b) => (ownerPlace(a) < ownerPlace(b) ? 1 : -1));
  return page(all.slice(0, options.limit).map(copyExperiment), all.length, ownerPlace);
}
