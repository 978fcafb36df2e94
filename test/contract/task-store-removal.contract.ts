/** Deletion, what limits an experiment, and experiments that are kept for a time. */
import { expect, it } from "vitest";
import type { Assign } from "#ports/task-store.ts";
import {
  anAssign,
  anExperiment,
  anUnbornSegment,
  aSegmentKey,
  aSet,
  aSettle,
  experimentId,
  NOW_MS,
  range,
  userId,
} from "../support/state.ts";
import { type Case, DONE, FIRST, refusedBy, W1, W2 } from "../support/task-store-case.ts";

const DELETING = anExperiment({ status: "DELETING", version: 2 });

/** One lease was made and closed, then the experiment turned to DELETING. */
async function deleting(now: Case): Promise<void> {
  const lease = await now.assign(range(0, 10));
  expect(await now.tasks.settle(aSettle(await now.segment(), [lease], { give: range(0, 10) }))).toEqual(DONE);
  expect(await now.tasks.turn({ post: DELETING, expectVersion: 1 })).toEqual(DONE);
}

async function removeAll({ tasks }: Case): Promise<void> {
  expect(await tasks.removeSegment(FIRST)).toEqual(DONE);
  expect(await tasks.removeSet({ experiment: DELETING.id, ordinal: 0 })).toEqual(DONE);
  expect(await tasks.removeExperiment(DELETING)).toEqual(DONE);
}

export function removalCases(now: () => Case): void {
  it("leaves nothing of a deleted experiment but its tombstone, and may be repeated", async () => {
    await deleting(now());
    await now().tasks.createExperiment(anExperiment({ id: experimentId(2) }), [aSet({ experiment: experimentId(2) })]);
    await removeAll(now());
    const { tasks, subject } = now();
    expect(await tasks.removeSegment(FIRST)).toEqual(DONE);
    expect(await tasks.removeSet({ experiment: DELETING.id, ordinal: 0 })).toEqual(DONE);
    const left = await subject.snapshot();
    expect([left.leases, left.segments, left.sets.map((s) => s.experiment), left.gates.map((g) => g.experiment)]).toEqual([
      [],
      [],
      [experimentId(2)],
      [experimentId(2)],
    ]);
    expect(left.experiments.map((e) => e.id)).toEqual([experimentId(2)]);
    expect(await tasks.readExperiment(DELETING.id)).toBeUndefined();
    expect((await tasks.listExperiments(userId(1), { limit: 10 })).items.map((e) => e.id)).toEqual([experimentId(2)]);
    expect((await tasks.liveExperiments(10)).map((e) => e.id)).toEqual([experimentId(2)]);
  });

  it("removes all leases of a segment, however many, and those of no other", async () => {
    const { tasks, subject } = now();
    for (let n = 0; n < 30; n++) {
      const lease = await now().assign(range(n, n + 1));
      await tasks.settle(aSettle(await now().segment(), [lease], { give: range(n, n + 1) }));
    }
    await tasks.assign(anAssign({ segment: anUnbornSegment(aSegmentKey(1)), born: false }, [{ worker: W2, hold: range(0, 1) }]));
    expect(await tasks.removeSegment(FIRST)).toEqual(DONE);
    expect((await subject.snapshot()).leases.map((l) => l.key.segment)).toEqual([1]);
    expect((await subject.snapshot()).segments.map((s) => s.key.segment)).toEqual([1]);
  });

  it("removes an experiment only as it was read", async () => {
    await deleting(now());
    await now().refuses(() => now().tasks.removeExperiment({ ...DELETING, version: 1 }), "experiment");
    await now().refuses(() => now().tasks.removeExperiment({ ...DELETING, version: 3 }), "experiment");
  });

  it("refuses whatever comes late to a deleted experiment: creation, turn, assignment, settlement, deletion", async () => {
    const { tasks, segment, assign, refuses } = now();
    const lease = await assign(range(0, 10));
    const late = aSettle(await segment(), [lease], { give: range(0, 10) });
    expect(await tasks.settle(late)).toEqual(DONE);
    const lateAssign = anAssign({ segment: await segment(), born: true }, [{ worker: W1, hold: range(0, 5) }]);
    expect(await tasks.turn({ post: DELETING, expectVersion: 1 })).toEqual(DONE);
    await removeAll(now());
    await refuses(() => tasks.createExperiment(anExperiment(), [aSet()]), "experiment");
    await refuses(() => tasks.createExperiment(anExperiment({ status: "CREATED", version: 0 }), []), "experiment");
    await refuses(() => tasks.turn({ post: anExperiment({ version: 3 }), expectVersion: 2 }), "experiment");
    await refuses(() => tasks.assign(lateAssign), "gate");
    await refuses(() => tasks.settle(late), "lease");
    await refuses(() => tasks.removeExperiment(DELETING), "experiment");
  });
}

export function limitCases(now: () => Case): void {
  const assigned = async (turnstile: NonNullable<Assign["turnstile"]>, n: number) => ({
    ...anAssign({ segment: await now().segment(), born: n > 0 }, [{ worker: n % 2 === 0 ? W1 : W2, hold: range(n, n + 1) }]),
    turnstile,
  });

  it("lets one of two assignments through that were computed from the same count", async () => {
    const { tasks } = now();
    expect(await tasks.assign(await assigned({ version: 1, handouts: 0 }, 0))).toEqual(DONE);
    expect((await tasks.readExperiment(experimentId(1)))?.handouts).toBe(1);
    const second = await assigned({ version: 1, handouts: 0 }, 1);
    await now().refuses(() => tasks.assign(second), "experiment");
    expect(await tasks.assign({ ...second, turnstile: { version: 1, handouts: 1 } })).toEqual(DONE);
    expect((await tasks.readExperiment(experimentId(1)))?.handouts).toBe(2);
  });

  it("refuses an assignment from before a turn, which may have written an older count", async () => {
    const { tasks } = now();
    expect(await tasks.turn({ post: anExperiment({ version: 2, tasksAtOnce: 5 }), expectVersion: 1 })).toEqual(DONE);
    const change = await assigned({ version: 1, handouts: 0 }, 0);
    expect(await tasks.assign(change)).toEqual(refusedBy("experiment"));
  });

  it("reads back limits, labels and lineage", async () => {
    const { tasks } = now();
    const full = anExperiment({
      ...{ id: experimentId(7), draft: "1-ab", derivedFrom: experimentId(6), labels: { team: "ünï", a: "" } },
      ...{ tasksAtOnce: 5, handouts: 3, retentionDays: 30 },
    });
    expect(await tasks.createExperiment(full, [])).toEqual(DONE);
    expect(await tasks.readExperiment(full.id)).toEqual(full);
  });

  it("lists those that have ended and are kept for a time, and they are not live", async () => {
    const { tasks } = now();
    const ended = { status: "COMPLETED", live: false, endedAtMs: NOW_MS } as const;
    for (let n = 2; n < 20; n++)
      await tasks.createExperiment(anExperiment({ id: experimentId(n), ...ended, ...(n % 2 === 0 ? { retentionDays: n } : {}) }), []);
    await tasks.createExperiment(anExperiment({ id: experimentId(20), retentionDays: 1 }), []);
    const even = Array.from({ length: 9 }, (_, i) => experimentId(2 * i + 2));
    expect((await tasks.keptExperiments(100)).map((e) => e.id).sort()).toEqual([...even].sort());
    expect(await tasks.keptExperiments(3, even[4])).toHaveLength(3);
    expect((await tasks.keptExperiments(100, even[4])).map((e) => e.id).sort()).toEqual([...even].sort());
    const live = (await tasks.liveExperiments(100)).map((e) => e.id);
    expect(live.sort()).toEqual([experimentId(1), experimentId(20)].sort());
    await tasks.turn({ post: anExperiment({ id: experimentId(2), version: 2, status: "DELETING", retentionDays: 2 }), expectVersion: 1 });
    expect((await tasks.keptExperiments(100)).map((e) => e.id)).not.toContain(experimentId(2));
    expect((await tasks.liveExperiments(100)).map((e) => e.id)).toContain(experimentId(2));
  });
}
