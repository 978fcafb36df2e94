/** The shape of an experiment file: keys, types and nothing of its meaning. Unknown keys are refused with a suggestion. */
import { shown } from "#domain/complaints.ts";
import {
  type ComputeSpec,
  type ExperimentBody,
  PARAMETER_TYPES,
  type ParameterSpec,
  type ParameterValue,
  type RetrySpec,
  type TaskSetSpec,
} from "#domain/spec.ts";
import type { BudgetSpec } from "#domain/budget.ts";
import { suggestName } from "#domain/suggestion.ts";
import * as z from "zod";
import { BUDGET_SHAPE, LIMITS_NOTHING, limitsSomething } from "./budget.ts";

/** Unknown keys of one map that get a sentence of their own. */
const UNKNOWN_KEYS_NAMED_MAX = 50;
/** Separates the sentences for several unknown keys: zod has one issue for all. No sentence holds it. */
export const SENTENCE_END = "\n";

/** An object with these keys only. */
const strict = <Shape extends z.core.$ZodLooseShape>(shape: Shape) =>
  z.strictObject(shape, {
    error: (issue) => {
      if (issue.code !== "unrecognized_keys") return undefined;
      const sentence = (key: string) => `there is no key ${shown(key)} here; ${suggestName(key, Object.keys(shape))}`;
      return issue.keys.slice(0, UNKNOWN_KEYS_NAMED_MAX).map(sentence).join(SENTENCE_END);
    },
  });

/** A key of a feature to come: better refused than ignored. */
const notSupportedYet = z.custom<never>(() => false, { error: "is not supported yet; take it out" }).exactOptional();

const names = z.preprocess((value) => (typeof value === "string" ? [value] : value), z.array(z.string())).default([]);
const texts = z.array(z.string()).default([]);
const walltime = z.union([z.string(), z.number()], { error: 'expects a time such as "0:05:00"' }).exactOptional();
const amount = z.number().exactOptional();

/** Made by the reader of YAML, at these paths only. */
const parameterValue = z.custom<ParameterValue>((value) => typeof value === "object" && value !== null && "kind" in value);

const retry = strict({
  exit: amount,
  signal: amount,
  timeout: amount,
  out_of_memory: amount,
  staging: amount,
  backoff: walltime,
}) satisfies z.ZodType<RetrySpec>;

export const compute = strict({
  node: amount,
  cpu: amount,
  gpu: amount,
  ram_gb: amount,
  disk_gb: amount,
  vram_gb: amount,
  time: walltime,
}) satisfies z.ZodType<ComputeSpec>;

const parameter = strict({
  description: z.string().exactOptional(),
  type: z.enum(PARAMETER_TYPES).exactOptional(),
  default: parameterValue.exactOptional(),
}) satisfies z.ZodType<ParameterSpec>;

const taskSet = strict({
  script: z.string(),
  task_inputs: z.record(z.string(), parameterValue).default({}),
  task_outputs: z.record(z.string(), z.string()).default({}),
  foreach: names,
  after: names,
  combine: z.enum(["product", "zip"]).default("product"),
  compute: compute.default({}),
  retry: retry.default({}),
}) satisfies z.ZodType<TaskSetSpec>;

const budget = strict(BUDGET_SHAPE).refine(limitsSomething, LIMITS_NOTHING) satisfies z.ZodType<BudgetSpec>;

const resources = strict({ compute: compute.default({}), storage: texts, conda: texts, pip: texts, environment: texts });

export const experimentFile = strict({
  name: z.string().exactOptional(),
  project: z.string().min(1).max(64).exactOptional(),
  labels: z.record(z.string(), z.string()).default({}),
  priority: z.number().default(0),
  budget: budget.exactOptional(),
  deadline: notSupportedYet,
  policy: z.literal("balanced", { error: "is not supported yet except as balanced; take it out" }).exactOptional(),
  retry: retry.default({}),
  cache: notSupportedYet,
  secrets: notSupportedYet,
  on: names,
  notify: notSupportedYet,
  parameters: z.record(z.string(), parameter).default({}),
  scripts: z.record(z.string(), z.string()),
  tasks: z.record(z.string(), taskSet),
  resources: resources.default({ compute: {}, storage: [], conda: [], pip: [], environment: [] }),
}) satisfies z.ZodType<ExperimentBody>;

/** Paths whose values keep their digits: `tasks.*.task_inputs.*` and `parameters.*.default`. */
export const isParameterPath = (path: readonly (string | number)[]): boolean =>
  (path.length === 4 && path[0] === "tasks" && path[2] === "task_inputs") ||
  (path.length === 3 && path[0] === "parameters" && path[2] === "default");

const EXPECTED: Readonly<Record<string, string>> = {
  string: "text (in quotes when it looks like a number)",
  number: "a number",
  object: "keys with values",
  record: "names with values",
  array: "a list",
};

/** Sentences for people instead of zod's own; `undefined` keeps those given with a schema. */
export function sentenceFor(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === "invalid_type") {
    if (issue.input === undefined) return "is missing";
    return `expects ${EXPECTED[issue.expected] ?? issue.expected}; this is ${kindOf(issue.input)}`;
  }
  if (issue.code === "invalid_value") return `expects ${issue.values.join(", ")}`;
  return undefined;
}

function kindOf(value: unknown): string {
  if (value === null) return "empty (give a value or take the key out)";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a map of keys";
  return `the ${typeof value === "string" ? "text" : typeof value} ${shown(String(value))}`;
}
