/** Changes of experiments: each is one turn, refused or idempotent, and a hint. */
import { createHash } from "node:crypto";
import { SchedulerError } from "#domain/error.ts";
import { type Experiment, type ExperimentState, gatesFor, isTerminal, type RetrySelection, type TaskSet } from "#domain/experiment.ts";
import { type ExperimentId, ID_RANDOM_BYTES, makeId } from "#domain/id.ts";
import type { Plan } from "#domain/plan.ts";
import { encodePlan } from "#domain/plan-encoding.ts";
import { segmentsFor } from "#domain/segment.ts";
import { PLAN_BYTES_MAX, planKey, type TaskScheduler } from "#core/task-scheduler/index.ts";
import type { ExperimentOrchestrator, RetryChoice } from "./index.ts";
import { findExperiment, ordinalOf } from "./look.ts";
import type { OrchestratorDeps } from "./orchestrator.ts";

type Controls = "create" | "submit" | "cancel" | "pause" | "resume" | "retry" | "edit" | "resubmit";

export function createControl(deps: OrchestratorDeps): Pick<ExperimentOrchestrator, Controls> {
  /** A hint that is lost costs time until the timer, never the change. */
  const hint = (experiment: ExperimentId) => deps.hint({ experiment }).catch(() => undefined);

  async function turned(id: ExperimentId, request: Parameters<TaskScheduler["control"]["turn"]>[1]): Promise<Experiment> {
    const report = await deps.scheduler.control.turn(id, request);
    if (report.kind === "undecided") throw unclear();
    if (report.experiment === undefined) throw new SchedulerError("not-found", `there is no experiment ${id}`);
    await hint(id);
    return report.experiment;
  }

  const create: ExperimentOrchestrator["create"] = async ({ owner, project, plan, priority, budget, id }) => {
    const bytes = encodePlan(plan);
    if (bytes.length > PLAN_BYTES_MAX)
      throw new SchedulerError(
        "too-large",
        `the plan has ${bytes.length} bytes, at most ${PLAN_BYTES_MAX}: make several experiments of it`,
      );
    const planHash = createHash("sha256").update(bytes).digest("hex");
    await deps.objects.putIfAbsent(planKey(planHash), bytes);
    const segments = plan.sets.map((s) => segmentsFor(s.count));
    const experiment: Experiment = {
      id: id ?? makeId("experiment", deps.clock.now(), deps.random.bytes(ID_RANDOM_BYTES)),
      owner,
      ...(project === undefined ? {} : { project }),
      name: plan.name,
      status: "CREATED",
      generation: 0,
      version: 0,
      planHash,
      gates: gatesFor(segments.reduce((a, b) => a + b, 0)),
      taskCount: plan.sets.reduce((a, s) => a + s.count, 0),
      priority,
      weight: 1,
      ...(budget === undefined ? {} : { budget }),
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
    if (outcome.kind === "refused" && outcome.by === "project")
      throw new SchedulerError("conflict", "the project was archived or deleted: it takes no new experiments");
    throw new SchedulerError("unavailable", "the experiment could not be stored; try again");
  };

  return {
    create,
    submit: async (id, known) => {
      const change = () => ({ status: "RUNNING", live: true, startedAtMs: deps.clock.now() }) as const;
      const e = await turned(id, { from: ["CREATED"], change, known });
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
      const before = await findExperiment(deps, id);
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
    async resubmit(id, { owner, project, as }) {
      const [{ priority, budget }, { plan }] = await Promise.all([findExperiment(deps, id), deps.plans.of(id)]);
      return create({ owner, project, plan, priority, budget, id: as });
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
