/** An experiment as a whole, and lists of them. */
import { personalProject } from "#domain/id.ts";
import { type Budget, budgetAdvice, budgetHold, budgetSpecOf, hasBudget, type Spent } from "#domain/budget.ts";
import { type Experiment, isTerminal, type TaskSet } from "#domain/experiment.ts";
import { intersect, sizeOf } from "#domain/index-set.ts";
import type { Lease } from "#domain/lease.ts";
import type { Segment } from "#domain/segment.ts";
import type { BudgetView, ExperimentOrchestrator, ExperimentView } from "./index.ts";
import { findExperiment } from "./look.ts";
import type { OrchestratorDeps } from "./orchestrator.ts";
import { openLeases } from "./task-list.ts";

const SEGMENT_PAGE = 100;

export function createViewing(deps: OrchestratorDeps): Pick<ExperimentOrchestrator, "find" | "view" | "list" | "listProject"> {
  const look = createLook(deps);
  return {
    find: (id) => findExperiment(deps, id),
    view: async (id) => look(await findExperiment(deps, id)),
    list: (owner, options) => deps.tasks.listExperiments(owner, options),
    listProject: (project, options) => deps.tasks.listProject(project, options),
  };
}

export type ViewDeps = Pick<OrchestratorDeps, "tasks" | "plans" | "scheduler">;
/** Told of the open leases that were met on the way: all of those that hold something. */
type OnLease = (lease: Lease) => void;

/** Looks that remember what cannot change from one to the next. */
export function createLook(deps: ViewDeps): (e: Experiment, onLease?: OnLease) => ReturnType<ExperimentOrchestrator["view"]> {
  const closed = createClosed();
  return (e, onLease = () => undefined) => view(deps, closed, e, onLease);
}

/** All born segments of a set. */
export const segmentsOf = (deps: Pick<OrchestratorDeps, "tasks">, t: TaskSet): AsyncGenerator<Segment> => openOf(deps, t, new Map());

interface Sum {
  done: number;
  failed: number;
  skipped: number;
  leased: number;
}

const KEPT_MAX = 256;

/**
 * Segments that are closed don't change within a generation, unless a retry is being prepared: what they count is kept, so
 * that looking again reads the others only. A memory of one process; losing it costs reads.
 */
function createClosed() {
  const kept = new Map<string, Map<number, Sum>>();
  return (e: Experiment, t: TaskSet): Map<number, Sum> => {
    if (e.status === "RETRYING") return new Map();
    const name = `${e.id}/${t.ordinal}/${e.generation}`;
    const known = kept.get(name) ?? new Map<number, Sum>();
    kept.delete(name);
    kept.set(name, known);
    if (kept.size > KEPT_MAX) kept.delete(kept.keys().next().value as string);
    return known;
  };
}

type Closed = ReturnType<typeof createClosed>;

const countOf = (s: Segment): Sum => ({ done: sizeOf(s.done), failed: sizeOf(s.failed), skipped: sizeOf(s.skipped), leased: 0 });

/** Born segments from `from` on that are not known to be closed, in runs of a page. */
async function* openOf(deps: Pick<OrchestratorDeps, "tasks">, t: TaskSet, closed: ReadonlyMap<number, Sum>): AsyncGenerator<Segment> {
  for (let from = 0; from < t.next; ) {
    if (closed.has(from)) {
      from++;
      continue;
    }
    let to = from + 1;
    while (to < Math.min(t.next, from + SEGMENT_PAGE) && !closed.has(to)) to++;
    yield* await deps.tasks.readSegments(t.experiment, t.ordinal, from, to - from);
    from = to;
  }
}

async function sumOf(deps: ViewDeps, t: TaskSet, closed: Map<number, Sum>, onLease: OnLease): Promise<Sum> {
  // As it is now: others who look at the same time add to it.
  const known = new Map(closed);
  const sum: Sum = { done: 0, failed: 0, skipped: 0, leased: 0 };
  const add = (s: Sum) => {
    for (const name of ["done", "failed", "skipped", "leased"] as const) sum[name] += s[name];
  };
  for (const s of known.values()) add(s);
  const open: Segment[] = [];
  for await (const s of openOf(deps, t, known)) {
    add(countOf(s));
    if (s.closed) closed.set(s.key.segment, countOf(s));
    else open.push(s);
  }
  for (const s of await Promise.all(open.map((segment) => heldIn(deps, segment, onLease)))) add(s);
  return sum;
}

/** What its open leases committed is done, whether folded or not. */
async function heldIn(deps: ViewDeps, s: Segment, onLease: OnLease): Promise<Sum> {
  const leases = await openLeases(deps, s);
  leases.forEach(onLease);
  const done = leases.reduce((n, l) => n + sizeOf(intersect(l.done, l.hold)), 0);
  return { done, failed: 0, skipped: 0, leased: sizeOf(s.leased) - done };
}

/** What the experiment's own item says. */
function headOf(e: Experiment): Omit<ExperimentView, "labels" | "sets"> {
  const { id, name, owner, status, priority, weight, createdAtMs, taskCount: tasks, derivedFrom, tasksAtOnce, retentionDays } = e;
  return {
    ...{ id, name, owner, status, priority, weight, createdAtMs, tasks },
    project: e.project ?? personalProject(owner),
    ...(e.startedAtMs === undefined ? {} : { startedAtMs: e.startedAtMs }),
    ...(e.endedAtMs === undefined || !isTerminal(e.status) ? {} : { endedAtMs: e.endedAtMs }),
    ...(derivedFrom === undefined ? {} : { derivedFrom }),
    ...(tasksAtOnce === undefined ? {} : { tasksAtOnce }),
    ...(retentionDays === undefined ? {} : { retentionDays }),
  };
}

async function view(deps: ViewDeps, closed: Closed, e: Experiment, onLease: OnLease): ReturnType<ExperimentOrchestrator["view"]> {
  // What is being deleted has nothing left to look at.
  if (e.status === "DELETING") return { ...headOf(e), labels: { ...e.labels }, sets: [] };
  const { plan } = await deps.plans.of(e.id);
  const sets = await deps.tasks.readSets(e.id);
  const progress = await Promise.all(
    sets.map(async (t) => {
      const sum: Sum = { done: 0, failed: 0, skipped: t.skipAll ? t.count : 0, leased: 0 };
      // A closed set's sums are exact in one item; otherwise its segments and open leases are counted.
      if (t.closed === t.segments && !t.skipAll) Object.assign(sum, { done: t.done, failed: t.failed, skipped: t.skipped });
      else if (!t.skipAll) Object.assign(sum, await sumOf(deps, t, closed(e, t), onLease));
      return { set: plan.sets[t.ordinal]?.name ?? "", total: t.count, ...sum };
    }),
  );
  const budget = hasBudget(e) ? { budget: budgetView(e, await deps.scheduler.spentOf(e, plan, sets)) } : {};
  return { ...headOf(e), labels: { ...(e.labels ?? plan.labels) }, sets: progress, ...budget };
}

/** Only what still hands out can be held. */
function budgetView({ budget, status }: Experiment & { readonly budget: Budget }, spent: Spent): BudgetView {
  const hold = status === "RUNNING" ? budgetHold(budget, spent) : undefined;
  const held = hold === undefined ? {} : { held: { ...hold, advice: budgetAdvice(hold) } };
  return { limits: budgetSpecOf(budget), spent: budgetSpecOf(spent), ...held };
}
