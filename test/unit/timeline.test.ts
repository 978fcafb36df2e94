/** Timeline and failures of an experiment that ran in virtual time: what really happened, from few items. */
import { expect, test } from "vitest";
import { planOf, planSet } from "../simulation/plan.ts";
import { type Cluster, createCluster, type SimulatedWorker } from "../support/cluster.ts";

const SECOND_MS = 1_000;
const HOUR_MS = 3_600_000;
const RETRIES = { retries: { exit: 1, signal: 0, timeout: 0, "out-of-memory": 0, staging: 0 }, backoffMs: 0 };
const CORES = 4;

const worker = (run: SimulatedWorker["run"]): SimulatedWorker => ({ host: "a", cores: CORES, prefetchPercent: 100, run });
const ended = (c: Cluster) => ["COMPLETED", "FAILED"].includes(c.table.experiments.get(c.experiment)?.status ?? "");
const most = (series: readonly number[] = []) => Math.max(...series);

test("a timeline adds up at every step, shows who stages and who runs, and ends as the experiment did", async () => {
  const plan = planOf([planSet("p", 200, { retry: RETRIES }), planSet("c", 200, { foreach: [0], retry: RETRIES })]);
  const cluster = await createCluster(plan, [
    worker((index) => ({ ms: 4 * SECOND_MS, stagingMs: SECOND_MS, outcome: index % 20 === 0 ? "exit" : "done" })),
  ]);
  await cluster.run(() => ended(cluster), HOUR_MS);
  const { sets, partial, stepMs } = await cluster.orchestrator.timeline(cluster.experiment, 100);
  expect(partial).toBe(false);
  const [p, c] = sets;
  for (const set of [p, c]) {
    expect(set?.done.length).toBeLessThanOrEqual(100);
    for (let i = 0; i < (set?.done.length ?? 0); i++) {
      const all = [set?.queued[i], set?.staging[i], set?.running[i], set?.done[i]].map((n) => n ?? 0);
      expect(all.every((n) => n >= 0)).toBe(true);
      expect(all.reduce((a, b) => a + b)).toBe(200);
    }
  }
  expect([p?.done.at(-1), p?.failedAttempts.at(-1)]).toEqual([190, 20]);
  // The children of those that failed never ran.
  expect(c?.done.at(-1)).toBe(190);
  // Both sets together never have more at hand than there are cores, but for what a step can't tell apart.
  const atOnce = (p?.running ?? []).map((n, i) => n + (p?.staging[i] ?? 0) + (c?.running[i] ?? 0) + (c?.staging[i] ?? 0));
  expect(most(atOnce)).toBeGreaterThanOrEqual(CORES - 1);
  expect(most(atOnce)).toBeLessThanOrEqual(CORES + Math.ceil((2 * CORES * stepMs) / (5 * SECOND_MS)));
  expect(most(p?.staging)).toBeGreaterThan(0);
});

test("a timeline shows what open leases have committed", async () => {
  const cluster = await createCluster(planOf([planSet("p", 400, {})]), [worker(() => ({ ms: 10 * SECOND_MS, outcome: "done" }))]);
  const done = () => [...cluster.table.leases.values()].reduce((n, l) => n + l.refs.length, 0);
  await cluster.run(() => done() >= 5, HOUR_MS);
  const view = await cluster.orchestrator.view(cluster.experiment);
  const { sets } = await cluster.orchestrator.timeline(cluster.experiment, 50);
  expect(view.sets[0]?.done).toBeGreaterThan(0);
  expect(sets[0]?.done.at(-1)).toBe(view.sets[0]?.done);
});

test("failures are summed up by set and cause, with the first examples", async () => {
  const once = { ...RETRIES, retries: { ...RETRIES.retries, exit: 0 } };
  const plan = planOf([planSet("p", 60, { retry: once }), planSet("q", 60, { retry: once })]);
  const outcome = (index: number) => (index % 10 === 3 ? "exit" : index % 10 === 7 ? "timeout" : "done");
  const cluster = await createCluster(plan, [worker((index) => ({ ms: 2 * SECOND_MS, outcome: outcome(index) }))]);
  await cluster.run(() => ended(cluster), HOUR_MS);
  const { failed, counted, groups } = await cluster.orchestrator.failures(cluster.experiment);
  expect([failed, counted]).toEqual([24, 24]);
  const told = groups.map((g) => [g.set, g.cause, g.tasks, g.looked, g.examples.map((e) => e.task)]);
  expect(told.sort()).toEqual([
    ["p", "exit", 6, 6, ["p/3", "p/13", "p/23"]],
    ["p", "timeout", 6, 6, ["p/7", "p/17", "p/27"]],
    ["q", "exit", 6, 6, ["q/3", "q/13", "q/23"]],
    ["q", "timeout", 6, 6, ["q/7", "q/17", "q/27"]],
  ]);
});
