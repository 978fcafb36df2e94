/** What the parts do together, in virtual time: tail rebalancing and black holes. */
import { describe, expect, test } from "vitest";
import { sizeOf } from "#domain/index-set.ts";
import { planOf, planSet } from "../simulation/plan.ts";
import { type Cluster, createCluster, type SimulatedWorker } from "../support/cluster.ts";

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const ONE_HOUR = { capacity: { cpuMilli: 1000, memoryMib: 0, gpu: 0 }, diskMib: 0, vramMib: 0, nodes: 1, timeLimitMs: 24 * HOUR_MS };
const RETRIES = { retries: { exit: 0, signal: 0, timeout: 0, "out-of-memory": 0, staging: 0 }, backoffMs: 0 };

const status = (c: Cluster) => c.table.experiments.get(c.experiment)?.status;
const ended = (c: Cluster) => status(c) === "COMPLETED" || status(c) === "FAILED";
const failed = (c: Cluster) => [...c.table.segments.values()].reduce((n, s) => n + sizeOf(s.failed), 0);

describe("tail rebalancing", () => {
  const steady = (host: string, more: Partial<SimulatedWorker> = {}): SimulatedWorker => ({
    ...{ host, cores: 4, prefetchPercent: 0, run: () => ({ ms: HOUR_MS, outcome: "done" }) },
    ...more,
  });

  test("tasks of an hour that wait behind others move to a worker that comes later", async () => {
    const cluster = await createCluster(planOf([planSet("p", 14, { resources: ONE_HOUR })]), [
      steady("a"),
      steady("b", { cores: 20, joinsAtMs: 3 * MINUTE_MS }),
    ]);
    const ms = await cluster.run(() => ended(cluster), 5 * HOUR_MS);
    expect(status(cluster)).toBe("COMPLETED");
    // One after the other at the first worker would take two hours.
    expect(ms).toBeLessThan(HOUR_MS + 6 * MINUTE_MS);
  });

  test("short tasks do not wait for the one among them that takes an hour", async () => {
    const run = (index: number) => ({ ms: index === 0 ? HOUR_MS : SECOND_MS, outcome: "done" as const });
    const cluster = await createCluster(planOf([planSet("p", 400, { resources: ONE_HOUR })]), [
      steady("a", { cores: 1, prefetchPercent: 100, run }),
      steady("b", { cores: 1, prefetchPercent: 100, run }),
    ]);
    const done = () => [...cluster.table.leases.values()].reduce((n, l) => n + sizeOf(l.done), 0);
    const ms = await cluster.run(() => done() >= 399, 5 * HOUR_MS);
    expect(ms).toBeLessThan(HOUR_MS / 2);
  });
});

describe("black holes", () => {
  const good = (host: string): SimulatedWorker => ({
    ...{ host, cores: 4, prefetchPercent: 100, run: () => ({ ms: 2 * SECOND_MS, outcome: "done" as const }) },
  });
  const states = (c: Cluster) => new Map([...c.table.workers.values()].map((w) => [w.host, w.state]));

  test("a worker where everything fails at once is drained, and no task pays for it", async () => {
    const hole: SimulatedWorker = {
      ...{ host: "hole", cores: 16, prefetchPercent: 100, joinsAtMs: 10 * SECOND_MS },
      run: () => ({ ms: 10, outcome: "exit" }),
    };
    const cluster = await createCluster(planOf([planSet("p", 2_000, { retry: RETRIES })]), [good("a"), good("b"), hole]);
    await cluster.run(() => ended(cluster), 5 * HOUR_MS);
    expect(status(cluster)).toBe("COMPLETED");
    expect(failed(cluster)).toBe(0);
    expect(states(cluster).get("hole")).not.toBe("READY");
    expect(states(cluster).get("a")).toBe("READY");
  });

  test("a script that is broken for many tasks costs one worker at most", async () => {
    const picky = (host: string): SimulatedWorker => ({
      ...good(host),
      run: (index) => (index < 200 ? { ms: 100, outcome: "done" } : { ms: 10, outcome: "exit" }),
    });
    const cluster = await createCluster(planOf([planSet("p", 1_000, { retry: RETRIES })]), ["a", "b", "c"].map(picky));
    await cluster.run(() => ended(cluster), 5 * HOUR_MS);
    expect(status(cluster)).toBe("FAILED");
    expect(failed(cluster)).toBe(800);
    expect([...states(cluster).values()].filter((s) => s !== "READY").length).toBeLessThanOrEqual(1);
  });
});

test("a task that takes long to stage is seen to do so", async () => {
  const run = () => ({ ms: MINUTE_MS, outcome: "done" as const, stagingMs: MINUTE_MS });
  const cluster = await createCluster(planOf([planSet("p", 3, { resources: ONE_HOUR })]), [
    { host: "a", cores: 2, prefetchPercent: 0, run },
  ]);
  const seen: string[] = [];
  let asked = 0;
  const ask = () => {
    if (asked++ < 40) cluster.kernel.at(10 * SECOND_MS, ask);
    for (const n of [0, 2]) void cluster.stateOf("p", n).then((state) => seen.push(`${n} ${state}`));
  };
  cluster.kernel.at(10 * SECOND_MS, ask);
  await cluster.run(() => ended(cluster), HOUR_MS);
  const order = (n: number) => [...new Set(seen.filter((s) => s.startsWith(`${n} `)))].map((s) => s.slice(2));
  expect(order(0)).toEqual(["RUNNING", "STAGING_IN", "STAGING_OUT", "COMPLETED"]);
  expect(order(2)).toEqual(expect.arrayContaining(["QUEUED", "STAGING_IN", "RUNNING", "STAGING_OUT"]));
});

test("tasks whose inputs are not there fail as such, without a worker, and the others run", async () => {
  const run = () => ({ ms: SECOND_MS, outcome: "done" as const });
  const why = (index: number) => (index % 3 === 0 ? "shared-data:/x does not exist" : undefined);
  const cluster = await createCluster(
    planOf([planSet("p", 30, { retry: RETRIES })]),
    [{ host: "a", cores: 2, prefetchPercent: 100, run }],
    {},
    why,
  );
  await cluster.run(() => ended(cluster), HOUR_MS);
  expect(status(cluster)).toBe("FAILED");
  expect(failed(cluster)).toBe(10);
  expect([...cluster.table.leases.values()].every((l) => l.state === "CLOSED")).toBe(true);
  const [worker] = cluster.table.workers.values();
  expect(worker?.free).toEqual(worker?.cap);
  expect(await cluster.stateOf("p", 3)).toBe("FAILED");
  expect(await cluster.stateOf("p", 4)).toBe("COMPLETED");
});
