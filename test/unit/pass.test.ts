/** Scheduling passes over more experiments than one pass looks at. */
import { expect, test } from "vitest";
import { createMemoryInputStore } from "#adapters/memory/input-store.ts";
import { createMemoryTable } from "#adapters/memory/table.ts";
import { createMemoryTaskStore } from "#adapters/memory/task-store.ts";
import { createMemoryCostStore } from "#adapters/memory/cost-store.ts";
import { createMemoryWorkerStore } from "#adapters/memory/worker-store.ts";
import { createPlans, createTaskScheduler } from "#core/task-scheduler/index.ts";
import type { Experiment } from "#domain/experiment.ts";
import type { ObjectStore } from "#ports/object-store.ts";
import type { Logger } from "#ports/logger.ts";
import { planOf, planSet } from "../simulation/plan.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { aSet, aWorker, anExperiment, experimentId, NOW_MS } from "../support/state.ts";

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };
const NEEDS_GPUS = { capacity: { cpuMilli: 1000, memoryMib: 0, gpu: 64 }, diskMib: 0, vramMib: 0, nodes: 1, timeLimitMs: 60_000 };
const ORDINARY = 99;
const IN_FRONT = 200;

/** `IN_FRONT` experiments that no worker fits, or that are paused, and behind them one that could run. */
async function crowd(of: Pick<Experiment, "status">, dispatch = async (): Promise<void> => undefined) {
  const table = createMemoryTable();
  const store = createMemoryTaskStore(table);
  const plans = { g: planOf([planSet("p", 10, { resources: NEEDS_GPUS })]), o: planOf([planSet("p", 10, {})]) };
  const create = (n: number, over: Partial<Experiment>) =>
    store.createExperiment(anExperiment({ id: experimentId(n), ...over }), [aSet({ experiment: experimentId(n), count: 10 })]);
  for (let n = 1; n <= IN_FRONT; n++) if (n !== ORDINARY) await create(n, { planHash: "g", ...of });
  await create(ORDINARY, { planHash: "o" });
  const worker = aWorker();
  table.workers.set(`${worker.key.id}#1`, worker);
  const objects = { get: async (key: string) => Buffer.from(key) } as unknown as ObjectStore;
  const decodePlan = (bytes: Uint8Array) => plans[Buffer.from(bytes).toString().endsWith("g") ? "g" : "o"];
  let drawn = 0;
  const scheduler = createTaskScheduler({
    access: async () => "usable",
    store,
    costs: createMemoryCostStore(),
    workers: createMemoryWorkerStore(table),
    plans: createPlans({ store, objects, decodePlan }),
    objects,
    inputs: createMemoryInputStore(),
    clock: createFakeClock(NOW_MS),
    random: { next: () => (drawn++ * 0.618) % 1, bytes: (n) => new Uint8Array(n).fill(drawn++) },
    logger: quiet,
    hint: async () => undefined,
    dispatch,
  });
  const given = () => [...table.leases.values()].filter((l) => l.key.experiment === experimentId(ORDINARY)).length;
  return { scheduler, given };
}

test("an experiment behind hundreds that can't run gets its turn though no hint names it", async () => {
  const { scheduler, given } = await crowd({ status: "RUNNING" });
  for (let pass = 0; pass < 20 && given() === 0; pass++) await scheduler.schedule([{}]);
  expect(given()).toBe(1);
});

test("paused experiments are not in the way of others", async () => {
  const { scheduler, given } = await crowd({ status: "PAUSED" });
  await scheduler.schedule([{}]);
  expect(given()).toBe(1);
});

test("a pass goes on when the gateway that it wants to tell is gone", async () => {
  const { scheduler, given } = await crowd({ status: "PAUSED" }, () => Promise.reject(new Error("there is no such queue")));
  expect((await scheduler.schedule([{}])).leases).toBe(1);
  expect(given()).toBe(1);
});
