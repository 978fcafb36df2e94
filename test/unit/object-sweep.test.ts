/** The sweep of orphaned objects, deletion and retention over the memory adapters: what goes, what never does, what is resumed. */
import { beforeEach, describe, expect, test } from "vitest";
import { createMemoryCostStore } from "#adapters/memory/cost-store.ts";
import { createMemoryInputStore } from "#adapters/memory/input-store.ts";
import { createMemoryObjectStore } from "#adapters/memory/object-store.ts";
import { createMemoryTable } from "#adapters/memory/table.ts";
import { createMemoryTaskStore } from "#adapters/memory/task-store.ts";
import { createMemoryWorkerStore } from "#adapters/memory/worker-store.ts";
import { createPlans, createTaskScheduler, type Hint } from "#core/task-scheduler/index.ts";
import { NO_CAPACITY } from "#domain/capacity.ts";
import { DAY_MS, type Experiment } from "#domain/experiment.ts";
import { emptySet } from "#domain/index-set.ts";
import { draftKey, makeDraft, outputKey, resultKey } from "#domain/object-owner.ts";
import { decodePlan } from "#domain/plan-encoding.ts";
import type { Lease } from "#domain/lease.ts";
import type { Logger } from "#ports/logger.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { anExperiment, aSegmentKey, aSet, aWorker, experimentId, NOW_MS, range } from "../support/state.ts";

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };
const BODY = Buffer.from("x");
const KEY = { ...aSegmentKey(0), epoch: 1 };
const LEASE = { worker: "w" };

const aLease = (over: Partial<Lease>): Lease => ({
  ...{ key: KEY, worker: aWorker().key, nonce: "n", state: "CLOSED", rev: 1, hold: emptySet(), done: emptySet(), failed: emptySet() },
  ...{ causes: new Map(), refs: [], reserved: NO_CAPACITY, runMs: 0, failedMs: 0, assignedAtMs: NOW_MS },
  ...over,
});

function open() {
  const table = createMemoryTable();
  const clock = createFakeClock(NOW_MS);
  const store = createMemoryTaskStore(table);
  const objects = createMemoryObjectStore({ clock });
  const inputs = createMemoryInputStore();
  const hints: Hint[] = [];
  const scheduler = createTaskScheduler({
    ...{
      store,
      objects,
      inputs,
      costs: createMemoryCostStore(),
      clock,
      logger: quiet,
      dispatch: async () => undefined,
      access: async () => "usable",
    },
    workers: createMemoryWorkerStore(table),
    plans: createPlans({ store, objects, decodePlan }),
    random: { next: () => 0.5, bytes: (n) => new Uint8Array(n) },
    hint: async (hint) => void hints.push(hint),
  });
  const keys = async () => (await objects.list("", { limit: 10_000 })).map(({ key }) => key).filter((key) => !key.startsWith("s/"));
  return { table, clock, store, objects, inputs, hints, scheduler, keys };
}

let at: ReturnType<typeof open>;
beforeEach(() => {
  at = open();
});

const put = (...keys: readonly string[]) => Promise.all(keys.map((key) => at.objects.putIfAbsent(key, BODY)));

/** A lease with one committed result that names one large output and one log; they lie under the name of the lease, as all do. */
async function committed(state: Lease["state"]): Promise<{ result: string; output: string; log: string }> {
  const [result, output] = [resultKey(KEY, "named"), outputKey(KEY, "a".repeat(64))];
  const of = (index: number, object: string) => ({ index, outputs: [{ name: "O", path: "o", sha256: "", bytes: 1, object }] });
  const unmasked = of(1, outputKey(KEY, "b".repeat(64)));
  const log = outputKey(KEY, "d".repeat(64));
  await at.objects.putIfAbsent(
    result,
    Buffer.from(JSON.stringify({ lease: LEASE, results: [{ ...of(0, output), logs: { stdout: { object: log } } }, unmasked] })),
  );
  const refs = [{ key: result, sha256: "", mask: range(0, 1) }];
  at.table.leases.set(`${KEY.experiment}/0/0/1`, aLease({ key: KEY, state, refs, done: range(0, 1) }));
  await put(output, log);
  return { result, output, log };
}

describe("the sweep of objects", () => {
  beforeEach(() => at.table.experiments.set(experimentId(1), anExperiment({ draft: "1-a" })));
  const orphans = [resultKey(KEY, "refused"), outputKey(KEY, "b".repeat(64)), outputKey(KEY, "c".repeat(64))];

  test("takes what a closed lease does not name, and leaves what it names", async () => {
    const named = Object.values(await committed("CLOSED"));
    await put(...orphans);
    await at.scheduler.sweep();
    expect(await at.keys()).toEqual(named.sort());
  });

  test("takes nothing of an open lease", async () => {
    const named = Object.values(await committed("OPEN"));
    await put(...orphans);
    await at.scheduler.sweep();
    expect(await at.keys()).toEqual([...named, ...orphans].sort());
  });

  test("takes no output while the result object that may name it can't be read", async () => {
    const { result, output, log } = await committed("CLOSED");
    await at.objects.remove(result);
    await at.scheduler.sweep();
    expect(await at.keys()).toEqual([output, log]);
  });

  test("takes everything of an experiment that is gone, and nothing of a lease that may still come", async () => {
    const gone = { ...aSegmentKey(0, 0, experimentId(9)), epoch: 1 };
    await put(resultKey(gone, "late"), outputKey(gone, "late"), resultKey({ ...KEY, epoch: 7 }, "early"));
    await at.scheduler.sweep();
    expect(await at.keys()).toEqual([resultKey({ ...KEY, epoch: 7 }, "early")]);
  });

  test("takes drafts that lost, at once, and those of experiments that never came, after a day", async () => {
    const begun = makeDraft(NOW_MS, new Uint8Array(2));
    const kept = draftKey(experimentId(1), "1-a", "plan");
    const coming = draftKey(experimentId(9), begun, "plan");
    await put(kept, draftKey(experimentId(1), begun, "plan"), coming);
    await at.scheduler.sweep();
    expect(await at.keys()).toEqual([coming, kept].sort());
    at.clock.jump(DAY_MS + 1);
    await at.scheduler.sweep();
    expect(await at.keys()).toEqual([kept]);
  });

  test("leaves inputs and the keys of others alone", async () => {
    const others = ["c/abc", "r/strange", "p/hash", "pools/worker"];
    await put(...others);
    await at.scheduler.sweep();
    expect(await at.keys()).toEqual([...others].sort());
  });

  test("comes round to every object, some at a time", async () => {
    const many = Array.from({ length: 1_200 }, (_, i) => resultKey(KEY, `kept-${String(i).padStart(4, "0")}`));
    at.table.leases.set(`${KEY.experiment}/0/0/1`, aLease({ key: KEY, state: "OPEN" }));
    const later = { ...aSegmentKey(0, 0, experimentId(9)), epoch: 1 };
    await put(...many, resultKey(later, "orphan"));
    await at.scheduler.sweep();
    expect(await at.keys()).toContain(resultKey(later, "orphan"));
    for (let run = 0; run < 3; run++) await at.scheduler.sweep();
    expect(await at.keys()).toEqual(many);
    await put(resultKey({ ...aSegmentKey(0, 0, experimentId(0)), epoch: 1 }, "orphan"));
    for (let run = 0; run < 3; run++) await at.scheduler.sweep();
    expect(await at.keys()).toEqual(many);
  });
});

describe("deletion", () => {
  const E = anExperiment({ status: "COMPLETED", live: false, draft: "1-a", endedAtMs: NOW_MS });
  const create = async (over: Partial<Experiment> = {}) => {
    await at.store.createExperiment({ ...E, ...over }, [aSet()]);
  };

  test("takes items, objects and pinned inputs, and leaves those of others", async () => {
    await create();
    const other = { ...aSegmentKey(0, 0, experimentId(2)), epoch: 1 };
    await at.store.createExperiment(anExperiment({ id: experimentId(2), draft: "2-b" }), [aSet({ experiment: experimentId(2) })]);
    await put(
      draftKey(E.id, "1-a", "plan"),
      draftKey(E.id, "1-a", "file"),
      resultKey(KEY, "r"),
      outputKey(KEY, "o"),
      resultKey(other, "r"),
    );
    await at.inputs.pin(E.id, "s", "a", { sha256: "x", bytes: 1 });
    const report = await at.scheduler.control.startDeletion(E.id);
    expect(report.experiment?.status).toBe("DELETING");
    await at.scheduler.control.carryOn(report.experiment as Experiment);
    expect(await at.keys()).toEqual([resultKey(other, "r")]);
    expect([...at.table.experiments.keys()]).toEqual([experimentId(2)]);
    expect(await at.inputs.read(E.id, "s", "a")).toBeUndefined();
    expect((await at.scheduler.control.startDeletion(E.id)).experiment).toBeUndefined();
  });

  test.each(["RUNNING", "PAUSED", "RETRYING"] as const)("is refused while it is %s", async (status) => {
    await create({ status, live: true });
    expect((await at.scheduler.control.startDeletion(E.id)).kind).toBe("unchanged");
    expect(at.table.experiments.get(E.id)?.status).toBe(status);
  });

  test("of a canceled one takes its leases back first", async () => {
    await create({ status: "CANCELED", live: true });
    expect((await at.scheduler.control.startDeletion(E.id)).experiment?.status).toBe("DELETING");
  });

  test("is carried on by the timer where it broke off", async () => {
    await create();
    await put(resultKey(KEY, "r"));
    await at.scheduler.control.startDeletion(E.id);
    expect(at.table.experiments.has(E.id)).toBe(true);
    await at.scheduler.sweep();
    expect(at.table.experiments.has(E.id)).toBe(false);
    expect(await at.keys()).toEqual([]);
  });

  test("gives way after a while and asks for another turn", async () => {
    await create();
    const { remove } = at.objects;
    at.objects.remove = async (key) => {
      at.clock.jump(1_000);
      await remove(key);
    };
    await put(...Array.from({ length: 120 }, (_, i) => resultKey(KEY, `r${i}`)));
    const { experiment } = await at.scheduler.control.startDeletion(E.id);
    await at.scheduler.control.carryOn(experiment as Experiment);
    expect(at.table.experiments.has(E.id)).toBe(true);
    expect(at.hints).toContainEqual({ experiment: E.id });
    for (let run = 0; run < 5 && at.table.experiments.has(E.id); run++) await at.scheduler.control.carryOn(experiment as Experiment);
    expect(await at.keys()).toEqual([]);
  });

  test("comes by itself when its time is over, and not a moment before", async () => {
    await create({ retentionDays: 2 });
    at.clock.jump(2 * DAY_MS - 1);
    await at.scheduler.sweep();
    expect(at.table.experiments.get(E.id)?.status).toBe("COMPLETED");
    at.clock.jump(1);
    await at.scheduler.sweep();
    expect(at.hints).toContainEqual({ experiment: E.id });
    await at.scheduler.sweep();
    expect(at.table.experiments.has(E.id)).toBe(false);
  });
});
