/**
 * TaskStore on DynamoDB. Each method lists the items of one transaction with their named conditions, in the order in
 * which the memory store, the reference model, checks them; so both name the same refuser.
 *
 * Write units where segment <= 2 KB, lease and worker <= 1 KB (twice the items' size, checks included):
 * assign 6 + 4n for n leases, 2 more at birth; commit 1; settle 4 + 4n when closing, 2 more when sums move; turn 2 (1 + gates).
 */
import { addCapacity, NO_CAPACITY } from "#domain/capacity.ts";
import { assert, SchedulerError } from "#domain/error.ts";
import { type Experiment, type Gate, isKeptForATime, ownerPlace, placedIn } from "#domain/experiment.ts";
import type { ExperimentId, ProjectId, UserId } from "#domain/id.ts";
import { type Lease, leaseName } from "#domain/lease.ts";
import { type SegmentKey, segmentName } from "#domain/segment.ts";
import { workerName } from "#domain/worker.ts";
import {
  type Assign,
  type GateCheck,
  type LeaseWrite,
  type Page,
  type Refuser,
  type SegmentWrite,
  type SetSums,
  type Settle,
  type TaskStore,
  TOMBSTONE_MS,
  type Turn,
  type WriteOutcome,
} from "#ports/task-store.ts";
import type { DynamoTable, Write } from "./client.ts";
import {
  experimentFrom,
  experimentItem,
  gateFrom,
  gateItem,
  type Item,
  isTombstone,
  keyItem,
  keyOf,
  leaseFrom,
  leaseItem,
  number,
  segmentFrom,
  segmentItem,
  setFrom,
  setItem,
  text,
  textOf,
  tombstoneItem,
} from "./codec.ts";
import * as when from "./conditions.ts";
import { keysOfShard, queryIndex, queryPartition, readPartition, readThrough } from "./queries.ts";
import {
  epochOf,
  experimentKey,
  gateKey,
  type ItemKey,
  LEASE_PREFIX,
  leaseKey,
  PROJECT_PLACE_PREFIX,
  projectKey,
  projectPlaceKey,
  roomShard,
  SET_PREFIX,
  segmentKey,
  segmentOf,
  setKey,
  shardsOf,
  workerKey,
} from "./keys.ts";
import * as limits from "./limits.ts";

type SetKey = Parameters<TaskStore["skipSet"]>[1];

export function createDynamoTaskStore(table: DynamoTable): TaskStore {
  const transact = (writes: readonly Write[]): Promise<WriteOutcome> => {
    assert(writes.length <= limits.TRANSACTION_ITEMS_MAX, `a transaction of ${writes.length} items`);
    return table.transact(writes);
  };
  return {
    createExperiment: (experiment, sets) => table.transact(creation(experiment, sets)),
    readExperiment: async (id) => {
      const item = await table.get(experimentKey(id));
      return item === undefined || isTombstone(item) ? undefined : experimentFrom(item);
    },
    readGate: async (id, shard) => mapped(await table.get(gateKey(id, shard)), gateFrom),
    readSets: async (id) => (await readPartition(table, experimentKey(id).pk, SET_PREFIX)).map(setFrom),
    readSegment: async (key) => mapped(await table.get(segmentKey(key)), segmentFrom),
    readSegments: async (experiment, set, from, limit) => {
      const length = Math.min(limit, limits.SEGMENTS_READ_MAX);
      const keys = Array.from({ length }, (_, i) => segmentKey({ experiment, set, segment: from + i }));
      return (await table.getAll(keys)).map(segmentFrom);
    },
    readLease: async (key) => mapped(await table.get(leaseKey(key)), leaseFrom),
    listLeases: (key, options) => listLeases(table, key, options),

    turn: (change) => transact(turning(change)),
    assign: (change) => transact(assignment(change)),
    commit: async (change) => {
      assert(change.post.state === "OPEN", "a commit leaves its lease open");
      const write = leaseWrite(change, 0);
      const { kind } = await table.write(write);
      return kind === "refused" ? { kind, by: write.by, index: write.index } : { kind };
    },
    settle: (change) => transact(settlement(change)),
    skip: (change) => transact([gateIsOpen(change.gate), ...segmentWrite(change.segment, change.sums)]),
    skipSet: (gate, set) => transact([gateIsOpen(gate), setSkipping(gate, set)]),
    reopen: ({ segment, sums }) => {
      assert(segment.expect !== "unborn", "an unborn segment has nothing to reopen");
      return transact(segmentWrite(segment, sums, segment.post.generation));
    },
    reopenSet: async (set, generation) => {
      const write = setReopening(set, generation);
      const { kind } = await table.write(write);
      return kind === "refused" ? { kind, by: write.by, index: write.index } : { kind };
    },

    removeSegment: (key) => removeSegment(table, key),
    removeSet: ({ experiment, ordinal }) => remove(table, [setKey(experiment, ordinal)], "set"),
    removeExperiment: (experiment) => transact(removal(experiment, table.clock.now())),

    openSegments: async (id, limit) => (await keysOfShard(table, { index: "open", shard: id, limit })).map((k) => segmentOf(k.pk)),
    liveExperiments: (limit, { status, from } = {}) =>
      experimentsOf(table, { prefix: "X", limit, from, accept: (e) => e.live && (status === undefined || e.status === status) }),
    keptExperiments: (limit, from) => experimentsOf(table, { prefix: "D", limit, from, accept: isKeptForATime }),
    listProject: (project, options) => listProject(table, project, options),
    listExperiments: (owner, options) => listExperiments(table, owner, options),
  };
}

interface LiveIndexRead {
  readonly prefix: "X" | "D";
  readonly limit: number;
  readonly from: ExperimentId | undefined;
  readonly accept: (e: Experiment) => boolean;
}

async function experimentsOf(table: DynamoTable, { prefix, limit, from, accept }: LiveIndexRead): Promise<Experiment[]> {
  const start = from === undefined ? {} : { from: experimentKey(from).pk };
  const read = (item: Item) => (isTombstone(item) ? undefined : experimentFrom(item));
  const found = await readThrough(table, {
    ...{ index: "live", shards: shardsOf(prefix), limit, ...start, read },
    accept: (e) => e !== undefined && accept(e),
  });
  return found.filter((e) => e !== undefined);
}

/** Each item by itself; `unknown` when one is: the caller comes again. */
async function remove(table: DynamoTable, keys: readonly ItemKey[], by: Refuser): Promise<WriteOutcome> {
  const outcomes = await Promise.all(keys.map((key, index) => table.write({ by, index, kind: "delete", key })));
  return outcomes.every((o) => o.kind === "done") ? { kind: "done" } : { kind: "unknown" };
}

/** Leases page by page, then the segment: while it is there, so may be some of them. */
async function removeSegment(table: DynamoTable, key: SegmentKey): Promise<WriteOutcome> {
  for (;;) {
    const page = { pk: segmentKey(key).pk, prefix: LEASE_PREFIX, limit: limits.REMOVED_AT_ONCE };
    const { items, last } = await queryPartition(table, page);
    const outcome = await remove(table, items.map(keyOf), "lease");
    if (outcome.kind !== "done") return outcome;
    if (last === undefined) return remove(table, [segmentKey(key)], "segment");
  }
}

function removal(e: Experiment, nowMs: number): Write[] {
  return [
    { by: "experiment", index: 0, kind: "put", item: tombstoneItem(e.id, nowMs + TOMBSTONE_MS), condition: when.versionIs(e.version) },
    ...gatesOf(e).map((g, index): Write => ({ by: "gate", index, kind: "delete", key: gateKey(g.experiment, g.shard) })),
    ...(e.project === undefined
      ? []
      : [{ by: "project", index: 0, kind: "delete", key: projectPlaceKey(e.project, ownerPlace(e)) } as const]),
  ];
}

function mapped<A, B>(value: A | undefined, to: (value: A) => B): B | undefined {
  return value === undefined ? undefined : to(value);
}

function creation(experiment: Experiment, sets: Parameters<TaskStore["createExperiment"]>[1]): Write[] {
  assert(sets.length <= limits.SETS_MAX, `at most ${limits.SETS_MAX} sets`);
  const condition = when.absent;
  return [
    { by: "experiment", index: 0, kind: "put", item: experimentItem(experiment), condition },
    ...gatesOf(experiment).map((g, index): Write => ({ by: "gate", index, kind: "put", item: gateItem(g), condition })),
    ...sets.map((s, index): Write => ({ by: "set", index, kind: "put", item: setItem({ ...s, next: 0 }), condition })),
    ...placing(experiment),
  ];
}

function placing(experiment: Experiment): Write[] {
  const { project } = experiment;
  if (project === undefined) return [];
  const item = keyItem(projectPlaceKey(project, ownerPlace(experiment)));
  return [
    { by: "project", index: 0, kind: "check", key: projectKey(project), condition: when.projectIsOpen },
    { by: "project", index: 1, kind: "put", item },
  ];
}

const gatesOf = ({ id, gates, status, generation }: Experiment): Gate[] =>
  Array.from({ length: gates }, (_, shard) => ({ experiment: id, shard, status, generation }));

/** T6: status and generation of the experiment and of all of its gates move together. */
function turning({ post, expectVersion }: Turn): Write[] {
  assert(post.version === expectVersion + 1, "a turn raises the version by one");
  return [
    { by: "experiment", index: 0, kind: "put", item: experimentItem(post), condition: when.versionIs(expectVersion) },
    ...gatesOf(post).map((g, index): Write => ({ by: "gate", index, kind: "put", item: gateItem(g), condition: when.present })),
  ];
}

function assignment(change: Assign): Write[] {
  const { leases, sessions, segment } = change;
  assert(leases.length >= 1 && leases.length <= limits.ASSIGN_LEASES_MAX, `1 to ${limits.ASSIGN_LEASES_MAX} leases`);
  assert(sessions.length === leases.length, "one session for each lease");
  assert(new Set(leases.map((l) => workerName(l.worker))).size === leases.length, "each lease goes to another worker");
  for (const l of leases) {
    assert(l.state === "OPEN" && l.rev === 0, "a new lease is OPEN at rev 0");
    assert(segmentName(l.key) === segmentName(segment.post.key), "leases of one segment");
  }
  return [
    gateIsOpen(change.gate),
    ...turnstile(change),
    ...segmentWrite(segment),
    ...leases.map((lease, index): Write => ({ by: "lease", index, kind: "put", item: leaseItem(lease), condition: when.absent })),
    ...leases.map(
      (lease, index): Write => ({
        by: "worker",
        index,
        kind: "update",
        key: workerKey(lease.worker),
        update: when.takeFree(leaseName(lease.key)),
        condition: when.allOf(when.isReadyIn(sessions[index] as number), when.hasFree(lease.reserved)), // W1, W2
      }),
    ),
  ];
}

/** Assignments of a limited experiment come one after the other. */
function turnstile({ gate, turnstile: expect }: Assign): Write[] {
  if (expect === undefined) return [];
  const condition = when.allOf(when.versionIs(expect.version), when.handoutsAre(expect.handouts));
  return [{ by: "experiment", index: 0, kind: "update", key: experimentKey(gate.experiment), update: when.addHandout, condition }];
}

function settlement({ leases, segment, sums }: Settle): Write[] {
  assert(leases.length >= 1 && leases.length <= limits.SETTLE_LEASES_MAX, `1 to ${limits.SETTLE_LEASES_MAX} leases`);
  assert(segment.expect !== "unborn", "a segment with a lease is born");
  for (const l of leases) assert(segmentName(l.post.key) === segmentName(segment.post.key), "leases of one segment");
  return [...leases.map(leaseWrite), ...segmentWrite(segment, sums), ...returns(leases)];
}

/** T2: nothing is written under a lease that is closed or has moved on. */
function leaseWrite({ post, expectRev }: LeaseWrite, index: number): Write {
  assert(post.rev === expectRev + 1, "a lease write raises rev by one");
  return { by: "lease", index, kind: "put", item: leaseItem(post), condition: when.leaseIsOpenAt(expectRev) };
}

/** One update for each worker that gets reservations back (no item twice); its index is that of its first closed lease. */
function returns(leases: readonly LeaseWrite[]): Write[] {
  const byWorker = new Map<string, { index: number; closed: Lease[] }>();
  for (const [index, { post }] of leases.entries()) {
    if (post.state !== "CLOSED") continue;
    const key = workerName(post.worker);
    const entry = byWorker.get(key) ?? { index, closed: [] };
    entry.closed.push(post);
    byWorker.set(key, entry);
  }
  return [...byWorker.values()].map(({ index, closed }): Write => {
    const { worker } = closed[0] as Lease;
    const names = closed.map((l) => leaseName(l.key));
    const given = when.giveBack(
      names,
      closed.reduce((sum, l) => addCapacity(sum, l.reserved), NO_CAPACITY),
    );
    // Whether it is still READY isn't known here: a reader of `room` looks, and the next heartbeat takes it out.
    const update = { expression: `SET #room = :room, ${given.expression}`, values: { ...given.values, ":room": text(roomShard(worker)) } };
    return { by: "worker", index, kind: "update", key: workerKey(worker), update, condition: when.holdsLeases(names) };
  });
}

const gateIsOpen = (gate: GateCheck): Write => ({
  by: "gate",
  index: 0,
  kind: "check",
  key: gateKey(gate.experiment, gate.shard),
  condition: when.gateIsOpen(gate.generation),
});

/** The segment, and its set where the segment is born or its sums move. `below`: the stored generation must be less. */
function segmentWrite({ post, expect, setCount }: SegmentWrite, sums?: SetSums, below?: number): Write[] {
  assert(expect === "unborn" || post.version === expect.version + 1, "a segment write raises the version by one");
  const version = expect === "unborn" ? when.absent : when.versionIs(expect.version);
  const condition = below === undefined ? version : when.allOf(version, when.generationBelow(below));
  const segment: Write = { by: "segment", index: 0, kind: "put", item: segmentItem(post, setCount), condition };
  if (expect !== "unborn" && sums === undefined) return [segment];
  return [segment, setWrite(post.key, expect === "unborn", sums)];
}

function setWrite(key: SegmentKey, birth: boolean, sums: SetSums | undefined): Write {
  const moved = birth ? [when.birth(key.segment)] : [];
  const added = sums === undefined ? [] : [when.addSums(sums)];
  const fragments = [...moved, ...added];
  return {
    by: "set",
    index: 0,
    kind: "update",
    key: setKey(key.experiment, key.set),
    update: { expression: fragments.map((f) => f.expression).join(" "), values: Object.assign({}, ...fragments.map((f) => f.values)) },
    condition: birth ? when.nextIs(key.segment) : when.present,
  };
}

const setSkipping = (gate: GateCheck, { experiment, ordinal }: SetKey): Write => ({
  by: "set",
  index: 0,
  kind: "update",
  key: setKey(experiment, ordinal),
  update: { expression: "SET #skipAll = :true, #gen = :gen", values: { ":true": { BOOL: true }, ":gen": number(gate.generation) } },
  condition: when.allOf(when.nextIs(0), when.notSkippedWhole),
});

const setReopening = ({ experiment, ordinal }: SetKey, generation: number): Write => ({
  by: "set",
  index: 0,
  kind: "update",
  key: setKey(experiment, ordinal),
  update: { expression: "SET #gen = :belowGen REMOVE #skipAll" },
  condition: when.generationBelow(generation),
});

async function listLeases(
  table: DynamoTable,
  key: SegmentKey,
  { limit, cursor }: { readonly limit: number; readonly cursor?: string },
): Promise<Page<Lease>> {
  const start = cursor === undefined ? {} : { start: keyItem(leaseKey({ ...key, epoch: Number(cursor) })) };
  const { items, last } = await queryPartition(table, { pk: segmentKey(key).pk, prefix: LEASE_PREFIX, limit, falling: true, ...start });
  const page = { items: items.map(leaseFrom) };
  return last === undefined ? page : { ...page, cursor: String(epochOf(keyOf(last))) };
}

/** Places stay when their experiment is deleted: such a page is shorter. */
async function listProject(
  table: DynamoTable,
  project: ProjectId,
  { limit, cursor }: { readonly limit: number; readonly cursor?: string },
): Promise<Page<Experiment>> {
  if (cursor !== undefined && placedIn(cursor) === undefined)
    throw new SchedulerError("invalid-input", "the cursor is not one of ours; start without it");
  const start = cursor === undefined ? {} : { start: keyItem(projectPlaceKey(project, cursor)) };
  const pk = projectKey(project).pk;
  const { items, last } = await queryPartition(table, { pk, prefix: PROJECT_PLACE_PREFIX, limit, falling: true, ...start });
  const placeOf = (item: Item): string => textOf(item, "sk").slice(PROJECT_PLACE_PREFIX.length);
  const ids = items.map((item) => placedIn(placeOf(item))).filter((id) => id !== undefined);
  const found = (await table.getAll(ids.map(experimentKey))).filter((item) => !isTombstone(item)).map(experimentFrom);
  return { items: found, ...(last === undefined ? {} : { cursor: placeOf(last) }) };
}

async function listExperiments(
  table: DynamoTable,
  owner: UserId,
  { limit, cursor }: { readonly limit: number; readonly cursor?: string },
): Promise<Page<Experiment>> {
  const from = cursor === undefined ? undefined : placedIn(cursor);
  if (cursor !== undefined && from === undefined)
    throw new SchedulerError("invalid-input", "the cursor is not one of ours; start without it");
  const start =
    cursor === undefined || from === undefined
      ? {}
      : { start: { ...keyItem(experimentKey(from)), owner: text(owner), ownerAt: text(cursor) } };
  const { items, last } = await queryIndex(table, { index: "owner", shard: owner, limit, newestFirst: true, ...start });
  const found = await table.getAll(items.map(keyOf));
  const page = { items: found.filter((item) => !isTombstone(item)).map(experimentFrom) };
  return last === undefined ? page : { ...page, cursor: textOf(last, "ownerAt") };
}
