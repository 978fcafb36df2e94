import { createHash } from "node:crypto";
import { SchedulerError } from "#domain/error.ts";
import { type Experiment, type ExperimentState, type RetrySelection, gatesFor, isTerminal, type TaskSet } from "#domain/experiment.ts";
import { parentIndex, taskBindings } from "#domain/expansion.ts";
import { type ExperimentId, ID_RANDOM_BYTES, makeId } from "#domain/id.ts";
import { hasIndex, sizeOf } from "#domain/index-set.ts";
import { type Lease, leaseName } from "#domain/lease.ts";
import type { Plan, PlanSet } from "#domain/plan.ts";
import { encodePlan } from "#domain/plan-encoding.ts";
import { locate, type Segment, segmentsFor } from "#domain/segment.ts";
import type { TaskState } from "#domain/task.ts";
import { type Phases, workerName } from "#domain/worker.ts";
import type { DataMover, Results } from "#core/data-mover/index.ts";
import { type Hint, planKey, type Plans, type TaskScheduler } from "#core/task-scheduler/index.ts";
import type { Clock } from "#ports/clock.ts";
import type { ObjectStore } from "#ports/object-store.ts";
import type { Random } from "#ports/random.ts";
import type { TaskStore } from "#ports/task-store.ts";
import type { WorkerStore } from "#ports/worker-store.ts";

import type { ExperimentOrchestrator, OutputView, RetryChoice, TaskView } from "./index.ts";

interface OrchestratorDeps {
  readonly tasks: TaskStore;
  readonly workers: Pick<WorkerStore, "readWorker">;
  readonly objects: ObjectStore;
  readonly plans: Plans;
  readonly scheduler: Pick<TaskScheduler, "control">;
  readonly results: Results;
  readonly data: Pick<DataMover, "open">;
  readonly hint: (hint: Hint) => Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
}

const SEGMENT_PAGE = 100;

export function createExperimentOrchestrator(deps: OrchestratorDeps): ExperimentOrchestrator {
  const find = async (id: ExperimentId): Promise<Experiment> => {
    const e = await deps.tasks.readExperiment(id);
    if (e === undefined) throw new SchedulerError("not-found", `there is no experiment ${id}`);
    return e;
  };

  /** A hint that is lost costs time until the timer, never the change. */
  const hint = (experiment: ExperimentId) => deps.hint({ experiment }).catch(() => undefined);

  async function turned(id: ExperimentId, request: Parameters<TaskScheduler["control"]["turn"]>[1]): Promise<Experiment> {
    const report = await deps.scheduler.control.turn(id, request);
    if (report.kind === "undecided") throw unclear();
    if (report.experiment === undefined) throw new SchedulerError("not-found", `there is no experiment ${id}`);
    await hint(id);
    return report.experiment;
  }

  const create: ExperimentOrchestrator["create"] = async ({ owner, plan, priority, id }) => {
    const bytes = encodePlan(plan);
    const planHash = createHash("sha256").update(bytes).digest("hex");
    await deps.objects.putIfAbsent(planKey(planHash), bytes);
    const segments = plan.sets.map((s) => segmentsFor(s.count));
    const experiment: Experiment = {
      id: id ?? makeId("experiment", deps.clock.now(), deps.random.bytes(ID_RANDOM_BYTES)),
      owner,
      name: plan.name,
      status: "CREATED",
      generation: 0,
      version: 0,
      planHash,
      gates: gatesFor(segments.reduce((a, b) => a + b, 0)),
      taskCount: plan.sets.reduce((a, s) => a + s.count, 0),
      priority,
      weight: 1,
      createdAtMs: deps.clock.now(),
      live: false,
    };
    const sets = plan.sets.map(
      (s, ordinal): TaskSet => ({
        experiment: experiment.id,
        ordinal,
        count: s.count,
        segments: segments[ordinal] ?? 0,
        next: 0,
        closed: 0,
        done: 0,
        failed: 0,
        skipped: 0,
        generation: 0,
        skipAll: false,
      }),
    );
    const outcome = await deps.tasks.createExperiment(experiment, sets);
    const stored = outcome.kind === "done" ? experiment : await deps.tasks.readExperiment(experiment.id);
    if (stored !== undefined) return stored;
    throw new SchedulerError("unavailable", "the experiment could not be stored; try again");
  };

  return {
    create,
    submit: async (id) => {
      const e = await turned(id, { from: ["CREATED"], change: () => ({ status: "RUNNING", live: true, startedAtMs: deps.clock.now() }) });
      if (e.status === "CANCELED") throw new SchedulerError("conflict", `${id} was canceled before; create it anew`);
      return e;
    },
    cancel: (id) =>
      turned(id, {
        from: ["CREATED", "RUNNING", "PAUSED", "RETRYING"],
        change: (now) => ({ status: "CANCELED", endedAtMs: deps.clock.now(), live: now.status !== "CREATED" }),
      }),
    async pause(id) {
      const e = await turned(id, { from: ["RUNNING"], change: () => ({ status: "PAUSED" }) });
      return only(e, ["PAUSED"], "pause it");
    },
    async resume(id) {
      const e = await turned(id, { from: ["PAUSED"], change: () => ({ status: "RUNNING" }) });
      return only(e, ["RUNNING"], "resume it");
    },
    async retry(id, chosen) {
      const before = await find(id);
      if (before.status === "COMPLETED") return before;
      const select = selectionOf((await deps.plans.of(id)).plan, chosen);
      const operation = { id: Buffer.from(deps.random.bytes(ID_RANDOM_BYTES)).toString("hex"), select };
      const report = await deps.scheduler.control.startRetry(id, operation);
      if (report.experiment === undefined) throw unclear();
      await hint(id);
      return only(report.experiment, ["RETRYING", "RUNNING", "COMPLETED"], "retry it");
    },
    async edit(id, change) {
      const e = await turned(id, { from: ["CREATED", "RUNNING", "PAUSED", "RETRYING"], change: () => change });
      if (isTerminal(e.status)) throw new SchedulerError("conflict", `${id} is ${e.status}: it has ended, nothing is left to edit`);
      return e;
    },
    async resubmit(id, owner, as) {
      const [{ priority }, { plan }] = await Promise.all([find(id), deps.plans.of(id)]);
      return create({ owner, plan, priority, id: as });
    },
    find,
    view: async (id) => view(deps, await find(id)),
    list: (owner, options) => deps.tasks.listExperiments(owner, options),
    tasks: async (id, filter) => listTasks(deps, await find(id), filter),
    task: async (id, set, number) => taskDetail(deps, await find(id), set, number),
    outputs: async (id, filter) => listOutputs(deps, await find(id), filter),
    output: async (id, at) => {
      await find(id);
      const { plan } = await deps.plans.of(id);
      const ordinal = ordinalOf(plan, at.set, at.number);
      const { segment, index } = locate(at.number);
      const result = await deps.results.completed(await deps.results.leases({ experiment: id, set: ordinal, segment }), index);
      const file = result?.outputs.find((o) => o.name === at.name);
      if (file === undefined) throw new SchedulerError("not-found", `task ${at.set}/${at.number} has no committed output ${at.name}`);
      return {
        view: { task: `${at.set}/${at.number}`, name: file.name, path: file.path, bytes: file.bytes, sha256: file.sha256 },
        content: await deps.data.open(file),
      };
    },
  };
}

const unclear = () => new SchedulerError("unavailable", "the store did not answer clearly; try again");

const ADVICE: Partial<Record<ExperimentState, string>> = {
  CREATED: "it was not submitted yet",
  RETRYING: "a retry is under way; try again in a moment",
};

/** The experiment when it is where the caller wanted it; else `conflict` says why not. */
function only(e: Experiment, wanted: readonly ExperimentState[], what: string): Experiment {
  if (wanted.includes(e.status)) return e;
  throw new SchedulerError("conflict", `${e.id} is ${e.status}: can't ${what}, ${ADVICE[e.status] ?? "it has ended"}`);
}

/** Throws `not-found` for a set or task that the plan does not have. */
function selectionOf(plan: Plan, chosen: RetryChoice): RetrySelection {
  if (chosen.sets !== undefined) return { kind: "sets", sets: chosen.sets.map((set) => ordinalOf(plan, set)) };
  if (chosen.tasks !== undefined)
    return { kind: "tasks", tasks: chosen.tasks.map(({ set, number }) => ({ set: ordinalOf(plan, set, number), number })) };
  return chosen.causes === undefined ? { kind: "all-failed" } : { kind: "causes", causes: chosen.causes };
}

function ordinalOf(plan: Plan, set: string, number = 0): number {
  const ordinal = plan.sets.findIndex((s) => s.name === set);
  const found = plan.sets[ordinal];
  if (found === undefined || number < 0 || number >= found.count)
    throw new SchedulerError("not-found", `there is no task ${set}/${number}`);
  return ordinal;
}

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
  const { id, name, owner, status, priority, weight, createdAtMs, taskCount } = e;
  const times = {
    ...(e.startedAtMs === undefined ? {} : { startedAtMs: e.startedAtMs }),
    ...(e.endedAtMs === undefined || !isTerminal(e.status) ? {} : { endedAtMs: e.endedAtMs }),
  };
  return { id, name, owner, status, priority, weight, labels: plan.labels, createdAtMs, ...times, tasks: taskCount, sets: progress };
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

/** WAITING: for other tasks. A barrier is told by its parents' sums, a foreach by the parent's segment. */
async function waitsForParents(
  deps: OrchestratorDeps,
  sets: readonly TaskSet[],
  planSet: PlanSet,
  number: number,
  experiment: ExperimentId,
): Promise<boolean> {
  if (planSet.after.some((p) => sets[p]?.done !== sets[p]?.count)) return true;
  const at = locate(parentIndex(planSet, number));
  for (const set of planSet.foreach) {
    const s = await deps.tasks.readSegment({ experiment, set, segment: at.segment });
    if (s === undefined || !hasIndex(s.done, at.index)) return true;
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

interface Look {
  readonly e: Experiment;
  readonly plan: Plan;
  readonly sets: readonly TaskSet[];
  readonly segment: (set: number, n: number) => Promise<{ s: Segment | undefined; leases: readonly Lease[] }>;
  /** What the lease's worker said last. */
  readonly phases: (lease: Lease) => Promise<Phases | undefined>;
}

async function lookAt(deps: OrchestratorDeps, e: Experiment): Promise<Look> {
  const { plan } = await deps.plans.of(e.id);
  const known = new Map<string, Promise<{ s: Segment | undefined; leases: readonly Lease[] }>>();
  const segment: Look["segment"] = (set, n) => {
    const key = `${set}/${n}`;
    const read =
      known.get(key) ??
      (async () => {
        const s = await deps.tasks.readSegment({ experiment: e.id, set, segment: n });
        return { s, leases: s === undefined ? [] : await deps.results.leases(s.key) };
      })();
    known.set(key, read);
    return read;
  };
  const workers = new Map<string, ReturnType<WorkerStore["readWorker"]>>();
  const phases: Look["phases"] = async (lease) => {
    const name = workerName(lease.worker);
    const reading = workers.get(name) ?? deps.workers.readWorker(lease.worker);
    workers.set(name, reading);
    return (await reading)?.phases.get(leaseName(lease.key));
  };
  return { e, plan, sets: await deps.tasks.readSets(e.id), segment, phases };
}

async function taskView(deps: OrchestratorDeps, look: Look, ordinal: number, number: number): Promise<TaskView> {
  const planSet = look.plan.sets[ordinal] as PlanSet;
  const { segment, index } = locate(number);
  const { s, leases } = await look.segment(ordinal, segment);
  const found = stateOf(look.e, look.sets[ordinal] as TaskSet, s, leases, index);
  let state = typeof found === "string" ? found : phaseOf(await look.phases(found), index);
  if (typeof found === "string" && state === "QUEUED" && (await waitsForParents(deps, look.sets, planSet, number, look.e.id)))
    state = "WAITING";
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

/** `<set ordinal>.<number>`: where the next page begins. */
function readCursor(cursor: string | undefined): { set: number; number: number } {
  const m = /^(\d{1,3})\.(\d{1,9})$/.exec(cursor ?? "0.0");
  if (m === null) throw new SchedulerError("invalid-input", "the cursor is not one of ours; start without it");
  return { set: Number(m[1]), number: Number(m[2]) };
}

/** Tasks looked at for one page of a filtered list: then the page ends, with a cursor, though it may be short. */
const LOOKED_AT_MAX = 20_000;

async function walk(
  look: Look,
  only: string | undefined,
  cursor: string | undefined,
  visit: (set: number, number: number) => Promise<boolean>,
): Promise<string | undefined> {
  const from = readCursor(cursor);
  const wanted = only === undefined ? undefined : ordinalOf(look.plan, only);
  let looked = 0;
  for (let set = from.set; set < look.plan.sets.length; set++) {
    if (wanted !== undefined && set !== wanted) continue;
    const { count } = look.plan.sets[set] as PlanSet;
    for (let n = set === from.set ? from.number : 0; n < count; n++) {
      if (looked++ >= LOOKED_AT_MAX || !(await visit(set, n))) return `${set}.${n}`;
    }
  }
  return undefined;
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
  const dependsOn = [...planSet.foreach.map((p) => `${name(p)}/${parentIndex(planSet, number)}`), ...planSet.after.map(name)];
  return { ...(await taskView(deps, look, ordinal, number)), dependsOn, history };
}

async function listOutputs(
  deps: OrchestratorDeps,
  e: Experiment,
  filter: Parameters<ExperimentOrchestrator["outputs"]>[1],
): ReturnType<ExperimentOrchestrator["outputs"]> {
  const look = await lookAt(deps, e);
  const items: OutputView[] = [];
  const cursor = await walk(look, filter.set, filter.cursor, async (set, n) => {
    const planSet = look.plan.sets[set] as PlanSet;
    if (planSet.outputs.length === 0) return true;
    if (items.length >= filter.limit) return false;
    const { segment, index } = locate(n);
    const { leases } = await look.segment(set, segment);
    const result = leases.some((l) => hasIndex(l.done, index)) ? await deps.results.completed(leases, index) : undefined;
    for (const o of result?.outputs ?? [])
      items.push({ task: `${planSet.name}/${n}`, name: o.name, path: o.path, bytes: o.bytes, sha256: o.sha256 });
    return true;
  });
  return { items, ...(cursor === undefined ? {} : { cursor }) };
}
