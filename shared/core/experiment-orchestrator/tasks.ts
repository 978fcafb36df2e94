/** One task with its attempts; lists of tasks are in task-list.ts. */
import { edgesOf } from "#domain/edges.ts";
import { parentIndex } from "#domain/expansion.ts";
import { hasIndex } from "#domain/index-set.ts";
import type { Lease } from "#domain/lease.ts";
import type { Plan, PlanSet } from "#domain/plan.ts";
import { locate } from "#domain/segment.ts";
import { workerName } from "#domain/worker.ts";
import type { AttemptView, ExperimentOrchestrator } from "./index.ts";
import { findExperiment, ordinalOf } from "./look.ts";
import type { OrchestratorDeps } from "./orchestrator.ts";
import { listTasks, openReading, stateIn, statesIn, viewOf } from "./task-list.ts";

export const createTaskReading = (deps: OrchestratorDeps): Pick<ExperimentOrchestrator, "tasks" | "task"> => ({
  tasks: async (id, filter) => listTasks(deps, await findExperiment(deps, id), filter),
  task: (id, set, number) => taskDetail(deps, id, set, number),
});

const EDGES_SHOWN = 100;

async function taskDetail(
  deps: OrchestratorDeps,
  id: Parameters<ExperimentOrchestrator["task"]>[0],
  set: string,
  number: number,
): ReturnType<ExperimentOrchestrator["task"]> {
  const at = await openReading(deps, await findExperiment(deps, id));
  const ordinal = ordinalOf(at.plan, set, number);
  const { segment, index } = locate(number);
  const key = { experiment: id, set: ordinal, segment };
  const stored = await at.segment(key);
  const leases = stored === undefined ? [] : await deps.results.leases(key);
  const state = stateIn(await statesIn(at, key, stored), index);
  const failed = leases.filter((l) => hasIndex(l.failed, index)).length;
  const history = await attemptsOf(deps, leases, index);
  return { ...viewOf(at, ordinal, number, state, failed), dependsOn: parentsOf(at.plan, ordinal, number), history };
}

/** Every time that a worker had it, newest first. What a lease did not commit of it ended as the lease did. */
async function attemptsOf(deps: OrchestratorDeps, leases: readonly Lease[], index: number): Promise<AttemptView[]> {
  const committed = new Map((await deps.results.attempts(leases, index)).map((a) => [a.lease.key.epoch, a.result]));
  return leases.flatMap((lease): AttemptView[] => {
    const at = { epoch: lease.key.epoch, worker: workerName(lease.worker), assignedAtMs: lease.assignedAtMs };
    const result = committed.get(lease.key.epoch);
    if (committed.has(lease.key.epoch)) {
      const { index: _, ...rest } = result ?? { index };
      const known = result === undefined ? {} : { result: rest as Omit<typeof result, "index"> };
      return [{ ...at, committed: true, end: hasIndex(lease.done, index) ? "completed" : "failed", ...known }];
    }
    if (lease.state === "OPEN" && hasIndex(lease.hold, index)) return [{ ...at, committed: false, end: "open" }];
    const back = [...(lease.back ?? [])].find(([, tasks]) => hasIndex(tasks, index));
    return back === undefined ? [] : [{ ...at, committed: false, end: back[0] }];
  });
}

function parentsOf(plan: Plan, ordinal: number, number: number): string[] {
  const planSet = plan.sets[ordinal] as PlanSet;
  const name = (p: number) => plan.sets[p]?.name ?? "";
  const edges = (edgesOf(plan)?.parentsOf(ordinal, number) ?? []).slice(0, EDGES_SHOWN);
  return [
    ...planSet.foreach.map((p) => `${name(p)}/${parentIndex(planSet, number)}`),
    ...planSet.after.map(name),
    ...edges.map((e) => `${name(e.set)}/${e.task}`),
  ];
}
