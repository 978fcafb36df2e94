/** The wall clock of the machine jumps while work is done: nobody is lost, nothing waits for the jump to pass. */
import { describe, expect, test } from "vitest";
import { planOf, planSet } from "../simulation/plan.ts";
import { type Cluster, createCluster } from "../support/cluster.ts";

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;

const status = (c: Cluster) => c.table.experiments.get(c.experiment)?.status;
const workers = (c: Cluster) => [...c.table.workers.values()];
const causes = (c: Cluster) => new Set([...c.table.leases.values()].map((l) => l.closeCause));

/** Counts the attempts that begin. */
function createWorkers(count: number, taskMs: number, failsFirst = false) {
  const attempts = new Map<number, number>();
  const run = (index: number) => {
    attempts.set(index, (attempts.get(index) ?? 0) + 1);
    const fails = failsFirst && attempts.get(index) === 1;
    return { ms: taskMs, outcome: fails ? ("exit" as const) : ("done" as const) };
  };
  const hosts = Array.from({ length: count }, (_, i) => ({ host: `w${i}`, cores: 4, prefetchPercent: 0, run }));
  return { hosts, most: () => Math.max(...attempts.values()) };
}

describe.each([
  ["forward", HOUR_MS],
  ["back", -HOUR_MS],
])("a jump of an hour %s", (_, byMs) => {
  test.each([1, 5])("with %i workers: none is taken for dead, every task runs once", async (count) => {
    const { hosts, most } = createWorkers(count, 20 * SECOND_MS);
    const cluster = await createCluster(planOf([planSet("p", 120 * count, {})]), hosts);
    // Silence is looked for 50 ms after each full minute, gateways beat on each fifth second: once before anybody beats again, once after the gateway does.
    for (const atMs of [3 * MINUTE_MS + 20, 7 * MINUTE_MS - 5_900]) cluster.kernel.at(atMs, () => cluster.kernel.stepWall(byMs));
    await cluster.run(() => status(cluster) === "COMPLETED", 40 * HOUR_MS);
    expect(status(cluster)).toBe("COMPLETED");
    expect(workers(cluster).map((w) => w.state)).toEqual(hosts.map(() => "READY"));
    expect(most()).toBe(1);
    expect(causes(cluster)).toEqual(new Set(["finished"]));
  });
});

test("a worker that is gone is found out after a jump forward too, and its tasks run elsewhere", async () => {
  const { hosts } = createWorkers(2, 20 * SECOND_MS);
  const cluster = await createCluster(planOf([planSet("p", 120, {})]), hosts);
  cluster.kernel.at(151_000, () => {
    cluster.kernel.stepWall(HOUR_MS);
    cluster.silence("w1");
  });
  const dead = () => workers(cluster).some((w) => w.host === "w1" && w.state === "DEAD") || !workers(cluster).some((w) => w.host === "w1");
  const ms = await cluster.run(dead, HOUR_MS);
  expect(dead()).toBe(true);
  expect(ms).toBeLessThan(10 * MINUTE_MS);
  await cluster.run(() => status(cluster) === "COMPLETED", 40 * HOUR_MS);
  expect(status(cluster)).toBe("COMPLETED");
});

test("a retry that waits does not wait for the hour that the clock was set back", async () => {
  const retry = { retries: { exit: 3, signal: 0, timeout: 0, "out-of-memory": 0, staging: 0 }, backoffMs: 30 * SECOND_MS };
  const { hosts } = createWorkers(1, SECOND_MS, true);
  const cluster = await createCluster(planOf([planSet("p", 4, { retry })]), hosts);
  cluster.kernel.at(20 * SECOND_MS, () => cluster.kernel.stepWall(-HOUR_MS));
  const ms = await cluster.run(() => status(cluster) === "COMPLETED", 3 * HOUR_MS);
  expect(status(cluster)).toBe("COMPLETED");
  expect(ms).toBeLessThan(5 * MINUTE_MS);
});
