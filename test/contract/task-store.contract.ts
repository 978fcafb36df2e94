/** What every TaskStore must do: each condition held, just held and just not held; a refused write changes nothing. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Experiment } from "#domain/experiment.ts";
import type { ExperimentId } from "#domain/id.ts";
import { emptySet, sizeOf } from "#domain/index-set.ts";
import type { Segment } from "#domain/segment.ts";
import { WORKER_LEASES_MAX, type Worker } from "#domain/worker.ts";
import type { Assign, Settle, WriteOutcome } from "#ports/task-store.ts";
import type { StateSubject } from "../support/dynamo-state.ts";
import {
  aCommit,
  anAssign,
  anExperiment,
  anUnbornSegment,
  aSegmentKey,
  aSet,
  aSettle,
  aWorker,
  experimentId,
  NOW_MS,
  range,
  type SLOT,
  userId,
  workerId,
} from "../support/state.ts";

import { begin, type Case, DONE, FIRST, W1, W2 } from "../support/task-store-case.ts";
import { limitCases, removalCases } from "./task-store-removal.contract.ts";
import { commitCases, settleCases, settleWorkerCases } from "./task-store-leases.contract.ts";

export function describeTaskStore(name: string, make: () => Promise<StateSubject>): void {
  describe(`TaskStore: ${name}`, () => {
    let now: Case;
    beforeEach(async () => {
      now = await begin(await make());
    });
    afterEach(() => now.subject[Symbol.asyncDispose]());
    const state = () => now;
    describe("experiments", () => experimentCases(state));
    describe("turn", () => turnCases(state));
    describe("assign", () => assignCases(state));
    describe("assign to a worker", () => assignWorkerCases(state));
    describe("commit", () => commitCases(state));
    describe("settle", () => settleCases(state));
    describe("settle and worker", () => settleWorkerCases(state));
    describe("skip", () => skipCases(state));
    describe("reopen", () => reopenCases(state));
    describe("removal", () => removalCases(state));
    describe("limits and options", () => limitCases(state));
    describe("lists", () => listCases(state));
    describe("lists of experiments", () => experimentListCases(state));
    describe("values", () => valueCases(state));
    describe("races", () => raceCases(state));
  });
}

function experimentCases(now: () => Case): void {
  it("reads back an experiment with everything in it, its gates and its sets in order", async () => {
    const { tasks } = now();
    const full = anExperiment({
      id: experimentId(7),
      name: "ünïcode",
      status: "RETRYING",
      prior: "PAUSED",
      gates: 16,
      startedAtMs: NOW_MS + 1,
      endedAtMs: NOW_MS + 2,
      live: false,
      operation: { id: "op-1", select: { kind: "all-failed" } },
    });
    const sets = Array.from({ length: 64 }, (_, ordinal) => aSet({ experiment: full.id, ordinal, count: ordinal + 1 }));
    expect(await tasks.createExperiment(full, [...sets].reverse())).toEqual(DONE);
    expect(await tasks.readExperiment(full.id)).toEqual(full);
    expect(await tasks.readGate(full.id, 15)).toEqual({ experiment: full.id, shard: 15, status: "RETRYING", generation: 1 });
    expect(await tasks.readGate(full.id, 16)).toBeUndefined();
    expect(await tasks.readSets(full.id)).toEqual(sets);
  });

  it("starts sets at next 0", async () => {
    const { tasks } = now();
    const id = experimentId(8);
    await tasks.createExperiment(anExperiment({ id }), [aSet({ experiment: id, next: 3 })]);
    expect((await tasks.readSets(id))[0]?.next).toBe(0);
  });

  it("refuses an experiment that is there", async () => {
    const { tasks, refuses } = now();
    await refuses(() => tasks.createExperiment(anExperiment({ name: "other", gates: 3 }), [aSet({ ordinal: 5 })]), "experiment");
  });

  it("knows nothing of what was never written", async () => {
    const { tasks } = now();
    const id = experimentId(99);
    expect(await tasks.readExperiment(id)).toBeUndefined();
    expect(await tasks.readSets(id)).toEqual([]);
    expect(await tasks.readSegment(aSegmentKey(0, 0, id))).toBeUndefined();
    expect(await tasks.readSegments(id, 0, 0, 100)).toEqual([]);
    expect(await tasks.readLease({ ...FIRST, epoch: 1 })).toBeUndefined();
    expect(await tasks.listLeases(FIRST, { limit: 5 })).toEqual({ items: [] });
    expect(await tasks.openSegments(id, 5)).toEqual([]);
  });
}

function turnCases(now: () => Case): void {
  const next = (e: Experiment, over: Partial<Experiment>): Experiment => ({ ...e, version: e.version + 1, ...over });

  it("moves experiment and all gates together (T6)", async () => {
    const { tasks } = now();
    const wide = anExperiment({ id: experimentId(5), gates: 16 });
    await tasks.createExperiment(wide, []);
    const post = next(wide, {
      status: "RETRYING",
      prior: "RUNNING",
      generation: 2,
      operation: { id: "op", select: { kind: "all-failed" } },
    });
    expect(await tasks.turn({ post, expectVersion: 1 })).toEqual(DONE);
    expect(await tasks.readExperiment(wide.id)).toEqual(post);
    for (let shard = 0; shard < 16; shard++)
      expect(await tasks.readGate(wide.id, shard)).toMatchObject({ status: "RETRYING", generation: 2 });
  });

  it("drops what the new state has no more", async () => {
    const { tasks } = now();
    await tasks.turn({ post: anExperiment({ version: 2, status: "RETRYING", prior: "PAUSED" }), expectVersion: 1 });
    const post = anExperiment({ version: 3, status: "CANCELED", live: false, endedAtMs: NOW_MS });
    expect(await tasks.turn({ post, expectVersion: 2 })).toEqual(DONE);
    expect(await tasks.readExperiment(post.id)).toEqual(post);
  });

  it("refuses another version, older and newer", async () => {
    const { tasks, refuses } = now();
    for (const version of [0, 2])
      await refuses(
        () => tasks.turn({ post: anExperiment({ version: version + 1, status: "PAUSED" }), expectVersion: version }),
        "experiment",
      );
  });

  it("refuses an experiment or a gate that is not there", async () => {
    const { tasks, refuses } = now();
    await refuses(() => tasks.turn({ post: anExperiment({ id: experimentId(99), version: 2 }), expectVersion: 1 }), "experiment");
    await refuses(() => tasks.turn({ post: anExperiment({ version: 2, gates: 3 }), expectVersion: 1 }), "gate", 1);
  });
}

const plain = (segment: Segment, hold = range(0, 10)) => anAssign({ segment, born: segment.version > 0 }, [{ worker: W1, hold }]);

function assignCases(now: () => Case): void {
  it("bears a segment: segment, lease, worker and the set's next in one write", async () => {
    const { tasks, segment, lease, worker } = now();
    const change = plain(await segment());
    expect(await tasks.assign(change)).toEqual(DONE);
    expect(await segment()).toEqual(change.segment.post);
    expect(await lease(1)).toEqual(change.leases[0]);
    expect(await tasks.readSets(experimentId(1))).toEqual([aSet({ next: 1 })]);
    expect(await worker()).toEqual(
      aWorker({ free: { cpuMilli: 7000, memoryMib: 7680, gpu: 2 }, leases: new Set([`${experimentId(1)}/0/0/1`]) }),
    );
    expect(await worker(W2)).toEqual(aWorker({ key: W2 }));
  });

  it("gives out ten leases of one segment together, each to another worker", async () => {
    const { tasks, subject, segment } = now();
    const keys = Array.from({ length: 10 }, (_, i) => ({ id: workerId(20 + i), incarnation: 1 }));
    for (const key of keys) await subject.workers.register({ worker: aWorker({ key }), expectHead: 0 });
    const plans = keys.map((worker, i) => ({ worker, hold: range(i * 100, i * 100 + 100) }));
    expect(await tasks.assign(anAssign({ segment: await segment(), born: false }, plans))).toEqual(DONE);
    expect(sizeOf((await segment()).leased)).toBe(1000);
    expect((await tasks.listLeases(FIRST, { limit: 20 })).items.map((l) => l.key.epoch)).toEqual([10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
    for (const key of keys) expect((await subject.workers.readWorker(key))?.leases.size).toBe(1);
  });

  it("refuses unless the gate is RUNNING in this generation (T6)", async () => {
    const { tasks, segment, refuses } = now();
    const change = plain(await segment());
    for (const generation of [0, 2]) await refuses(() => tasks.assign({ ...change, gate: { ...change.gate, generation } }), "gate");
    await refuses(() => tasks.assign({ ...change, gate: { ...change.gate, shard: 1 } }), "gate");
    let version = 1;
    for (const status of ["CREATED", "PAUSED", "RETRYING", "CANCELED", "COMPLETED", "FAILED", "DELETING"] as const) {
      await tasks.turn({ post: anExperiment({ version: version + 1, status }), expectVersion: version++ });
      await refuses(() => tasks.assign(change), "gate");
    }
    await tasks.turn({ post: anExperiment({ version: version + 1 }), expectVersion: version });
    expect(await tasks.assign(change)).toEqual(DONE);
  });

  it("refuses a segment of another version, born or not", async () => {
    const { tasks, segment, assign, refuses } = now();
    const unborn = await segment();
    await refuses(
      () => tasks.assign(anAssign({ segment: { ...unborn, version: 1 }, born: true }, [{ worker: W1, hold: range(0, 1) }])),
      "segment",
    );
    await assign(range(0, 10));
    const born = await segment();
    await refuses(() => tasks.assign(plain(unborn)), "segment");
    for (const version of [0, 2]) {
      const stale = { ...born, version };
      await refuses(() => tasks.assign(anAssign({ segment: stale, born: true }, [{ worker: W1, hold: range(20, 30) }])), "segment");
    }
    expect(await tasks.assign(plain(born, range(20, 30)))).toEqual(DONE);
  });

  it("bears segments in order only", async () => {
    const { tasks, segment, refuses } = now();
    await refuses(async () => tasks.assign(plain(await segment(1))), "set");
    await refuses(() => tasks.assign(plain(anUnbornSegment(aSegmentKey(0, 3)))), "set");
    expect(await tasks.assign(plain(await segment(0)))).toEqual(DONE);
    await refuses(async () => tasks.assign(plain(await segment(2))), "set");
    expect(await tasks.assign(plain(await segment(1)))).toEqual(DONE);
  });

  it("refuses an epoch that was given before, naming the lease", async () => {
    const { tasks, subject, segment, assign, refuses } = now();
    await assign(range(0, 10));
    await subject.workers.register({ worker: aWorker({ key: { id: workerId(3), incarnation: 1 } }), expectHead: 0 });
    const born = await segment();
    const plans = [W1, W2].map((worker, i) => ({ worker, hold: range(20 + i, 21 + i) }));
    const change = anAssign({ segment: { ...born, epoch: 0 }, born: true }, plans);
    await refuses(() => tasks.assign(change), "lease", 0);
    await refuses(() => tasks.assign({ ...change, leases: [...change.leases].reverse() }), "lease", 1);
  });
}

function assignWorkerCases(now: () => Case): void {
  const withReserved = (segment: Segment, reserved: typeof SLOT): Assign =>
    anAssign({ segment, born: segment.version > 0 }, [{ worker: W1, hold: range(0, 1), reserved }]);

  it("refuses a worker that is gone, draining, dead or in another session (W1)", async () => {
    const { tasks, subject, segment, worker, refuses } = now();
    const from = await segment();
    const to = (key: Worker["key"], session = 0) => anAssign({ segment: from, born: false }, [{ worker: key, session, hold: range(0, 1) }]);
    await refuses(() => tasks.assign(to({ id: workerId(9), incarnation: 1 })), "worker");
    await refuses(() => tasks.assign(to({ ...W1, incarnation: 2 })), "worker");
    for (const session of [-1, 1]) await refuses(() => tasks.assign(to(W1, session)), "worker");
    await subject.workers.drain(W1);
    await refuses(() => tasks.assign(to(W1)), "worker");
    await subject.workers.markDead(W1, (await worker()).beat);
    await refuses(() => tasks.assign(to(W1)), "worker");
    expect(await tasks.assign(to(W2))).toEqual(DONE);
  });

  it("hands out all that is free and not a bit more, in each dimension (W2)", async () => {
    const { tasks, segment, worker, refuses } = now();
    const all = (await worker()).free;
    for (const more of [{ cpuMilli: all.cpuMilli + 1 }, { memoryMib: all.memoryMib + 1 }, { gpu: all.gpu + 1 }])
      await refuses(async () => tasks.assign(withReserved(await segment(), { ...all, ...more })), "worker");
    expect(await tasks.assign(withReserved(await segment(), all))).toEqual(DONE);
    expect((await worker()).free).toEqual({ cpuMilli: 0, memoryMib: 0, gpu: 0 });
    await refuses(async () => tasks.assign(withReserved(await segment(), { cpuMilli: 0, memoryMib: 0, gpu: 1 })), "worker");
    expect(await tasks.assign(withReserved(await segment(), { cpuMilli: 0, memoryMib: 0, gpu: 0 }))).toEqual(DONE);
  });

  it(`refuses lease ${WORKER_LEASES_MAX + 1} of a worker`, async () => {
    const { tasks, segment, worker, refuses } = now();
    const reserved = { cpuMilli: 1, memoryMib: 1, gpu: 0 };
    for (let i = 0; i < WORKER_LEASES_MAX; i++) expect(await tasks.assign(withReserved(await segment(), reserved))).toEqual(DONE);
    expect((await worker()).leases.size).toBe(WORKER_LEASES_MAX);
    await refuses(async () => tasks.assign(withReserved(await segment(), reserved)), "worker");
  });

  it("changes nothing for the first worker when the second refuses", async () => {
    const { tasks, subject, segment, refuses } = now();
    await subject.workers.drain(W2);
    const plans = [W1, W2].map((worker, i) => ({ worker, hold: range(i, i + 1) }));
    await refuses(async () => tasks.assign(anAssign({ segment: await segment(), born: false }, plans)), "worker", 1);
  });
}

function skipCases(now: () => Case): void {
  const skipping = (from: Segment, skipped: ReturnType<typeof range>) => ({
    gate: { experiment: from.key.experiment, shard: 0, generation: from.generation },
    segment: {
      post: { ...from, version: from.version + 1, skipped },
      expect: from.version === 0 ? ("unborn" as const) : { version: from.version },
      setCount: 10_000,
    },
  });

  it("skips in a born segment under gate and version", async () => {
    const { tasks, segment, assign, refuses } = now();
    await assign(range(0, 10));
    const from = await segment();
    const change = skipping(from, range(10, 20));
    await refuses(() => tasks.skip({ ...change, gate: { ...change.gate, generation: 2 } }), "gate");
    await refuses(() => tasks.skip(skipping({ ...from, version: 7 }, range(10, 20))), "segment");
    expect(await tasks.skip(change)).toEqual(DONE);
    expect(sizeOf((await segment()).skipped)).toBe(10);
    await refuses(() => tasks.skip(change), "segment");
  });

  it("bears and closes a segment in one write", async () => {
    const { tasks, segment, refuses } = now();
    const change = skipping(await segment(), range(0, 4096));
    const closing = { ...change, segment: { ...change.segment, post: { ...change.segment.post, closed: true } } };
    const sums = { closed: 1, done: 0, failed: 0, skipped: 4096 } as const;
    await refuses(() => tasks.skip({ ...skipping(anUnbornSegment(aSegmentKey(1)), range(0, 4096)), sums }), "set");
    expect(await tasks.skip({ ...closing, sums })).toEqual(DONE);
    expect(await tasks.readSets(experimentId(1))).toEqual([aSet({ next: 1, closed: 1, skipped: 4096 })]);
  });

  it("skips a whole unborn set, once, under the gate", async () => {
    const { tasks, refuses } = now();
    const set = { experiment: experimentId(1), ordinal: 0 };
    const gate = { experiment: experimentId(1), shard: 0, generation: 1 };
    await refuses(() => tasks.skipSet({ ...gate, generation: 2 }, set), "gate");
    await refuses(() => tasks.skipSet(gate, { ...set, ordinal: 1 }), "set");
    expect(await tasks.skipSet(gate, set)).toEqual(DONE);
    expect(await tasks.readSets(experimentId(1))).toEqual([aSet({ skipAll: true })]);
    await refuses(() => tasks.skipSet(gate, set), "set");
  });

  it("does not skip a set as a whole of which a segment is born", async () => {
    const { tasks, assign, refuses } = now();
    await assign(range(0, 1));
    await refuses(
      () => tasks.skipSet({ experiment: experimentId(1), shard: 0, generation: 1 }, { experiment: experimentId(1), ordinal: 0 }),
      "set",
    );
  });
}

function reopenCases(now: () => Case): void {
  it("takes a closed segment out of the sums again under a newer generation, once", async () => {
    const { tasks, segment, assign, lease, refuses } = now();
    await tasks.commit(aCommit(await assign(range(0, 4096)), range(0, 4000), range(4000, 4096)));
    await tasks.settle(aSettle(await segment(), [await lease(1)]));
    const from = await segment();
    const reopened = (generation: number, version = from.version) => ({
      segment: {
        post: { ...from, version: version + 1, failed: emptySet(), closed: false, generation },
        expect: { version },
        setCount: 10_000,
      },
      sums: { closed: -1, done: -4000, failed: -96, skipped: 0 } as const,
    });
    await refuses(() => tasks.reopen(reopened(1)), "segment");
    await refuses(() => tasks.reopen(reopened(2, from.version - 1)), "segment");
    expect(await tasks.reopen(reopened(2))).toEqual(DONE);
    expect(await tasks.readSets(experimentId(1))).toEqual([aSet({ next: 1 })]);
    expect(await segment()).toMatchObject({ closed: false, generation: 2 });
    expect((await tasks.openSegments(experimentId(1), 5)).map((k) => k.segment)).toEqual([0]);
    await refuses(() => tasks.reopen(reopened(2, from.version + 1)), "segment");
  });

  it("moves a segment's generation without touching the set", async () => {
    const { tasks, segment, assign } = now();
    await assign(range(0, 5));
    const from = await segment();
    const post = { ...from, version: from.version + 1, generation: 2 };
    expect(await tasks.reopen({ segment: { post, expect: { version: from.version }, setCount: 10_000 } })).toEqual(DONE);
    expect(await segment()).toEqual(post);
  });

  it("undoes the skipping of a set under a newer generation only", async () => {
    const { tasks, refuses } = now();
    const set = { experiment: experimentId(1), ordinal: 0 };
    await tasks.skipSet({ experiment: experimentId(1), shard: 0, generation: 1 }, set);
    await refuses(() => tasks.reopenSet(set, 1), "set");
    await refuses(() => tasks.reopenSet({ ...set, ordinal: 9 }, 2), "set");
    expect(await tasks.reopenSet(set, 2)).toEqual(DONE);
    expect(await tasks.readSets(experimentId(1))).toEqual([aSet({ generation: 2 })]);
    await refuses(() => tasks.reopenSet(set, 2), "set");
    expect(await tasks.reopenSet(set, 3)).toEqual(DONE);
  });
}

function listCases(now: () => Case): void {
  it("lists a segment as open while it has something to hand out", async () => {
    const { tasks, segment, assign } = now();
    expect(await tasks.openSegments(experimentId(1), 5)).toEqual([]);
    await assign(range(0, 4095));
    expect(await tasks.openSegments(experimentId(1), 5)).toEqual([FIRST]);
    const last = await assign(range(4095, 4096));
    expect(await tasks.openSegments(experimentId(1), 5)).toEqual([]);
    await tasks.settle(aSettle(await segment(), [last], { give: range(4095, 4096) }));
    expect(await tasks.openSegments(experimentId(1), 5)).toEqual([FIRST]);
  });

  it("reads a run of segments by number", async () => {
    const { tasks, segment } = now();
    for (const n of [0, 1, 2]) expect(await tasks.assign(plain(await segment(n)))).toEqual(DONE);
    const numbers = async (from: number, limit: number) =>
      (await tasks.readSegments(experimentId(1), 0, from, limit)).map((s) => s.key.segment);
    expect(await numbers(0, 100)).toEqual([0, 1, 2]);
    expect(await numbers(1, 1)).toEqual([1]);
    expect(await numbers(2, 500)).toEqual([2]);
    expect((await tasks.openSegments(experimentId(1), 2)).length).toBe(2);
  });

  it("pages leases by falling epoch", async () => {
    const { tasks, assign } = now();
    for (let i = 0; i < 5; i++) await assign(range(i, i + 1));
    const first = await tasks.listLeases(FIRST, { limit: 2 });
    expect(first.items.map((l) => l.key.epoch)).toEqual([5, 4]);
    const second = await tasks.listLeases(FIRST, { limit: 2, cursor: first.cursor as string });
    expect(second.items.map((l) => l.key.epoch)).toEqual([3, 2]);
    const third = await tasks.listLeases(FIRST, { limit: 2, cursor: second.cursor as string });
    expect(third.items.map((l) => l.key.epoch)).toEqual([1]);
    expect(third.cursor).toBeUndefined();
  });
}

function experimentListCases(now: () => Case): void {
  it("lists live experiments", async () => {
    const { tasks } = now();
    for (let n = 2; n < 8; n++) await tasks.createExperiment(anExperiment({ id: experimentId(n), live: n % 2 === 0 }), []);
    const live = async (limit: number) => (await tasks.liveExperiments(limit)).map((e) => e.id);
    expect((await live(100)).sort()).toEqual([1, 2, 4, 6].map(experimentId).sort());
    expect(await live(3)).toHaveLength(3);
    await tasks.turn({ post: anExperiment({ version: 2, status: "CANCELED", live: false }), expectVersion: 1 });
    expect((await live(100)).sort()).toEqual([2, 4, 6].map(experimentId).sort());
  });

  it("lists live experiments of one state, from a given one on first, and leaves none out", async () => {
    const { tasks } = now();
    for (let n = 2; n < 30; n++)
      await tasks.createExperiment(anExperiment({ id: experimentId(n), live: true, status: n % 2 === 0 ? "RUNNING" : "PAUSED" }), []);
    const even = Array.from({ length: 14 }, (_, i) => experimentId(2 * i + 2));
    const running = async (limit: number, from?: ExperimentId) =>
      (await tasks.liveExperiments(limit, { status: "RUNNING", ...(from === undefined ? {} : { from }) })).map((e) => e.id);
    const all = await running(100, even[9] as ExperimentId);
    expect(all.filter((id) => even.includes(id)).sort()).toEqual(even);
    const few = await running(3, even[9] as ExperimentId);
    expect(few).toHaveLength(3);
    expect(few.every((id) => id >= (even[9] as string))).toBe(true);
  });

  it("pages an owner's experiments, newest first", async () => {
    const { tasks } = now();
    for (let n = 2; n < 7; n++)
      await tasks.createExperiment(
        anExperiment({ id: experimentId(n), createdAtMs: NOW_MS + (n % 3), owner: userId(n === 6 ? 2 : 1) }),
        [],
      );
    const all: string[] = [];
    await expect(tasks.listExperiments(userId(1), { limit: 2, cursor: "nonsense" })).rejects.toMatchObject({ kind: "invalid-input" });
    let cursor: string | undefined;
    do {
      const page = await tasks.listExperiments(userId(1), { limit: 2, ...(cursor === undefined ? {} : { cursor }) });
      all.push(...page.items.map((e) => e.id));
      cursor = page.cursor;
    } while (cursor !== undefined);
    expect(all).toEqual([5, 2, 4, 3, 1].map(experimentId));
    expect((await tasks.listExperiments(userId(2), { limit: 5 })).items).toHaveLength(1);
  });
}

function valueCases(now: () => Case): void {
  it("gives values that nobody else holds", async () => {
    const { tasks, segment, assign } = now();
    await assign(range(0, 10));
    const read = await segment();
    read.leased.fill(0xffffffff);
    (read.tries as Map<number, unknown>).set(1, {});
    expect(sizeOf((await segment()).leased)).toBe(10);
    const hold = range(10, 20);
    const change = plain(await segment(), hold);
    await tasks.assign(change);
    change.segment.post.leased.fill(0);
    hold.fill(0);
    expect(sizeOf((await segment()).leased)).toBe(20);
    expect(sizeOf((await tasks.readLease({ ...FIRST, epoch: 2 }))?.hold ?? emptySet())).toBe(10);
  });
}

function raceCases(now: () => Case): void {
  const tally = (outcomes: readonly WriteOutcome[]) => outcomes.filter((o) => o.kind === "done").length;

  it("gives a task to one of eight that want it at once (T1)", async () => {
    const { tasks, subject, segment } = now();
    const keys = Array.from({ length: 8 }, (_, i) => ({ id: workerId(30 + i), incarnation: 1 }));
    for (const key of keys) await subject.workers.register({ worker: aWorker({ key }), expectHead: 0 });
    const from = await segment();
    const outcomes = await Promise.all(
      keys.map((worker) => tasks.assign(anAssign({ segment: from, born: false }, [{ worker, hold: range(0, 10) }]))),
    );
    expect(tally(outcomes)).toBe(1);
    expect((await subject.snapshot()).leases).toHaveLength(1);
  });

  it("settles a lease for one of eight", async () => {
    const { tasks, segment, assign, worker } = now();
    const change = aSettle(
      await segment(),
      [await assign(range(0, 10))].map((l) => l),
      { give: range(0, 10) },
    );
    const from = await segment();
    const settle: Settle = {
      ...change,
      segment: { ...change.segment, post: { ...from, version: from.version + 1, leased: emptySet() }, expect: { version: from.version } },
    };
    expect(tally(await Promise.all(Array.from({ length: 8 }, () => tasks.settle(settle))))).toBe(1);
    expect(await worker()).toEqual(aWorker());
  });

  it("never hands out more than the worker has while eight segments want it (W2)", async () => {
    const { tasks, subject, worker } = now();
    const id = experimentId(3);
    await tasks.createExperiment(
      anExperiment({ id }),
      Array.from({ length: 8 }, (_, ordinal) => aSet({ experiment: id, ordinal })),
    );
    const reserved = { cpuMilli: 2500, memoryMib: 1, gpu: 0 };
    const wants = Array.from({ length: 8 }, (_, set) =>
      tasks.assign(
        anAssign({ segment: anUnbornSegment(aSegmentKey(0, set, id)), born: false }, [{ worker: W1, hold: range(0, 1), reserved }]),
      ),
    );
    const given = tally(await Promise.all(wants));
    expect(given).toBeLessThanOrEqual(3);
    expect((await worker()).free.cpuMilli).toBe(8000 - given * 2500);
    expect((await subject.snapshot()).leases).toHaveLength(given);
  });
}
