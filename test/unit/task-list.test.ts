/** Pages of tasks with filters hold what the whole list does, whatever the filter and the page. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { TaskFilter, TaskView } from "#core/experiment-orchestrator/index.ts";
import type { OrchestratorDeps } from "#core/experiment-orchestrator/orchestrator.ts";
import { listTasks } from "#core/experiment-orchestrator/task-list.ts";
import type { Experiment } from "#domain/experiment.ts";
import { hasIndex } from "#domain/index-set.ts";
import { TASK_STATES } from "#domain/task.ts";
import { aDraw, TARGET, type World, worldOf } from "../support/waiting-world.ts";

async function listed(world: World, filter: Omit<TaskFilter, "limit">, limit: number): Promise<TaskView[]> {
  const deps = { tasks: world.store, workers: world.workers, plans: world.plansOf } as unknown as OrchestratorDeps;
  const experiment = world.table.experiments.get(TARGET) as Experiment;
  const found: TaskView[] = [];
  let cursor: string | undefined;
  do {
    const page = await listTasks(deps, experiment, { ...filter, limit, ...(cursor === undefined ? {} : { cursor }) });
    expect(page.items.length).toBeLessThanOrEqual(limit);
    found.push(...page.items);
    cursor = page.cursor;
  } while (cursor !== undefined);
  return found;
}

test("every filter gives what it says, in order, on pages of any size", { timeout: 120_000 }, async () => {
  const states = fc.subarray([...TASK_STATES], { minLength: 1 });
  await fc.assert(
    fc.asyncProperty(aDraw, states, fc.integer({ min: 1, max: 7 }), async (draw, wanted, limit) => {
      const world = await worldOf(draw);
      // Two failures are one more than the policy retries.
      for (let i = 0; i < 3; i++) {
        const lease = world.leases().find((l) => l.key.experiment === TARGET);
        if (lease !== undefined) await world.finish(lease, "failed");
        await world.clock.advance(10_000);
        await world.pass();
      }
      const all = await listed(world, {}, 1_000);
      expect(all.map((t) => t.task)).toEqual(world.plan().sets.flatMap((s) => Array.from({ length: s.count }, (_, n) => `${s.name}/${n}`)));
      expect(await listed(world, {}, limit)).toEqual(all);
      expect(await listed(world, { states: wanted }, limit)).toEqual(all.filter((t) => wanted.includes(t.state)));
      expect(await listed(world, { set: "s0" }, limit)).toEqual(all.filter((t) => t.set === "s0"));
      expect(await listed(world, { cause: "exit" }, limit)).toEqual(all.filter((t) => t.state === "FAILED"));
      const segmentOf = (t: TaskView) => world.table.segments.get(`${TARGET}/${world.plan().sets.findIndex((s) => s.name === t.set)}/0`);
      for (const t of all) {
        const s = segmentOf(t);
        const held = s !== undefined && hasIndex(s.leased, t.number);
        const done = s !== undefined && hasIndex(s.done, t.number);
        expect(t.state === "RUNNING", t.task).toBe(held);
        expect(t.state === "COMPLETED", t.task).toBe(done);
      }
      for (const worker of world.table.workers.values()) {
        const there = [...world.table.leases.values()].filter((l) => l.worker.id === worker.key.id && l.key.experiment === TARGET);
        const names = (await listed(world, { worker: worker.key.id }, limit)).map((t) => t.task);
        const expected = all.filter((t) =>
          there.some(
            (l) => world.plan().sets[l.key.set]?.name === t.set && [l.hold, l.done, l.failed].some((set) => hasIndex(set, t.number)),
          ),
        );
        expect(names).toEqual(expected.map((t) => t.task));
      }
    }),
    { numRuns: 200 },
  );
});
