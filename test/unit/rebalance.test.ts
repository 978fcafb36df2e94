import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chooseRecalls, type Held } from "#core/task-scheduler/rebalance.ts";
import { REBALANCE_WAIT_MS } from "#core/task-scheduler/limits.ts";
import type { Capacity } from "#domain/capacity.ts";
import { makeId } from "#domain/id.ts";
import { emptySet, setOf } from "#domain/index-set.ts";
import type { Lease } from "#domain/lease.ts";
import type { Worker } from "#domain/worker.ts";

const NOW_MS = 1_700_000_000_000;
const MINUTE_MS = 60_000;
const bytes = (n: number) => new Uint8Array(10).fill(n);
const experiment = makeId("experiment", NOW_MS, bytes(1));
const cores = (n: number): Capacity => ({ cpuMilli: 1000 * n, memoryMib: 0, gpu: 0 });

/** A worker with no room for waiting work. */
function worker(n: number, size: number, free: number, more: Partial<Worker> = {}): Worker {
  return {
    key: { id: makeId("worker", NOW_MS, bytes(n)), incarnation: 1 },
    pool: "p",
    state: "READY",
    size: cores(size),
    cap: cores(size),
    free: cores(free),
    leases: new Set(),
    session: 1,
    gateway: makeId("gateway", NOW_MS, bytes(1)),
    beat: 1,
    expiresAtMs: NOW_MS + MINUTE_MS,
    endsAtMs: undefined,
    packages: [],
    phases: new Map(),
    host: "h",
    version: "1",
    ...more,
  };
}

function held(at: Worker, tasks: number, facts: { epoch?: number; taskMs?: number; ageMs?: number; done?: number } = {}): Held {
  const all = Array.from({ length: tasks }, (_, i) => i);
  const lease: Lease = {
    key: { experiment, set: 0, segment: 0, epoch: facts.epoch ?? 1 },
    worker: at.key,
    nonce: "n",
    state: "OPEN",
    rev: 0,
    hold: setOf(all),
    done: setOf(all.slice(0, facts.done ?? 0)),
    failed: emptySet(),
    causes: new Map(),
    refs: [],
    reserved: cores(1),
    runMs: 0,
    failedMs: 0,
    assignedAtMs: NOW_MS - (facts.ageMs ?? 0),
  };
  return {
    lease,
    worker: at,
    kind: { pools: [], barred: new Set(), need: cores(1), packages: [], timeLimitMs: 24 * 60 * MINUTE_MS, taskMs: facts.taskMs },
  };
}

const counts = (all: readonly Held[], idle: readonly Worker[]) => chooseRecalls(all, idle, NOW_MS).map((r) => r.count);

describe("tasks to ask back", () => {
  const busy = worker(1, 8, 0);

  test("what waits behind tasks of unknown length goes to idle slots", () => {
    expect(counts([held(busy, 16, { ageMs: MINUTE_MS })], [worker(2, 8, 8)])).toEqual([8]);
    expect(counts([held(busy, 16, { ageMs: MINUTE_MS })], [worker(2, 2, 2)])).toEqual([2]);
  });

  test("of much that waits, an even share", () => {
    expect(counts([held(busy, 88, { taskMs: MINUTE_MS })], [worker(2, 8, 8)])).toEqual([40]);
  });

  test("nothing of what runs, or waits but shortly", () => {
    expect(counts([held(busy, 8, { ageMs: MINUTE_MS })], [worker(2, 8, 8)])).toEqual([]);
    expect(counts([held(busy, 16, { taskMs: REBALANCE_WAIT_MS / 2, ageMs: 100 })], [worker(2, 8, 8)])).toEqual([]);
  });

  test("short tasks behind one that takes long are found by the age of their lease", () => {
    const one = worker(1, 1, 0);
    expect(counts([held(one, 20, { taskMs: 10, ageMs: MINUTE_MS, done: 3 })], [worker(2, 4, 4)])).toEqual([13]);
  });

  test("the newest lease of a worker gives first", () => {
    const leases = [held(busy, 8, { epoch: 1, taskMs: MINUTE_MS, ageMs: 5_000 }), held(busy, 8, { epoch: 2, taskMs: MINUTE_MS })];
    const recalls = chooseRecalls(leases, [worker(2, 8, 8)], NOW_MS);
    expect(recalls.map((r) => [r.lease.key.epoch, r.count])).toEqual([[2, 8]]);
  });

  test("room to wait is no idle slot, and only workers that may run the tasks count", () => {
    const full = worker(2, 8, 8, { cap: cores(16) });
    const all = [held(busy, 16, { ageMs: MINUTE_MS })];
    expect(counts(all, [full])).toEqual([]);
    expect(counts([{ ...(all[0] as Held), kind: { ...(all[0] as Held).kind, pools: ["other"] } }], [worker(2, 8, 8)])).toEqual([]);
    expect(counts(all, [worker(2, 8, 8, { endsAtMs: NOW_MS + MINUTE_MS })])).toEqual([]);
  });

  test("never more than waits, never nothing when something waits long and slots idle", () => {
    const arbitrary = fc.record({
      holders: fc.array(fc.record({ size: fc.integer({ min: 1, max: 8 }), tasks: fc.integer({ min: 1, max: 100 }) }), {
        minLength: 1,
        maxLength: 5,
      }),
      idle: fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 1, maxLength: 4 }),
    });
    fc.assert(
      fc.property(arbitrary, ({ holders, idle }) => {
        const all = holders.map((h, i) => held(worker(i + 10, h.size, 0), h.tasks, { taskMs: MINUTE_MS, epoch: i }));
        const recalls = chooseRecalls(
          all,
          idle.map((size, i) => worker(i + 100, size, size)),
          NOW_MS,
        );
        const waiting = holders.map((h) => Math.max(0, h.tasks - h.size));
        const most = waiting.reduce((a, b) => a + b, 0);
        const asked = recalls.reduce((n, r) => n + r.count, 0);
        for (const r of recalls) expect(r.count).toBeLessThanOrEqual(waiting[r.lease.key.epoch] as number);
        expect(asked).toBeGreaterThanOrEqual(
          Math.min(
            most,
            idle.reduce((a, b) => a + b, 0),
          ),
        );
      }),
    );
  });
});
