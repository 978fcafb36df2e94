/** Budgets: when nothing more is handed out, how far beyond it goes, and that raising it lets the experiment go on. */
import { describe, expect, test } from "vitest";
import { type Budget, budgetHold, budgetOf, budgetSpecOf } from "#domain/budget.ts";
import { NANO_USD } from "#domain/cost.ts";
import { createCluster } from "../support/cluster.ts";
import { planOf, planSet } from "../simulation/plan.ts";

const TASKS = 200;
const SLOTS = 4;
const TASK_MS = 1_000;
const HOUR_MS = 3_600_000;

const worker = {
  host: "a",
  cores: SLOTS,
  prefetchPercent: 100,
  run: (index: number) => ({ ms: TASK_MS, outcome: index % 10 === 9 ? ("exit" as const) : ("done" as const) }),
};

async function held(budget: Budget) {
  const cluster = await createCluster(planOf([planSet("a", TASKS, {})]), [worker], budget);
  await cluster.run(() => false, HOUR_MS);
  const view = await cluster.orchestrator.view(cluster.experiment);
  return { cluster, view, ended: (view.sets[0]?.done ?? 0) + (view.sets[0]?.failed ?? 0) };
}

/** Looks again when the cluster is so old. */
const raised = async ({ cluster }: Awaited<ReturnType<typeof held>>, budget: Budget, ageMs = 2 * HOUR_MS) => {
  await cluster.orchestrator.edit(cluster.experiment, { budget });
  await cluster.run(() => false, ageMs);
  return cluster.orchestrator.view(cluster.experiment);
};

describe("a budget", () => {
  test("holds when one of its limits is reached, and says which", () => {
    const budget = budgetOf({ usd: 0.5, tasks: 10 });
    expect(budget).toEqual({ nanoUsd: 500_000_000, tasks: 10 });
    expect(budgetSpecOf(budget)).toEqual({ usd: 0.5, tasks: 10 });
    expect(budgetHold(budget, { nanoUsd: 499_999_999, coreMs: 1e12, tasks: 9 })).toBeUndefined();
    expect(budgetHold(budget, { nanoUsd: 0, coreMs: 0, tasks: 10 })).toEqual({ key: "tasks", spent: 10, limit: 10 });
    expect(budgetHold(budget, { nanoUsd: 500_000_001, coreMs: 0, tasks: 0 })?.key).toBe("usd");
    expect(budgetHold({}, { nanoUsd: 1, coreMs: 1, tasks: 1 })).toBeUndefined();
  });
});

describe("an experiment with a budget", () => {
  test("of tasks gets exactly so many, stays RUNNING, and goes on when it is raised", async () => {
    const at = await held({ tasks: 37 });
    expect(at.ended).toBe(37);
    expect(at.view.status).toBe("RUNNING");
    expect(at.view.budget?.held).toMatchObject({ key: "tasks", spent: 37, limit: 37 });
    const after = await raised(at, { tasks: 50 });
    expect((after.sets[0]?.done ?? 0) + (after.sets[0]?.failed ?? 0)).toBe(50);
    const free = await raised(at, {}, 3 * HOUR_MS);
    expect(free.status).toBe("FAILED"); // a tenth of its tasks exits with an error
    expect(free.budget).toBeUndefined();
  });

  test("of core hours goes beyond it by no more than what was running, failed attempts included", async () => {
    const coreMs = 40 * TASK_MS;
    const at = await held({ coreMs });
    const spentMs = (at.view.budget?.spent.core_hours ?? 0) * HOUR_MS;
    expect(at.view.budget?.held?.key).toBe("core_hours");
    expect(spentMs).toBeGreaterThanOrEqual(coreMs);
    // One set of slots running, and one waiting at the worker.
    expect(spentMs).toBeLessThanOrEqual(coreMs + 2 * SLOTS * TASK_MS * 1.5);
    expect(at.ended).toBeLessThan(TASKS);
    expect((await raised(at, { coreMs: TASKS * TASK_MS * 10 })).status).toBe("FAILED");
  });

  test("of dollars gets nothing once meters have saved that much", async () => {
    const cluster = await createCluster(planOf([planSet("a", TASKS, {})]), [worker], { nanoUsd: NANO_USD });
    const payer = cluster.experiment;
    await cluster.costs.save({ payer, writer: "a", sequence: 1, usage: { "object-puts": 200_000 * 1_000_000 } });
    await cluster.run(() => false, HOUR_MS);
    const view = await cluster.orchestrator.view(payer);
    expect([view.status, view.sets[0]?.done, view.sets[0]?.leased]).toEqual(["RUNNING", 0, 0]);
    expect(view.budget?.held).toMatchObject({ key: "usd", spent: 1, limit: 1 });
    expect(cluster.table.snapshot().leases).toEqual([]);
    await cluster.orchestrator.edit(payer, { budget: { nanoUsd: 2 * NANO_USD } });
    await cluster.run(() => false, 2 * HOUR_MS);
    expect((await cluster.orchestrator.view(payer)).status).toBe("FAILED");
  });
});
