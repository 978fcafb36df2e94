/**
 * ExperimentOrchestrator: from an experiment file to a plan, from a plan to a running experiment, and what became of it.
 *
 * Laws. Everything that can be refused is refused before anything is written. Nothing is stored per task: task views
 * merge plan, segments, open leases and result objects. T6 holds for cancel: when it has resolved, no new lease is made.
 * Callers have checked permission already; ids that do not exist give SchedulerError `not-found`.
 */
import type { Budget, BudgetHold, BudgetSpec } from "#domain/budget.ts";
import type { Experiment, ExperimentState } from "#domain/experiment.ts";
import type { ExperimentId, ProjectId, UserId } from "#domain/id.ts";
import type { BackCause } from "#domain/lease.ts";
import type { FailureCause, Plan } from "#domain/plan.ts";
import type { TaskResult } from "#domain/result.ts";
import type { TaskState } from "#domain/task.ts";
import type { Page } from "#ports/task-store.ts";

export { compilePlan } from "./compile.ts";
export { createExperimentOrchestrator } from "./orchestrator.ts";
export { createObservation, type Observation, type Observed, type TaskFailure } from "./observation.ts";
export { createTaskLogs, type LogPlace, type TaskAt, type TaskLogs } from "./task-log.ts";

export interface SetProgress {
  readonly set: string;
  readonly total: number;
  readonly done: number;
  readonly failed: number;
  readonly skipped: number;
  /** Held by workers now. */
  readonly leased: number;
}

export interface ExperimentView {
  readonly id: ExperimentId;
  readonly name: string;
  readonly owner: UserId;
  /** The owner's personal one, unless it was put into another. */
  readonly project: ProjectId;
  readonly status: ExperimentState;
  readonly priority: number;
  readonly weight: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly createdAtMs: number;
  readonly startedAtMs?: number;
  readonly endedAtMs?: number;
  readonly tasks: number;
  readonly derivedFrom?: ExperimentId;
  readonly tasksAtOnce?: number;
  readonly retentionDays?: number;
  readonly sets: readonly SetProgress[];
  /** There when it has one. */
  readonly budget?: BudgetView;
}

export interface BudgetView {
  readonly limits: BudgetSpec;
  readonly spent: Required<BudgetSpec>;
  /** There when nothing is handed out because of it. */
  readonly held?: BudgetHold & { readonly advice: string };
}

export interface TaskView {
  /** `<set>/<number>`, the task's name everywhere outside. */
  readonly task: string;
  readonly set: string;
  readonly number: number;
  readonly state: TaskState;
  readonly parameters: Readonly<Record<string, string>>;
  /** Failed attempts of its own so far; in lists 0 once it is COMPLETED. */
  readonly attempts: number;
}

export type AttemptEnd = "open" | "completed" | "failed" | BackCause;

export interface AttemptView {
  readonly epoch: number;
  readonly worker: string;
  readonly committed: boolean;
  readonly assignedAtMs: number;
  /** How it ended; `open`: it has not. Without an outcome: why the worker does not have it any more. */
  readonly end: AttemptEnd;
  readonly result?: Omit<TaskResult, "index">;
}

export interface TaskDetail extends TaskView {
  readonly dependsOn: readonly string[];
  /** Newest first. */
  readonly history: readonly AttemptView[];
}

export interface OutputView {
  readonly task: string;
  readonly name: string;
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** `null` takes a limit away. */
export interface ExperimentEdit {
  readonly priority?: number;
  readonly weight?: number;
  /** Replaces the budget; without any limit: takes it away. */
  readonly budget?: Budget;
  readonly tasksAtOnce?: number | null;
  readonly retentionDays?: number | null;
  readonly labels?: Readonly<Record<string, string>>;
}

/** The text as its author gave it, and what replaced values of it. */
export interface ExperimentFile {
  readonly file: string;
  readonly set: Readonly<Record<string, string>>;
  /** Of a workflow. */
  readonly simulateWork?: number;
  readonly workflowInputs?: string;
}

/** Numbers at the end of each step. */
export interface SetTimeline {
  readonly set: string;
  readonly total: number;
  /** Not completed, and no worker at it; also what has failed or is skipped. */
  readonly queued: readonly number[];
  /** Inputs or outputs on their way. */
  readonly staging: readonly number[];
  readonly running: readonly number[];
  readonly done: readonly number[];
  /** So far; one task may have several. */
  readonly failedAttempts: readonly number[];
}

export interface Timeline {
  readonly fromMs: number;
  readonly stepMs: number;
  /** The experiment is so large that a part of it was left out. */
  readonly partial: boolean;
  readonly sets: readonly SetTimeline[];
}

export interface FailureExample {
  readonly task: string;
  readonly exitCode?: number;
  readonly signal?: string;
  readonly message?: string;
  /** Of stderr. */
  readonly lastLine?: string;
}

export interface FailureGroup {
  readonly set: string;
  readonly cause: FailureCause | "worker-lost";
  readonly tasks: number;
  /** Those of them whose results were read for exit codes. */
  readonly looked: number;
  readonly exitCodes: readonly { readonly exitCode: number; readonly tasks: number }[];
  readonly examples: readonly FailureExample[];
}

/** `counted`: tasks that the groups are about; fewer than `failed` when those lie in very many places. */
export interface FailureSummary {
  readonly failed: number;
  readonly counted: number;
  readonly groups: readonly FailureGroup[];
}

/** Failed tasks by set, by name or by cause; without any of them all. The first that is given counts. */
export interface RetryChoice {
  readonly sets?: readonly string[];
  readonly tasks?: readonly { readonly set: string; readonly number: number }[];
  readonly causes?: readonly FailureCause[];
}

export interface TaskFilter {
  readonly set?: string;
  readonly states?: readonly TaskState[];
  /** FAILED by this at last. */
  readonly cause?: FailureCause;
  /** A worker that has it or had it, with or without its incarnation. */
  readonly worker?: string;
  /** Values of parameters, as text. */
  readonly parameters?: ReadonlyMap<string, string>;
  /** 1..1000. */
  readonly limit: number;
  readonly cursor?: string;
}

export interface ExperimentOrchestrator {
  /** Stores the plan by its hash and the experiment as CREATED. With an `id` that was created before: gives that one, as it is now; `conflict` when it was deleted since. */
  create(request: {
    readonly owner: UserId;
    readonly project?: ProjectId | undefined;
    readonly plan: Plan;
    readonly priority: number;
    readonly budget?: Budget | undefined;
    readonly id?: ExperimentId | undefined;
    /** Kept with it, for whoever derives another from it. */
    readonly file?: ExperimentFile;
    readonly derivedFrom?: ExperimentId;
    readonly retentionDays?: number | undefined;
  }): Promise<Experiment>;
  /** CREATED -> RUNNING; a no-op when it is past that. `conflict` when CANCELED before. `known`: as just read or created. */
  submit(id: ExperimentId, known?: Experiment): Promise<Experiment>;
  /** Any state that is not terminal -> CANCELED; a no-op when terminal already. */
  cancel(id: ExperimentId): Promise<Experiment>;
  /** RUNNING -> PAUSED: running tasks finish, the others are taken back. A no-op when PAUSED; otherwise `conflict`. */
  pause(id: ExperimentId): Promise<Experiment>;
  /** PAUSED -> RUNNING; a no-op when RUNNING; otherwise `conflict`. */
  resume(id: ExperimentId): Promise<Experiment>;
  /**
   * Runs the chosen failed tasks again, and with them what was skipped because of them: RETRYING, then back to RUNNING or PAUSED.
   * A no-op when COMPLETED or RETRYING; `conflict` when CREATED, CANCELED or DELETING.
   */
  retry(id: ExperimentId, chosen: RetryChoice): Promise<Experiment>;
  /** Changes how it stands against others, from the next pass on, and its limits. `conflict` when it has ended, but for labels and retention. */
  edit(id: ExperimentId, change: ExperimentEdit): Promise<Experiment>;
  /**
   * Deletes it with everything that it has, in the background; also when it is gone already. `conflict` while it runs or is
   * paused, and while workers still hold tasks of a canceled one.
   */
  remove(id: ExperimentId): Promise<void>;
  /** The file that it was made from; `not-found` when it was not kept. */
  file(id: ExperimentId): Promise<ExperimentFile>;
  /** A new experiment (CREATED) of the same plan; `as` like the id of {@link create}. */
  resubmit(
    id: ExperimentId,
    to: { readonly owner: UserId; readonly project?: ProjectId | undefined; readonly as?: ExperimentId | undefined },
  ): Promise<Experiment>;
  /** Owner alone, for permission checks and lists. */
  find(id: ExperimentId): Promise<Experiment>;
  view(id: ExperimentId): Promise<ExperimentView>;
  list(owner: UserId, options: { readonly limit: number; readonly cursor?: string }): Promise<Page<Experiment>>;
  listProject(project: ProjectId, options: { readonly limit: number; readonly cursor?: string }): Promise<Page<Experiment>>;
  tasks(id: ExperimentId, filter: TaskFilter): Promise<Page<TaskView>>;
  task(id: ExperimentId, set: string, number: number): Promise<TaskDetail>;
  /** Over its life until now, in at most `points` steps (1..500). */
  timeline(id: ExperimentId, points: number): Promise<Timeline>;
  /** What has failed for good so far, the most frequent first. */
  failures(id: ExperimentId): Promise<FailureSummary>;
  /** Committed outputs only, by set and number. */
  outputs(id: ExperimentId, filter: { readonly set?: string; readonly limit: number; readonly cursor?: string }): Promise<Page<OutputView>>;
  /** Content of one committed output; `object`: its key in the object store, unless it is in the result object. */
  output(
    id: ExperimentId,
    at: { readonly set: string; readonly number: number; readonly name: string },
  ): Promise<{ readonly view: OutputView; readonly content: AsyncIterable<Uint8Array>; readonly object?: string }>;
}
