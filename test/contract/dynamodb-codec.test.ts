import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as codec from "#adapters/dynamodb/codec.ts";
import { experimentKey, leaseKey, roomShard, segmentKey, setKey, spotAt, spotOf, workerKey } from "#adapters/dynamodb/keys.ts";
import type { Capacity } from "#domain/capacity.ts";
import { EXPERIMENT_STATES, type Experiment, type TaskSet } from "#domain/experiment.ts";
import { type IndexSet, rangeSet, setOf } from "#domain/index-set.ts";
import type { Lease } from "#domain/lease.ts";
import { paceOf } from "#domain/pace.ts";
import { FAILURE_CAUSES } from "#domain/plan.ts";
import type { Segment, Tries } from "#domain/segment.ts";
import { PACKAGE_KINDS, type Worker } from "#domain/worker.ts";
import type { GatewayRecord } from "#ports/worker-store.ts";
import { experimentId, gatewayId, NOW_MS, userId, workerId } from "../support/state.ts";

const index = fc.nat(4095);
const anIndexSet: fc.Arbitrary<IndexSet> = fc.oneof(
  fc.uniqueArray(index, { maxLength: 40 }).map(setOf),
  fc.tuple(index, index).map(([a, b]) => rangeSet(Math.min(a, b), Math.max(a, b) + 1)),
  fc.constant(rangeSet(0, 4096)),
);
const count = fc.nat(1_000_000);
const time = fc.nat(1e9).map((ms) => NOW_MS + ms);
const capacity: fc.Arbitrary<Capacity> = fc.record({ cpuMilli: count, memoryMib: count, gpu: fc.nat(16) });
const key = fc.record({ experiment: fc.nat(50).map(experimentId), set: fc.nat(63), segment: fc.nat(99_999) });
const worker = fc.record({ id: fc.nat(50).map(workerId), incarnation: fc.integer({ min: 1, max: 999 }) });
const tries: fc.Arbitrary<ReadonlyMap<number, Tries>> = fc
  .uniqueArray(
    fc.tuple(
      index,
      fc.record({
        attempts: fc.nat(255),
        losses: fc.nat(255),
        notBeforeMs: fc.oneof(
          fc.constant(0),
          time.map((t) => Math.floor(t / 1000) * 1000),
        ),
      }),
    ),
    {
      selector: ([i]) => i,
      maxLength: 60,
    },
  )
  .map((entries) => new Map(entries));
const causes = fc
  .uniqueArray(fc.tuple(index, fc.constantFrom(...FAILURE_CAUSES)), { selector: ([i]) => i, maxLength: 60 })
  .map((entries) => new Map(entries));

const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
/** Leaves out what is undefined, as exactOptionalPropertyTypes wants it. */
const compact = <T extends object>(value: object): T => Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as T;

const attempt = fc.tuple(fc.nat(1e9), fc.nat(1e6)).map(([at, ms]) => {
  const startedMs = 1.7e12 + at;
  return {
    startedMs,
    beganMs: startedMs + ms / 2,
    endedMs: startedMs + ms,
    outcome: ms % 3 === 0 ? ("failed" as const) : ("done" as const),
  };
});
const pace = fc.array(attempt, { minLength: 1, maxLength: 20 }).map(paceOf);

const someSegment = fc.record({
  key,
  version: count,
  epoch: count,
  leased: anIndexSet,
  done: anIndexSet,
  failed: anIndexSet,
  skipped: anIndexSet,
  tries,
  closed: fc.boolean(),
  generation: count,
  runMs: fc.oneof(count, fc.double({ min: 0, max: 1e12, noNaN: true })),
  failedMs: fc.oneof(count, fc.double({ min: 0, max: 1e12, noNaN: true })),
  pace: optional(pace),
});
const anySegment: fc.Arbitrary<Segment> = someSegment.map((s) => compact<Segment>(s));
const anyLease: fc.Arbitrary<Lease> = fc
  .record({
    key: fc.tuple(key, fc.nat(999_999_999)).map(([k, epoch]) => ({ ...k, epoch })),
    worker,
    nonce: fc.string({ minLength: 1 }),
    state: fc.constantFrom("OPEN" as const, "CLOSED" as const),
    rev: count,
    hold: anIndexSet,
    done: anIndexSet,
    failed: anIndexSet,
    causes,
    refs: fc.array(fc.record({ key: fc.string({ minLength: 1 }), sha256: fc.string({ minLength: 1 }), mask: anIndexSet }), {
      maxLength: 3,
    }),
    reserved: capacity,
    runMs: count,
    failedMs: count,
    pace: optional(pace),
    assignedAtMs: time,
    back: optional(
      fc
        .array(fc.tuple(fc.constantFrom("given-back", "preempted", "worker-lost"), anIndexSet), { minLength: 1 })
        .map((b) => new Map(b.sort(([x], [y]) => (x < y ? -1 : 1)))),
    ),
    closeCause: optional(fc.constantFrom("finished", "given-back", "worker-lost", "canceled", "preempted")),
  })
  .map((l) => compact<Lease>(l));
const anyExperiment: fc.Arbitrary<Experiment> = fc
  .record({
    id: fc.nat(50).map(experimentId),
    owner: fc.nat(50).map(userId),
    name: fc.string({ minLength: 1, unit: "binary" }),
    status: fc.constantFrom(...EXPERIMENT_STATES),
    prior: optional(fc.constantFrom("RUNNING" as const, "PAUSED" as const)),
    generation: count,
    version: count,
    planHash: fc.string({ minLength: 1 }),
    gates: fc.integer({ min: 1, max: 16 }),
    taskCount: count,
    priority: fc.integer({ min: -100, max: 100 }),
    weight: fc.integer({ min: 1, max: 1000 }),
    budget: optional(fc.record({ nanoUsd: count, coreMs: count, tasks: count }, { requiredKeys: [] })),
    createdAtMs: time,
    startedAtMs: optional(time),
    endedAtMs: optional(time),
    live: fc.boolean(),
    operation: optional(
      fc.record({
        id: fc.string({ minLength: 1 }),
        select: fc.constantFrom(
          { kind: "all-failed" as const },
          { kind: "sets" as const, sets: [0, 63] },
          { kind: "tasks" as const, tasks: [{ set: 1, number: 9 }] },
          { kind: "causes" as const, causes: ["timeout" as const] },
        ),
      }),
    ),
  })
  .map((e) => compact<Experiment>(e));
const anySet: fc.Arbitrary<TaskSet> = fc.record({
  experiment: fc.nat(50).map(experimentId),
  ordinal: fc.nat(63),
  count,
  segments: count,
  next: count,
  closed: count,
  done: count,
  failed: count,
  skipped: count,
  generation: count,
  skipAll: fc.boolean(),
});
const anyWorker: fc.Arbitrary<Worker> = fc.record({
  key: worker,
  pool: fc.string({ minLength: 1 }),
  state: fc.constantFrom("READY" as const, "DRAINING" as const, "DEAD" as const),
  size: capacity,
  cap: capacity,
  free: capacity,
  leases: fc.uniqueArray(fc.string({ minLength: 1 }), { maxLength: 64 }).map((names) => new Set(names)),
  session: count,
  gateway: optional(fc.nat(50).map(gatewayId)),
  beat: count,
  expiresAtMs: time,
  endsAtMs: optional(time),
  packages: fc.subarray([...PACKAGE_KINDS]),
  phases: fc
    .uniqueArray(fc.tuple(fc.string({ minLength: 1 }), fc.record({ queued: anIndexSet, stagingIn: anIndexSet, stagingOut: anIndexSet })), {
      selector: ([name]) => name,
      maxLength: 4,
    })
    .map((entries) => new Map(entries)),
  host: fc.string({ minLength: 1 }),
  version: fc.string({ minLength: 1 }),
});
const anyGateway: fc.Arbitrary<GatewayRecord> = fc.record({
  id: fc.nat(50).map(gatewayId),
  beatAtMs: time,
  upSinceMs: time,
  queue: fc.string({ minLength: 1 }),
  usage: fc.uniqueArray(fc.tuple(fc.nat(50).map(experimentId), capacity), { selector: ([e]) => e }).map((entries) => new Map(entries)),
});

const holds = <T>(values: fc.Arbitrary<T>, there: (value: T) => codec.Item, back: (item: codec.Item) => T) =>
  fc.assert(
    fc.property(values, (value) => void expect(back(there(value))).toEqual(value)),
    { numRuns: 200 },
  );

describe("items of the table", () => {
  it("read back as the experiment they were made of", () => holds(anyExperiment, codec.experimentItem, codec.experimentFrom));
  it("read back as the set they were made of", () => holds(anySet, codec.setItem, codec.setFrom));
  it("read back as the segment they were made of", () => holds(anySegment, (s) => codec.segmentItem(s, 1e9), codec.segmentFrom));
  it("read back as the lease they were made of", () => holds(anyLease, codec.leaseItem, codec.leaseFrom));
  it("read back as the worker they were made of", () => holds(anyWorker, codec.workerItem, codec.workerFrom));
  it("read back as the gateway they were made of", () => holds(anyGateway, codec.gatewayItem, codec.gatewayFrom));

  it("leave out the attributes of the sparse indexes where they must not be", () => {
    const keysOf = (item: codec.Item) => Object.keys(item).filter((k) => ["open", "live", "room"].includes(k));
    fc.assert(
      fc.property(anySegment, (s) => {
        const whole = { ...s, key: { ...s.key, segment: 0 } };
        expect(keysOf(codec.segmentItem({ ...whole, leased: rangeSet(0, 10) }, 10))).toEqual([]);
        const none = setOf([]);
        expect(keysOf(codec.segmentItem({ ...whole, leased: rangeSet(0, 9), done: none, failed: none, skipped: none }, 10))).toEqual([
          "open",
        ]);
      }),
    );
    fc.assert(fc.property(anyExperiment, (e) => void expect(keysOf(codec.experimentItem(e))).toEqual(e.live ? ["live"] : [])));
    fc.assert(
      fc.property(anyWorker, (w) => {
        const room = w.state === "READY" && w.free.cpuMilli > 0 && w.leases.size < 64;
        expect(keysOf(codec.workerItem(w)).sort()).toEqual(room ? ["live", "room"] : ["live"]);
      }),
    );
  });

  it("have keys that differ where their values' keys do", () => {
    const named = (k: { pk: string; sk: string }) => `${k.pk} ${k.sk}`;
    fc.assert(
      fc.property(key, fc.nat(999), worker, (k, epoch, w) => {
        const all = [experimentKey(k.experiment), setKey(k.experiment, k.set), segmentKey(k), leaseKey({ ...k, epoch }), workerKey(w)].map(
          named,
        );
        expect(new Set(all).size).toBe(all.length);
        expect(named(leaseKey({ ...k, epoch })) < named(leaseKey({ ...k, epoch: epoch + 1 }))).toBe(true);
      }),
    );
  });
});

describe("places in the room index", () => {
  it("spread evenly, whatever the ids have in common", () => {
    const keys = Array.from({ length: 10_000 }, (_, n) => ({ id: workerId(n), incarnation: 1 }));
    const tenth = (spot: string) => Math.floor((Number.parseInt(spot, 16) / 2 ** 32) * 10);
    for (const [placeOf, places] of [
      [(k: Worker["key"]) => tenth(spotOf(k)), 10],
      [roomShard, 4],
    ] as const) {
      const counts = new Map<unknown, number>();
      for (const k of keys) counts.set(placeOf(k), (counts.get(placeOf(k)) ?? 0) + 1);
      expect(counts.size).toBe(places);
      for (const n of counts.values()) expect(Math.abs((n * places) / keys.length - 1)).toBeLessThan(0.15);
    }
    expect([spotAt(0), spotAt(0.5), spotAt(1 - 2 ** -53)]).toEqual(["00000000", "80000000", "ffffffff"]);
  });
});

describe("sparse binaries", () => {
  it("read back tries, rounded up and saturated, in any order of writing", () => {
    const raw = fc.uniqueArray(fc.tuple(index, fc.record({ attempts: fc.nat(1000), losses: fc.nat(1000), notBeforeMs: time })), {
      selector: ([i]) => i,
    });
    fc.assert(
      fc.property(raw, (entries) => {
        const back = codec.decodeTries(codec.encodeTries(new Map(entries)));
        const stored = entries.map(([i, t]): [number, Tries] => [
          i,
          { attempts: Math.min(255, t.attempts), losses: Math.min(255, t.losses), notBeforeMs: Math.ceil(t.notBeforeMs / 1000) * 1000 },
        ]);
        expect(back).toEqual(new Map(stored));
        expect([...back.keys()]).toEqual([...back.keys()].sort((a, b) => a - b));
      }),
    );
  });

  it("cost a few bytes for each task", () => {
    const all = Array.from({ length: 4096 }, (_, i) => i);
    expect(codec.encodeCauses(new Map(all.map((i) => [i, "exit"]))).length).toBe(2 * 4096);
    expect(codec.encodeTries(new Map([[4095, { attempts: 1, losses: 0, notBeforeMs: 0 }]])).length).toBe(5);
    expect(codec.encodeTries(new Map([[4095, { attempts: 1, losses: 0, notBeforeMs: NOW_MS }]])).length).toBe(9);
  });

  it("are refused when they are cut or unknown", () => {
    const stored = codec.encodeTries(new Map([[300, { attempts: 1, losses: 2, notBeforeMs: NOW_MS }]]));
    for (let n = 1; n < stored.length; n++) expect(() => codec.decodeTries(stored.subarray(0, n))).toThrow(RangeError);
    expect(() => codec.decodeCauses(Uint8Array.of(0, 99))).toThrow(RangeError);
    expect(() => codec.decodeCauses(new Uint8Array(12).fill(255))).toThrow(RangeError);
  });

  it("say which item is damaged", () => {
    const item = codec.leaseItem({ ...fc.sample(anyLease, 1)[0] } as Lease);
    delete item.nonce;
    expect(() => codec.leaseFrom(item)).toThrow(/L#\d+ has no usable attribute nonce/);
  });
});
