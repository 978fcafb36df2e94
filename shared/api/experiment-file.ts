/**
 * The experiment file: YAML or JSON bytes -> ExperimentSpec, every mistake with its line and column.
 *
 * Read here by server and command line alike. Only structure is checked; meaning is the ExperimentOrchestrator's
 * (`compilePlan`), which complains with the positions that the spec carries along.
 */
import { COMPLAINTS_MAX, type Complaints, createComplaints } from "#domain/complaints.ts";
import { SchedulerError } from "#domain/error.ts";
import type { ComputeSpec, ExperimentSpec, ParameterValue } from "#domain/spec.ts";
import { suggestName } from "#domain/suggestion.ts";
import type * as z from "zod";
import { compute, experimentFile, isParameterPath, SENTENCE_END, sentenceFor } from "./schema/experiment.ts";
import { decodeText, openYaml, type YamlSource } from "./yaml-source.ts";

const SUBJECT = "the experiment file is refused";

/**
 * Reads an experiment file. Never throws anything but {@link SchedulerError}: `too-large` when only a limit is broken,
 * else `invalid-input`; its complaints name every place, at most `COMPLAINTS_MAX`.
 */
export function parseExperimentFile(bytes: Uint8Array): ExperimentSpec {
  const source = openYaml(decodeText(bytes));
  refuseMistakes(source);
  const complaints = createComplaints(source.locate);
  const value = source.read(complaints, isParameterPath);
  const parsed = experimentFile.safeParse(value, { error: sentenceFor });
  if (!parsed.success) for (const issue of parsed.error.issues) complain(complaints, issue);
  complaints.throwIfAny(SUBJECT);
  if (!parsed.success) throw new SchedulerError("invalid-input", SUBJECT);
  return { ...parsed.data, locate: source.locate };
}

/** Syntax first: what follows a broken bracket means nothing. */
function refuseMistakes({ mistakes }: YamlSource): void {
  const first = mistakes[0];
  if (first === undefined) return;
  const complaints = mistakes.slice(0, COMPLAINTS_MAX).map(({ message, at }) => ({ path: "", message, ...at }));
  throw new SchedulerError("invalid-input", `${SUBJECT}: ${first.message} (line ${first.at.line}, column ${first.at.column})`, {
    complaints,
  });
}

function complain(complaints: Complaints, issue: z.core.$ZodIssue): void {
  const path = issue.path.map((step) => (typeof step === "number" ? step : String(step)));
  if (issue.code !== "unrecognized_keys") {
    complaints.add(path, issue.message);
    return;
  }
  const sentences = issue.message.split(SENTENCE_END);
  for (const [i, key] of issue.keys.entries()) complaints.add([...path, key], sentences[i] ?? "is not a key here", "key");
}

const COMPUTE_PREFIX = "compute.";

/**
 * The spec with values replaced, as `--set NAME=value` asks. The value replaces `task_inputs.NAME` in every task set that
 * gives it, or the parameter's default when none does; `compute.cpu` and its like replace resources everywhere,
 * `resources.conda` and `resources.pip` the lists of packages (`[]`: none). A value that opens with `[` is a list; otherwise it is written as in the file (`0..9`). Errors: `invalid-input`.
 */
export function applyOverrides(spec: ExperimentSpec, values: Readonly<Record<string, string>>): ExperimentSpec {
  let changed = spec;
  for (const [name, text] of Object.entries(values)) {
    const own = readComputeOverride(name, text);
    if (own !== undefined) changed = overrideCompute(changed, name.slice(COMPUTE_PREFIX.length), own);
    else if (name === "resources.conda" || name === "resources.pip") changed = overridePackages(changed, name, parseValue(name, text));
    else changed = overrideParameter(changed, name, parseValue(name, text));
  }
  return changed;
}

function parseValue(name: string, text: string): ParameterValue {
  if (!text.startsWith("[")) return { kind: "one", text };
  const source = openYaml(decodeText(new TextEncoder().encode(text)));
  const complaints = createComplaints(() => undefined);
  for (const { message } of source.mistakes) complaints.add([name], message);
  const value = source.read(complaints, () => true) as ParameterValue;
  complaints.throwIfAny("an override is refused");
  return value;
}

function overrideParameter(spec: ExperimentSpec, name: string, value: ParameterValue): ExperimentSpec {
  const sets = Object.entries(spec.tasks);
  if (sets.some(([, set]) => Object.hasOwn(set.task_inputs, name))) {
    const replaced = sets.map(([key, set]) =>
      Object.hasOwn(set.task_inputs, name) ? [key, { ...set, task_inputs: { ...set.task_inputs, [name]: value } }] : [key, set],
    );
    return { ...spec, tasks: Object.fromEntries(replaced) };
  }
  if (!Object.hasOwn(spec.parameters, name)) {
    const known = [...Object.keys(spec.parameters), ...sets.flatMap(([, set]) => Object.keys(set.task_inputs))];
    throw refusedOverride(name, `no task set and no parameter is named so; ${suggestName(name, [...new Set(known)])}`);
  }
  return { ...spec, parameters: { ...spec.parameters, [name]: { ...spec.parameters[name], default: value } } };
}

function overridePackages(spec: ExperimentSpec, name: "resources.conda" | "resources.pip", value: ParameterValue): ExperimentSpec {
  if (value.kind !== "many") throw refusedOverride(name, "expects a list such as [] or [tqdm, numpy=2.1]");
  const key = name === "resources.conda" ? "conda" : "pip";
  return { ...spec, resources: { ...spec.resources, [key]: value.texts } };
}

/** `compute.cpu` and its like with its value; `undefined` for any other name. */
export function readComputeOverride(name: string, text: string): ComputeSpec | undefined {
  if (!name.startsWith(COMPUTE_PREFIX)) return undefined;
  const key = name.slice(COMPUTE_PREFIX.length);
  const value = key !== "time" && text.trim() !== "" ? Number(text) : text;
  const parsed = compute.safeParse({ [key]: value }, { error: sentenceFor });
  if (!parsed.success) throw refusedOverride(name, parsed.error.issues[0]?.message ?? "is not understood");
  return parsed.data;
}

function overrideCompute(spec: ExperimentSpec, key: string, value: ComputeSpec): ExperimentSpec {
  const replace = (old: ComputeSpec): ComputeSpec => ({ ...old, ...value });
  const tasks = Object.entries(spec.tasks).map(([name, set]) => [
    name,
    Object.hasOwn(set.compute, key) ? { ...set, compute: replace(set.compute) } : set,
  ]);
  return { ...spec, tasks: Object.fromEntries(tasks), resources: { ...spec.resources, compute: replace(spec.resources.compute) } };
}

const refusedOverride = (path: string, message: string): SchedulerError =>
  new SchedulerError("invalid-input", `the override of ${path} is refused: ${message}`, { complaints: [{ path, message }] });
