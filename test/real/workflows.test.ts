/** The large public instances as simulated work: thousands of edges, tasks with a thousand inputs or outputs. */
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ExperimentId } from "#domain/id.ts";
import { instancePath } from "../support/instances.ts";
import { type RunningSystem, startSystem } from "../support/running-system.ts";
import { checkWorkflow, clientOf } from "../support/workflow-check.ts";

const LIMIT_MS = 1_200_000;
const METERS_SAVED_MS = 25_000;
const cases = [
  ["bwa-large", 4000],
  ["seismology-1000p", 1000],
] as const;
const present = cases.flatMap(([name, edges]) => {
  const path = instancePath(`${name}.json`);
  return path === undefined ? [] : [{ name, edges, path }];
});

describe.skipIf(present.length === 0)("a large workflow", () => {
  let system: RunningSystem;
  beforeAll(async () => {
    system = await startSystem();
  }, LIMIT_MS);
  afterAll(() => system?.[Symbol.asyncDispose](), LIMIT_MS);

  test.each(present.length === 0 ? cases.map(([name, edges]) => ({ name, edges, path: "" })) : present)(
    "completes, every edge in order, every output in its size: $name",
    { timeout: LIMIT_MS },
    async ({ name, path, edges }) => {
      const ran = await system.airavata("experiment", "run", path, "--simulate-work", "0.001");
      expect(ran.out).toContain("COMPLETED");
      expect(ran.code).toBe(0);
      const id = /exp_[0-9a-z]{26}/.exec(ran.out)?.[0] as ExperimentId;
      const instance = JSON.parse(await readFile(path, "utf8")) as object;
      // Before the requests of the check, and after the meters have saved.
      await sleep(METERS_SAVED_MS);
      const { lines, nanoUsd } = await clientOf(system).call("getCost", { params: { id } });
      const tasks = (instance as { workflow: { specification: { tasks: unknown[] } } }).workflow.specification.tasks.length;
      const perTask = lines.map(({ kind, count }) => `${kind} ${(count / tasks).toFixed(2)}`).join(", ");
      process.stdout.write(`${name}: $${((nanoUsd / tasks) * 1e-3).toFixed(2)} per million tasks; a task: ${perTask}\n`);
      expect(await checkWorkflow(clientOf(system), id, instance, 0.001)).toBe(edges);
    },
  );
});
