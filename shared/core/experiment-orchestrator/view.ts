/** An experiment as a whole, and lists of them. */
import { type Budget, budgetAdvice, budgetHold, budgetSpecOf, hasBudget, type Spent } from "#domain/budget.ts";
import { type Experiment, isTerminal, type TaskSet } from "#domain/experiment.ts";
import { sizeOf } from "#domain/index-set.ts";
import type { Segment } from "#domain/segment.ts";
import type { BudgetView, ExperimentOrchestrator } from "./index.ts";
import { findExperiment } from "./look.ts";
import type { OrchestratorDeps } from "./orchestrator.ts";

const SEGMENT_PAGE = 100;

export const createViewing = (deps: OrchestratorDeps): Pick<ExperimentOrchestrator, "find" | "view" | "list" | "listProject"> => ({
  find: (id) => findExperiment(deps, id),
  view: async (id) => view(deps, await findExperiment(deps, id)),
  list: (owner, options) => deps.tasks.listExperiments(owner, options),
  listProject: (project, options) => deps.tasks.listProject(project, options),
});

async function* segmentsOf(deps: OrchestratorDeps, t: TaskSet): AsyncGenerator<Segment> {
  for (let from = 0; from < t.next; from += SEGMENT_PAGE) yield* await deps.tasks.readSegments(t.experiment, t.ordinal, from, SEGMENT_PAGE);
}

async function view(deps: OrchestratorDeps, e: Experiment): ReturnType<ExperimentOrchestrator["view"]> {
  const { plan } = await deps.plans.of(e.id);
  const sets = await deps.tasks.readSets(e.id);
  const progress = await Promise.all(
    sets.map(async (t) => {
      const sum = { done: 0, failed: 0, skipped: t.skipAll ? t.count : 0, leased: 0 };
      // A closed set's sums are exact in one item; otherwise its segments and open leases are counted.
      if (t.closed === t.segments && !t.skipAll) Object.assign(sum, { done: t.done, failed: t.failed, skipped: t.skipped });
      else if (!t.skipAll) for await (const s of segmentsOf(deps, t)) await countSegment(deps, s, sum);
      return { set: plan.sets[t.ordinal]?.name ?? "", total: t.count, ...sum };
    }),
  );
  const { id, name, owner, project, status, priority, weight, createdAtMs, taskCount } = e;
  const times = {
    ...(e.startedAtMs === undefined ? {} : { startedAtMs: e.startedAtMs }),
    ...(e.endedAtMs === undefined || !isTerminal(e.status) ? {} : { endedAtMs: e.endedAtMs }),
  };
  const budget = hasBudget(e) ? { budget: budgetView(e, await deps.scheduler.spentOf(e, plan, sets)) } : {};
  const place = project === undefined ? {} : { project };
  const common = { id, name, owner, ...place, status, priority, weight, labels: plan.labels, createdAtMs, tasks: taskCount };
  return { ...common, ...times, sets: progress, ...budget };
}

/** Only what still hands out can be held. */
function budgetView({ budget, status }: Experiment & { readonly budget: Budget }, spent: Spent): BudgetView {
  const hold = status === "RUNNING" ? budgetHold(budget, spent) : undefined;
  const held = hold === undefined ? {} : { held: { ...hold, advice: budgetAdvice(hold) } };
  return { limits: budgetSpecOf(budget), spent: budgetSpecOf(spent), ...held };
}

async function countSegment(
  deps: OrchestratorDeps,
  s: Segment,
  sum: { done: number; failed: number; skipped: number; leased: number },
): Promise<void> {
  sum.done += sizeOf(s.done);
  sum.failed += sizeOf(s.failed);
  sum.skipped += sizeOf(s.skipped);
  const leased = sizeOf(s.leased);
  if (leased === 0) return;
  let committed = 0;
  for (const l of await deps.results.leases(s.key))
    if (l.state === "OPEN") committed += sizeOf(l.done.map((w, i) => w & (l.hold[i] as number)));
  sum.done += committed;
  sum.leased += leased - committed;
}
