/** Experiments, tasks and outputs as answers show them. */
import { EXPERIMENT_STATES } from "#domain/experiment.ts";
import { BACK_CAUSES } from "#domain/lease.ts";
import { FAILURE_CAUSES } from "#domain/plan.ts";
import type { InputFile, OutputFile, TaskResult, Usage } from "#domain/result.ts";
import { TASK_STATES, type TaskState } from "#domain/task.ts";
import { overrides, workflowOptions } from "#api/route.ts";
import * as z from "zod";
import { budget, budgetView } from "./budget.ts";
import { count, idOf, instantMs, pageOf } from "./identity.ts";

const PRIORITY_MAX = 100;
const WEIGHT_MAX = 1000;

/** Absent while no gateway is up. */
const links = <N extends string>(name: N) => z.object({ [name]: z.string() } as { [K in N]: z.ZodString });

export const experimentSummary = z.object({
  id: idOf("experiment"),
  name: z.string(),
  owner: idOf("user"),
  project: idOf("project"),
  status: z.enum(EXPERIMENT_STATES),
  priority: z.int(),
  weight: z.int(),
  tasks: count,
  createdAtMs: instantMs,
  startedAtMs: instantMs.exactOptional(),
  endedAtMs: instantMs.exactOptional(),
});
export type ExperimentSummary = z.output<typeof experimentSummary>;

const RETENTION_DAYS_MAX = 3_650;
export const retentionDays = z.int().min(1).max(RETENTION_DAYS_MAX);
const TASKS_AT_ONCE_MAX = 1_000_000;
const LABELS_MAX = 64;
const LABEL_CHARACTERS_MAX = 256;
const labels = z
  .record(z.string().min(1).max(LABEL_CHARACTERS_MAX), z.string().max(LABEL_CHARACTERS_MAX))
  .refine((all) => Object.keys(all).length <= LABELS_MAX, `holds more than ${LABELS_MAX} labels`);

export const derivation = z.strictObject({ set: overrides, ...workflowOptions });
export const keptFile = z.object({ file: z.string(), set: z.record(z.string(), z.string()), ...workflowOptions });
export const deletionAnswer = z.object({ id: idOf("experiment"), status: z.literal("DELETING").describe("Gone, or on its way") });

const setProgress = z.object({
  set: z.string(),
  total: count,
  done: count,
  failed: count,
  skipped: count,
  leased: count.describe("Held by workers now"),
});

export const experimentEdit = z
  .strictObject({
    priority: z.int().min(-PRIORITY_MAX).max(PRIORITY_MAX).exactOptional().describe("Larger first among your own experiments"),
    weight: z.int().min(1).max(WEIGHT_MAX).exactOptional().describe("Share against other experiments"),
    budget: budget.nullable().exactOptional().describe("Replaces the budget; null takes it away"),
    tasksAtOnce: z
      .int()
      .min(1)
      .max(TASKS_AT_ONCE_MAX)
      .nullable()
      .exactOptional()
      .describe("Tasks that workers hold at once; null: no limit"),
    retentionDays: retentionDays.nullable().exactOptional().describe("Deleted so many days after its end; null: never"),
    labels: labels.exactOptional().describe("All of its labels from now on"),
  })
  .refine((change) => Object.keys(change).length > 0, "names nothing to change");

const RETRY_CHOICES_MAX = 100;
const choice = <T extends z.ZodType>(one: T) => z.array(one).min(1).max(RETRY_CHOICES_MAX).readonly().exactOptional();
export const retryChoice = z
  .strictObject({
    sets: choice(z.string().min(1).max(256)),
    tasks: choice(z.strictObject({ set: z.string().min(1).max(256), number: count })),
    causes: choice(z.enum(FAILURE_CAUSES)),
  })
  .refine((chosen) => Object.keys(chosen).length <= 1, "names one of sets, tasks and causes")
  .describe("Which failed tasks; empty for all");

export const experimentView = experimentSummary.extend({
  labels: z.record(z.string(), z.string()),
  derivedFrom: idOf("experiment").exactOptional().describe("What it was made from"),
  tasksAtOnce: count.exactOptional(),
  retentionDays: count.exactOptional(),
  sets: z.array(setProgress).readonly(),
  budget: budgetView.exactOptional(),
  links: links("events").describe("events: where the gateway tells what happens, as it does").exactOptional(),
});
export type ExperimentViewAnswer = z.output<typeof experimentView>;
export const experimentPage = pageOf(experimentSummary);

export const taskState = z.enum(TASK_STATES);

const PARAMETERS_MAX = 64;
const TEXT_MAX = 4096;
const isState = (text: string): text is TaskState => TASK_STATES.some((state) => state === text);

/** What a list of tasks may be narrowed by; all that are given count. */
export const taskFilter = {
  set: z.string().min(1).max(256).exactOptional(),
  state: z
    .string()
    .max(256)
    .refine((text) => text.split(",").every(isState), `takes ${TASK_STATES.join(", ")}; several separated by commas`)
    .transform((text) => text.split(",").filter(isState))
    .exactOptional()
    .describe("States, separated by commas"),
  cause: z.enum(FAILURE_CAUSES).exactOptional().describe("FAILED, at last by this"),
  worker: z.string().min(1).max(256).exactOptional().describe("A worker that has it or had it"),
  parameter: z
    .string()
    .max(TEXT_MAX)
    .refine((text) => /^[^=]+=/.test(text) && [...new URLSearchParams(text).keys()].length <= PARAMETERS_MAX, "is not NAME=value")
    .exactOptional()
    .describe("Value of a parameter: NAME=value; several joined by &, each written as in a query"),
};

export const taskView = z.object({
  task: z.string().describe("`<set>/<number>`"),
  set: z.string(),
  number: count,
  state: taskState,
  parameters: z.record(z.string(), z.string()),
  attempts: count.describe("Failed attempts of its own so far; in lists 0 once it is COMPLETED"),
});
export type TaskViewAnswer = z.output<typeof taskView>;
export const taskPage = pageOf(taskView);

const usage = z.object({
  wallMs: z.number(),
  cpuMs: z.number(),
  memoryPeakBytes: z.number(),
  bytesIn: z.number(),
  bytesOut: z.number(),
}) satisfies z.ZodType<Usage>;

const inputFile = z.object({ name: z.string(), sha256: z.string(), bytes: count }) satisfies z.ZodType<InputFile>;

const outputFile = z.object({ name: z.string(), path: z.string(), sha256: z.string(), bytes: count }) satisfies z.ZodType<
  Omit<OutputFile, "inline">
>;

const attemptResult = z.object({
  outcome: z.enum(["done", ...FAILURE_CAUSES]),
  exitCode: z.int().exactOptional(),
  signal: z.string().exactOptional(),
  message: z.string().exactOptional(),
  startedAtMs: z.number(),
  endedAtMs: z.number(),
  usage,
  inputs: z.array(inputFile).readonly(),
  outputs: z.array(outputFile).readonly(),
  stdout: z.string().exactOptional(),
  stderr: z.string().exactOptional(),
}) satisfies z.ZodType<Omit<TaskResult, "index">>;

const attempt = z.object({
  epoch: count,
  worker: z.string(),
  committed: z.boolean(),
  assignedAtMs: instantMs,
  end: z
    .enum(["open", "completed", "failed", ...BACK_CAUSES])
    .describe("`open`: it has not ended. Neither completed nor failed: why the worker does not have it any more"),
  result: attemptResult.exactOptional(),
});

export const taskDetail = taskView.extend({
  dependsOn: z.array(z.string()).readonly(),
  history: z.array(attempt).readonly().describe("Newest first"),
  links: links("log").describe("log: where to follow what it writes").exactOptional(),
});
export type TaskDetailAnswer = z.output<typeof taskDetail>;

export const outputView = z.object({ task: z.string(), name: z.string(), path: z.string(), bytes: count, sha256: z.string() });
export type OutputViewAnswer = z.output<typeof outputView>;
export const outputPage = pageOf(outputView);
