/** Changes of experiments: each is one turn, refused or idempotent, and a hint. */
import { createHash } from "node:crypto";
import { SchedulerError } from "#domain/error.ts";
import { type Experiment, type ExperimentState, gatesFor, isTerminal, type RetrySelection, type TaskSet } from "#domain/experiment.ts";
import { type ExperimentId, ID_RANDOM_BYTES, makeId } from "#domain/id.ts";
import type { Plan } from "#domain/plan.ts";
import { encodePlan } from "#domain/plan-encoding.ts";
import { segmentsFor } from "#domain/segment.ts";
import { draftKey, makeDraft } from "#domain/object-owner.ts";
import { PLAN_BYTES_MAX, type TaskScheduler } from "#core/task-scheduler/index.ts";
import type { WriteOutcome } from "#ports/task-store.ts";
import type { ExperimentEdit, ExperimentFile, ExperimentOrchestrator, RetryChoice } from "./index.ts";
import { findExperiment, ordinalOf } from "./look.ts";
import { FILE_BYTES_MAX } from "./limits.ts";
import type { OrchestratorDeps } from "./orchestrator.ts";

const DRAFT_RANDOM_BYTES = 8;

type Controls = "create" | "submit" | "cancel" | "pause" | "resume" | "retry" | "edit" | "resubmit" | "remove" | "file";

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

  const create: ExperimentOrchestrator["create"] = async ({ owner, project, plan, priority, budget, ...more }) => {
    const { file, derivedFrom, retentionDays } = more;
    const bytes = encodePlan(plan);
    if (bytes.length > PLAN_BYTES_MAX)
      throw new SchedulerError(
        "too-large",
        `the plan has ${bytes.length} bytes, at most ${PLAN_BYTES_MAX}: make several experiments of it`,
      );
    const planHash = createHash("sha256").update(bytes).digest("hex");
    const id = more.id ?? makeId("experiment", deps.clock.now(), deps.random.bytes(ID_RANDOM_BYTES));
    // Each attempt has a draft of its own: what one leaves behind is in nobody's way, and swept.
    const draft = makeDraft(deps.clock.now(), deps.random.bytes(DRAFT_RANDOM_BYTES));
    await deps.objects.putIfAbsent(draftKey(id, draft, "plan"), bytes);
    if (file !== undefined) await deps.objects.putIfAbsent(draftKey(id, draft, "file"), Buffer.from(JSON.stringify(file)));
    const segments = plan.sets.map((s) => segmentsFor(s.count));
    const experiment: Experiment = {
      id,
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
      draft,
      ...(derivedFrom === undefined ? {} : { derivedFrom }),
      ...(retentionDays === undefined ? {} : { retentionDays }),
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
    throw notCreated(id, outcome);
  };

  return {
    create,
    submit: async (id, known) => {
      const change = () => ({ status: "RUNNING", live: true, startedAtMs: deps.clock.now() }) as const;
      const e = await turned(id, { from: ["CREATED"], change, known });
      if (e.status === "CANCELED") throw new SchedulerError("conflict", `${id} was canceled before; create it anew`);
      if (e.status === "DELETING") throw new SchedulerError("conflict", `${id} is DELETING; create it anew`);
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
      const { labels, retentionDays, ...scheduling } = change;
      const states = ["CREATED", "RUNNING", "PAUSED", "RETRYING"] as const;
      const always = Object.keys(scheduling).length === 0 ? (["COMPLETED", "FAILED", "CANCELED"] as const) : [];
      const e = await turned(id, { from: [...states, ...always], change: (now) => edited(now, change) });
      if (e.status === "DELETING" || (isTerminal(e.status) && always.length === 0))
        throw new SchedulerError(
          "conflict",
          `${id} is ${e.status}: only labels and retention of an experiment that has ended can be edited`,
        );
      return e;
    },
    async resubmit(id, { owner, project, as }) {
      const [{ priority, budget, retentionDays }, { plan }] = await Promise.all([findExperiment(deps, id), deps.plans.of(id)]);
      const kept = await fileOf(deps, id);
      const file = kept === undefined ? {} : { file: kept };
      return create({ owner, project, plan, priority, budget, id: as, derivedFrom: id, retentionDays, ...file });
    },
    async remove(id) {
      const report = await deps.scheduler.control.startDeletion(id);
      if (report.kind === "undecided") throw unclear();
      const e = report.experiment;
      if (e === undefined || e.status === "DELETING") return hint(id);
      const advice = e.status === "CANCELED" ? "workers still hold tasks of it; try again in a moment" : "cancel it first";
      throw new SchedulerError("conflict", `${id} is ${e.status}: can't delete it, ${advice}`);
    },
    async file(id) {
      const found = await fileOf(deps, id);
      if (found === undefined) throw new SchedulerError("not-found", `the file of ${id} was not kept`);
      return found;
    },
  };
}

/** The whole post-image: a turn keeps what it is not told to change. */
function edited(now: Experiment, { tasksAtOnce, retentionDays, ...rest }: ExperimentEdit): Partial<Experiment> {
  const limit = <K extends "tasksAtOnce" | "retentionDays">(name: K, value: number | null | undefined) =>
    value === undefined ? { [name]: now[name] } : { [name]: value ?? undefined };
  return { ...rest, ...limit("tasksAtOnce", tasksAtOnce), ...limit("retentionDays", retentionDays) };
}

async function fileOf(deps: OrchestratorDeps, id: ExperimentId): Promise<ExperimentFile | undefined> {
  const { draft } = await findExperiment(deps, id);
  const bytes = draft === undefined ? undefined : await deps.objects.get(draftKey(id, draft, "file"), FILE_BYTES_MAX);
  return bytes === undefined ? undefined : (JSON.parse(Buffer.from(bytes).toString("utf8")) as ExperimentFile);
}

function notCreated(id: ExperimentId, outcome: WriteOutcome): SchedulerError {
  if (outcome.kind !== "refused") return new SchedulerError("unavailable", "the experiment could not be stored; try again");
  if (outcome.by === "project") return new SchedulerError("conflict", "the project was archived or deleted: it takes no new experiments");
  return new SchedulerError("conflict", `${id} was deleted; create it under another idempotency key`);
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
