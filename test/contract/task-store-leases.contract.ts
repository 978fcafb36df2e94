/** The part of the TaskStore contract that is about leases: commit and settle. */
import { expect, it } from "vitest";
import { emptySet, minus, sameSet, setOf } from "#domain/index-set.ts";
import { type Lease, leaseName } from "#domain/lease.ts";
import type { Segment } from "#domain/segment.ts";
import type { Worker } from "#domain/worker.ts";
import type { Settle } from "#ports/task-store.ts";
import { aCommit, anAssign, aSet, aSettle, aWorker, experimentId, NOW_MS, range, workerId } from "../support/state.ts";

import { type Case, DONE, W1, W2 } from "../support/task-store-case.ts";

export function commitCases(now: () => Case): void {
  it("writes the lease and nothing else", async () => {
    const { tasks, segment, assign, lease } = now();
    const opened = await assign(range(0, 10));
    const before = await segment();
    const change = aCommit(opened, range(0, 4), setOf([4]));
    const post: Lease = {
      ...change.post,
      causes: new Map([[4, "out-of-memory"]]),
      refs: [{ key: "r/1", sha256: "b".repeat(64), mask: range(0, 5) }],
      runMs: 1234,
      failedMs: 56,
    };
    expect(await tasks.commit({ ...change, post })).toEqual(DONE);
    expect(await lease(1)).toEqual(post);
    expect(await segment()).toEqual(before);
  });

  it("refuses another revision: committing twice changes nothing (T3)", async () => {
    const { tasks, assign, lease, refuses } = now();
    const opened = await assign(range(0, 10));
    const change = aCommit(opened, range(0, 4));
    await refuses(() => tasks.commit(aCommit({ ...opened, rev: 1 }, range(0, 4))), "lease");
    expect(await tasks.commit(change)).toEqual(DONE);
    await refuses(() => tasks.commit(change), "lease");
    expect((await lease(1)).rev).toBe(1);
  });

  it("refuses a lease that is closed or was never given (T2)", async () => {
    const { tasks, segment, assign, lease, refuses } = now();
    const opened = await assign(range(0, 10));
    await refuses(() => tasks.commit(aCommit({ ...opened, key: { ...opened.key, epoch: 2 } }, range(0, 4))), "lease");
    expect(await tasks.settle(aSettle(await segment(), [opened], { give: range(0, 10) }))).toEqual(DONE);
    const closed = await lease(1);
    await refuses(() => tasks.commit(aCommit(opened, range(0, 4))), "lease");
    await refuses(() => tasks.commit(aCommit({ ...closed, state: "OPEN" }, range(0, 4))), "lease");
  });
}

export function settleCases(now: () => Case): void {
  it("folds a part and leaves the lease open and the worker as it was", async () => {
    const { tasks, segment, assign, lease, worker } = now();
    await tasks.commit(aCommit(await assign(range(0, 10)), range(0, 4)));
    const before = await worker();
    expect(await tasks.settle(aSettle(await segment(), [await lease(1)]))).toEqual(DONE);
    expect(await lease(1)).toMatchObject({ state: "OPEN", rev: 2 });
    expect(sameSet((await lease(1)).hold, range(4, 10))).toBe(true);
    expect(sameSet((await segment()).done, range(0, 4))).toBe(true);
    expect(sameSet((await segment()).leased, range(4, 10))).toBe(true);
    expect(await worker()).toEqual(before);
  });

  it("keeps tries, cause and run time", async () => {
    const { tasks, segment, assign, lease } = now();
    const change = aSettle(await segment(), [await assign(range(0, 2))], { give: range(0, 2) });
    const from = await segment();
    const post: Segment = {
      ...from,
      version: from.version + 1,
      leased: emptySet(),
      failed: setOf([1]),
      tries: new Map([
        [0, { attempts: 0, losses: 2, notBeforeMs: 0 }],
        [4095, { attempts: 300, losses: 255, notBeforeMs: NOW_MS + 1 }],
      ]),
      runMs: 98.5,
      failedMs: 7,
    };
    const leases = change.leases.map((l) => ({ ...l, post: { ...l.post, closeCause: "worker-lost" as const } }));
    expect(await tasks.settle({ leases, segment: { post, expect: { version: from.version }, setCount: 10_000 } })).toEqual(DONE);
    expect((await segment()).tries).toEqual(
      new Map([
        [0, { attempts: 0, losses: 2, notBeforeMs: 0 }],
        [4095, { attempts: 255, losses: 255, notBeforeMs: NOW_MS + 1000 }],
      ]),
    );
    expect((await segment()).runMs).toBe(98.5);
    expect(await lease(1)).toMatchObject({ state: "CLOSED", closeCause: "worker-lost" });
  });

  it("adds a closing segment to its set's sums, once", async () => {
    const { tasks, segment, assign, lease, refuses } = now();
    await tasks.commit(aCommit(await assign(range(0, 4096)), range(0, 4000), range(4000, 4096)));
    const change = aSettle(await segment(), [await lease(1)]);
    expect(change.sums).toEqual({ closed: 1, done: 4000, failed: 96, skipped: 0 });
    expect(await tasks.settle(change)).toEqual(DONE);
    expect(await tasks.readSets(experimentId(1))).toEqual([aSet({ next: 1, closed: 1, done: 4000, failed: 96 })]);
    expect(await segment()).toEqual(change.segment.post);
    await refuses(() => tasks.settle(change), "lease");
  });

  it("refuses a lease that is closed, of another revision or absent, naming it", async () => {
    const { tasks, segment, assign, refuses } = now();
    const first = await assign(range(0, 10));
    const second = await assign(range(10, 20));
    const from = await segment();
    await refuses(() => tasks.settle(aSettle(from, [first, { ...second, rev: 1 }])), "lease", 1);
    await refuses(() => tasks.settle(aSettle(from, [{ ...first, key: { ...first.key, epoch: 9 } }])), "lease", 0);
    expect(await tasks.settle(aSettle(from, [first], { give: range(0, 10) }))).toEqual(DONE);
    const after = await segment();
    await refuses(() => tasks.settle(aSettle(after, [{ ...first, rev: 1 }], { give: range(0, 10) })), "lease", 0);
    await refuses(() => tasks.settle(aSettle(after, [second, first], { give: range(0, 20) })), "lease", 1);
    expect(await tasks.settle(aSettle(after, [second], { give: range(10, 20) }))).toEqual(DONE);
  });

  it("refuses a segment of another version", async () => {
    const { tasks, segment, assign, refuses } = now();
    const opened = await assign(range(0, 10));
    const from = await segment();
    for (const version of [from.version - 1, from.version + 1])
      await refuses(() => tasks.settle(aSettle({ ...from, version }, [opened])), "segment");
    expect(await tasks.settle(aSettle(from, [opened]))).toEqual(DONE);
  });
}

export function settleWorkerCases(now: () => Case): void {
  it("gives a closed lease's reservation back once", async () => {
    const { tasks, segment, assign, worker, refuses } = now();
    const opened = await assign(range(0, 10));
    const change = aSettle(await segment(), [opened], { give: range(0, 10) });
    expect(await tasks.settle(change)).toEqual(DONE);
    expect(await worker()).toEqual(aWorker());
    await refuses(() => tasks.settle(change), "lease");
  });

  it("gives back two leases of one worker and one of another, and keeps an open one", async () => {
    const { tasks, segment, assign, worker } = now();
    const first = await assign(range(0, 10));
    const second = await assign(range(10, 20));
    const kept = await assign(range(20, 30));
    const elsewhere = anAssign({ segment: await segment(), born: true }, [{ worker: W2, hold: range(30, 40) }]);
    expect(await tasks.assign(elsewhere)).toEqual(DONE);
    const leases = [kept, first, elsewhere.leases[0] as Lease, second];
    expect(await tasks.settle(aSettle(await segment(), leases, { give: minus(range(0, 40), range(20, 30)) }))).toEqual(DONE);
    expect(await worker()).toEqual(aWorker({ free: { cpuMilli: 7000, memoryMib: 7680, gpu: 2 }, leases: new Set([leaseName(kept.key)]) }));
    expect(await worker(W2)).toEqual(aWorker({ key: W2 }));
  });

  it("takes back from a draining and from a dead worker", async () => {
    const { tasks, subject, segment, assign, worker } = now();
    const first = await assign(range(0, 10));
    const second = await assign(range(10, 20));
    await subject.workers.drain(W1);
    expect(await tasks.settle(aSettle(await segment(), [first], { give: range(0, 10) }))).toEqual(DONE);
    await subject.workers.markDead(W1, 0);
    expect(await tasks.settle(aSettle(await segment(), [second], { give: range(10, 20) }))).toEqual(DONE);
    expect(await worker()).toEqual(aWorker({ state: "DEAD" }));
    expect(await subject.workers.removeDead(W1)).toEqual(DONE);
  });

  it("is refused by a worker that is gone or does not hold the lease", async () => {
    const { tasks, segment, assign, refuses } = now();
    const first = await assign(range(0, 10));
    const second = await assign(range(10, 20));
    const from = await segment();
    const closing = (worker: Worker["key"]): Settle => aSettle(from, [{ ...first, worker }], { give: range(0, 10) });
    await refuses(() => tasks.settle(closing(W2)), "worker");
    await refuses(() => tasks.settle(closing({ id: workerId(9), incarnation: 1 })), "worker");
    const both = aSettle(from, [first, { ...second, worker: W2 }], { give: range(0, 20) });
    await refuses(() => tasks.settle(both), "worker", 1);
    // The worker holds the first of these two and not the other.
    const elsewhere = anAssign({ segment: from, born: true }, [{ worker: W2, hold: range(30, 40) }]);
    expect(await tasks.assign(elsewhere)).toEqual(DONE);
    const foreign = { ...(elsewhere.leases[0] as Lease), worker: W1 };
    await refuses(async () => tasks.settle(aSettle(await segment(), [first, foreign], { give: range(0, 40) })), "worker", 0);
  });
}
