/** Tasks: derived from plan, segments, open leases and results. */
import { edgesOf } from "#domain/edges.ts";
import { type Experiment, isTerminal, type TaskSet } from "#domain/experiment.ts";
import { parentIndex, taskBindings } from "#domain/expansion.ts";
import { hasIndex } from "#domain/index-set.ts";
import type { Lease } from "#domain/lease.ts";
import type { Plan, PlanSet } from "#domain/plan.ts";
import { locate, type Segment } from "#domain/segment.ts";
import type { TaskState } from "#domain/task.ts";
import { type Phases, workerName } from "#domain/worker.ts";
import type { ExperimentOrchestrator, TaskView } from "./index.ts";
import { findExperiment, type Look, lookAt, ordinalOf, walk } from "./look.ts";
import type { OrchestratorDeps } from "./orchestrator.ts";

export const createTaskReading = (deps: OrchestratorDeps): Pick<ExperimentOrchestrator, "tasks" | "task"> => ({
  tasks: async (id, filter) => listTasks(deps, await findExperiment(deps, id), filter),
  task: async (id, set, number) => taskDetail(deps, await findExperiment(deps, id), set, number),
});

/** What no worker has yet, or has done. `Lease`: its worker has it. */
function stateOf(e: Experiment, t: TaskSet, s: Segment | undefined, leases: readonly Lease[], index: number): TaskState | Lease {
  if (t.skipAll) return "SKIPPED";
  if (s !== undefined) {
    if (hasIndex(s.done, index)) return "COMPLETED";
    if (hasIndex(s.failed, index)) return "FAILED";
    if (hasIndex(s.skipped, index)) return "SKIPPED";
    const holder = hasIndex(s.leased, index) ? leases.find((l) => l.state === "OPEN" && hasIndex(l.hold, index)) : undefined;
    if (holder !== undefined) return hasIndex(holder.done, index) ? "COMPLETED" : holder;
  }
  if (e.status === "CANCELED") return "CANCELED";
  return isTerminal(e.status) ? "SKIPPED" : "QUEUED";
}

function phaseOf(phases: Phases | undefined, index: number): TaskState {
  if (phases === undefined) return "RUNNING";
  if (hasIndex(phases.queued, index)) return "QUEUED";
  if (hasIndex(phases.stagingIn, index)) return "STAGING_IN";
  return hasIndex(phases.stagingOut, index) ? "STAGING_OUT" : "RUNNING";
}

/** WAITING: for other tasks. A barrier is told by its parents' sums, a foreach or an edge by the parent's segment. */
async function waitsForParents(deps: OrchestratorDeps, look: Look, ordinal: number, number: number): Promise<boolean> {
  const { plan, sets } = look;
  const experiment = look.e.id;
  const planSet = plan.sets[ordinal] as PlanSet;
  if (planSet.after.some((p) => sets[p]?.done !== sets[p]?.count)) return true;
  const at = locate(parentIndex(planSet, number));
  for (const set of planSet.foreach) {
    const s = await deps.tasks.readSegment({ experiment, set, segment: at.segment });
    if (s === undefined || !hasIndex(s.done, at.index)) return true;
  }
  for (const { set, task } of edgesOf(plan)?.parentsOf(ordinal, number) ?? []) {
    const { segment, index } = locate(task);
    const { s } = await look.segment(set, segment);
    if (s === undefined || !hasIndex(s.done, index)) return true;
  }
  return false;
}

function parametersOf(plan: Plan, ordinal: number, number: number): Record<string, string> {
  const b = taskBindings(plan, ordinal, number);
  const refs = b.references.map(
    (r) => [r.name, `\${${plan.sets[r.set]?.name}${r.kind === "one" ? `/${r.index}` : ""}.${r.output}}`] as const,
  );
  return Object.fromEntries([
    ...b.texts.map((t) => [t.name, t.value] as const),
    ...b.inputs.map((i) => [i.name, `${i.storage}:${i.path}`] as const),
    ...refs,
  ]);
}

async function taskView(deps: OrchestratorDeps, look: Look, ordinal: number, number: number): Promise<TaskView> {
  const planSet = look.plan.sets[ordinal] as PlanSet;
  const { segment, index } = locate(number);
  const { s, leases } = await look.segment(ordinal, segment);
  const found = stateOf(look.e, look.sets[ordinal] as TaskSet, s, leases, index);
  let state = typeof found === "string" ? found : phaseOf(await look.phases(found), index);
  if (typeof found === "string" && state === "QUEUED" && (await waitsForParents(deps, look, ordinal, number))) state = "WAITING";
  const attempts = leases.filter((l) => hasIndex(l.failed, index)).length;
  return {
    task: `${planSet.name}/${number}`,
    set: planSet.name,
    number,
    state,
    parameters: parametersOf(look.plan, ordinal, number),
    attempts,
  };
}

async function listTasks(
  deps: OrchestratorDeps,
  e: Experiment,
  filter: Parameters<ExperimentOrchestrator["tasks"]>[1],
): ReturnType<ExperimentOrchestrator["tasks"]> {
  const look = await lookAt(deps, e);
  const items: TaskView[] = [];
  const cursor = await walk(look, filter.set, filter.cursor, async (set, n) => {
    if (items.length >= filter.limit) return false;
    const v = await taskView(deps, look, set, n);
    if (filter.state === undefined || v.state === filter.state) items.push(v);
    return true;
  });
  return { items, ...(cursor === undefined ? {} : { cursor }) };
}

async function taskDetail(deps: OrchestratorDeps, e: Experiment, set: string, number: number): ReturnType<ExperimentOrchestrator["task"]> {
  const look = await lookAt(deps, e);
  const ordinal = ordinalOf(look.plan, set, number);
  const planSet = look.plan.sets[ordinal] as PlanSet;
  const { segment, index } = locate(number);
  const { leases } = await look.segment(ordinal, segment);
  const attempts = await deps.results.attempts(leases, index);
  const history = attempts.map(({ lease, result }) => {
    const { index: _, ...rest } = result ?? { index };
    return {
      epoch: lease.key.epoch,
      worker: workerName(lease.worker),
      committed: true,
      ...(result === undefined ? {} : { result: rest as Omit<typeof result, "index"> }),
    };
  });
  const name = (p: number) => look.plan.sets[p]?.name ?? "";
  const explicit = edgesOf(look.plan)?.parentsOf(ordinal, number) ?? [];
  const dependsOn = [
    ...planSet.foreach.map((p) => `${name(p)}/${parentIndex(planSet, number)}`),
    ...planSet.after.map(name),
    ...explicit.map((p) => `${name(p.set)}/${p.task}`),
  ];
  return { ...(await taskView(deps, look, ordinal, number)), dependsOn, history };
}
