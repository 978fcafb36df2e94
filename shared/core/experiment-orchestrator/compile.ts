/**
 * ExperimentSpec -> Plan: the meaning of an experiment file, checked whole and turned into what the scheduler computes with.
 *
 * Pure. Nothing is made per task: a sweep of ten million tasks compiles in the time of its file. Everything wrong is
 * complained about together, with its place in the file.
 */
import { COMPLAINTS_MAX, type Complaints, createComplaints, type InputPath, shown } from "#domain/complaints.ts";
import { axisSize } from "#domain/expansion.ts";
import { type Axis, type Binding, type OutputReference, PLAN_FORMAT_VERSION, type Plan, type PlanSet } from "#domain/plan.ts";
import type { ExperimentSpec, TaskSetSpec } from "#domain/spec.ts";
import { suggestName } from "#domain/suggestion.ts";
import type { WorkflowSpec } from "#domain/workflow.ts";
import { orderSets, type Parents, resolveParents } from "./graph.ts";
import { DEFAULT_EXPERIMENT_NAME, TASK_VALUES_BYTES_MAX, TASKS_MAX, thousands } from "./limits.ts";
import { checkCompute, checkRetry, compileResources, compileRetry } from "./resources.ts";
import {
  byteLength,
  checkNames,
  checkSizes,
  readAssets,
  readEnvironment,
  readPackages,
  relativePath,
  variableNameProblem,
} from "./validation.ts";
import { checkAxes, interpretValue, type Meaning } from "./values.ts";
import { compileWorkflow } from "./workflow.ts";

const SUBJECT = "the experiment is refused";

/**
 * Compiles a spec. Errors: {@link SchedulerError} `invalid-input`, or `too-large` when only limits are broken, with a
 * complaint for each place. The result holds the scripts in use only, and sets in an order with parents first.
 */
export function compilePlan(spec: ExperimentSpec | WorkflowSpec): Plan {
  return "kind" in spec ? compileWorkflow(spec) : compileExperiment(spec);
}

function compileExperiment(spec: ExperimentSpec): Plan {
  const complaints = createComplaints(spec.locate);
  checkSizes(spec, complaints);
  complaints.throwIfAny(SUBJECT);
  checkNames(spec, complaints);
  checkCompute({ settings: spec.resources.compute, path: ["resources", "compute"] }, complaints);
  checkRetry({ settings: spec.retry, path: ["retry"] }, complaints);
  const defaults = compileDefaults(spec, complaints);
  const frame = {
    environment: readEnvironment(spec.resources.environment, complaints),
    assets: readAssets(spec.resources.storage, complaints),
    conda: readPackages("conda", spec.resources.conda, complaints),
    pip: readPackages("pip", spec.resources.pip, complaints),
  };
  const parents = resolveParents(spec, complaints);
  const sets: PlanSet[] = [];
  const broken = new Set<string>();
  for (const name of orderSets(parents, complaints)) {
    const before = complaints.count;
    if (before >= COMPLAINTS_MAX) break;
    sets.push(compileSet({ spec, name, defaults, parents: parents.get(name) as Parents, compiled: sets, broken, complaints }));
    if (complaints.count > before) broken.add(name);
  }
  const total = sets.reduce((sum, set) => sum + set.count, 0);
  if (total > TASKS_MAX) complaints.add(["tasks"], `come to ${tasksText(total)} tasks; at most ${thousands(TASKS_MAX)}`, "size");
  complaints.throwIfAny(SUBJECT);
  const used = new Set(sets.map((set) => set.script));
  return {
    formatVersion: PLAN_FORMAT_VERSION,
    name: spec.name ?? DEFAULT_EXPERIMENT_NAME,
    labels: spec.labels,
    scripts: Object.fromEntries(Object.entries(spec.scripts).filter(([name]) => used.has(name))),
    ...frame,
    on: spec.on,
    sets,
  };
}

const tasksText = (count: number): string => (Number.isSafeInteger(count) ? thousands(count) : "more than 10^15");

/** Declared parameters with a default: one value each. */
function compileDefaults(spec: ExperimentSpec, complaints: Complaints): readonly Binding[] {
  return Object.entries(spec.parameters).flatMap(([name, { type, default: value }]) => {
    const path = ["parameters", name, "default"];
    if (value === undefined) return [];
    const meaning = interpretValue(value, { name, type, path, complaints });
    if (meaning?.kind === "constant") return [meaning.binding];
    if (meaning !== undefined) complaints.add(path, "a default is one value; sweeps and references stand in task_inputs");
    return [];
  });
}

interface SetContext {
  readonly spec: ExperimentSpec;
  readonly name: string;
  readonly defaults: readonly Binding[];
  readonly parents: Parents;
  /** Sets so far: all parents are among them. */
  readonly compiled: readonly PlanSet[];
  /** Sets with a complaint: their counts mean nothing. */
  readonly broken: ReadonlySet<string>;
  readonly complaints: Complaints;
}

function compileSet(context: SetContext): PlanSet {
  const { spec, name, parents, compiled, complaints } = context;
  const set = spec.tasks[name] as TaskSetSpec;
  const path = ["tasks", name];
  if (!Object.hasOwn(spec.scripts, set.script)) {
    complaints.add([...path, "script"], `there is no script ${shown(set.script)}; ${suggestName(set.script, Object.keys(spec.scripts))}`);
  }
  const compute = { settings: set.compute, path: [...path, "compute"] };
  const retry = { settings: set.retry, path: [...path, "retry"] };
  checkCompute(compute, complaints);
  checkRetry(retry, complaints);
  const outputs = compileOutputs(set, path, complaints);
  const inputs = compileInputs(context, set);
  const ordinalOf = (parent: string): number => compiled.findIndex((other) => other.name === parent);
  const factor = factorOf(set, inputs.axes, { path, complaints });
  const foreach = parents.foreach.map(ordinalOf);
  return {
    name,
    script: set.script,
    count: parentCount(context, foreach) * factor,
    ...inputs,
    combine: set.combine,
    outputs,
    foreach,
    factor,
    after: parents.after.map(ordinalOf),
    resources: compileResources([{ settings: spec.resources.compute, path: ["resources", "compute"] }, compute], complaints),
    retry: compileRetry([{ settings: spec.retry, path: ["retry"] }, retry]),
  };
}

/** Own tasks for each task of the foreach parents. What is too many is complained about here, before anyone counts to it. */
function factorOf(set: TaskSetSpec, axes: readonly Axis[], { path, complaints }: { path: InputPath; complaints: Complaints }): number {
  checkAxes(axes, [...path, "task_inputs"], complaints);
  const sizes = axes.map(axisSize);
  if (set.combine === "zip") {
    const lengths = axes.map((axis, i) => `${axis.name} has ${thousands(sizes[i] ?? 0)}`);
    if (new Set(sizes).size > 1)
      complaints.add([...path, "combine"], `zip pairs value with value, so lengths must be equal: ${lengths.join(", ")}`);
    return Math.max(1, ...sizes);
  }
  const product = sizes.reduce((a, b) => a * b, 1);
  if (product > TASKS_MAX) {
    complaints.add(
      [...path, "task_inputs"],
      `multiply to ${tasksText(product)} tasks; an experiment has at most ${thousands(TASKS_MAX)}`,
      "size",
    );
    return 1;
  }
  return product;
}

/** Tasks of each foreach parent: all have equally many. */
function parentCount({ name, compiled, broken, complaints }: SetContext, foreach: readonly number[]): number {
  const counts = foreach.map((ordinal) => compiled[ordinal] as PlanSet);
  const first = counts[0];
  if (first === undefined) return 1;
  if (counts.every((parent) => !broken.has(parent.name)) && counts.some((parent) => parent.count !== first.count)) {
    const each = counts.map((parent) => `${parent.name} has ${thousands(parent.count)}`);
    complaints.add(["tasks", name, "foreach"], `goes along its parents task by task, so they must have equally many: ${each.join(", ")}`);
  }
  return first.count;
}

function compileOutputs(set: TaskSetSpec, path: InputPath, complaints: Complaints): PlanSet["outputs"] {
  const names = Object.entries(set.task_outputs);
  const paths: string[] = [];
  return names.flatMap(([name, text]) => {
    const at = [...path, "task_outputs", name];
    const problem = variableNameProblem(name);
    if (problem !== undefined) complaints.add(at, problem, "key");
    if (Object.hasOwn(set.task_inputs, name)) complaints.add(at, "is the name of an input too; choose another", "key");
    const result = relativePath(text);
    if ("problem" in result) complaints.add(at, result.problem);
    else if (result.path.endsWith("/")) complaints.add(at, `${shown(text)} is a folder; an output is one file`);
    else if (paths.some((other) => collides(other, result.path)))
      complaints.add(at, `${shown(text)} is in the way of another output of this task set`);
    else {
      paths.push(result.path);
      return [{ name, path: result.path }];
    }
    return [];
  });
}

const collides = (a: string, b: string): boolean => a === b || a.startsWith(`${b}/`) || b.startsWith(`${a}/`);

/** Axes, constants and references of a set: its task_inputs, and the defaults it neither gives nor has as an output. */
function compileInputs(context: SetContext, set: TaskSetSpec): Pick<PlanSet, "axes" | "constants" | "references"> {
  const { spec, name, defaults, complaints } = context;
  const axes: Axis[] = [];
  const references: OutputReference[] = [];
  const constants = defaults.filter(
    (binding) => !Object.hasOwn(set.task_inputs, binding.name) && !Object.hasOwn(set.task_outputs, binding.name),
  );
  const inputs = Object.entries(set.task_inputs);
  for (const [input, value] of inputs) {
    const path = ["tasks", name, "task_inputs", input];
    const problem = variableNameProblem(input);
    if (problem !== undefined) complaints.add(path, problem, "key");
    const type = Object.hasOwn(spec.parameters, input) ? spec.parameters[input]?.type : undefined;
    const meaning = interpretValue(value, { name: input, type, path, complaints });
    if (meaning?.kind === "axis") axes.push(meaning.axis);
    else if (meaning?.kind === "constant") constants.push(meaning.binding);
    else if (meaning?.kind === "reference") references.push(...resolveReference(context, meaning, { name: input, path }));
  }
  checkBarrierNames(context, set, references);
  checkValuesSize(context, { axes, constants });
  return { axes, constants, references };
}

/** `${set.OUTPUT}` as ordinal and output; empty when it was complained about. */
function resolveReference(
  context: SetContext,
  reference: Meaning & { kind: "reference" },
  at: { name: string; path: InputPath },
): OutputReference[] {
  const { spec, parents, compiled, complaints } = context;
  const { set, output } = reference;
  if (!Object.hasOwn(spec.tasks, set)) {
    complaints.add(at.path, `there is no task set ${shown(set)}; ${suggestName(set, Object.keys(spec.tasks))}`);
    return [];
  }
  const outputs = spec.tasks[set]?.task_outputs ?? {};
  if (!Object.hasOwn(outputs, output)) {
    complaints.add(at.path, `${set} has no output ${shown(output)}; ${suggestName(output, Object.keys(outputs))}`);
    return [];
  }
  if (!parents.foreach.includes(set) && !parents.after.includes(set)) {
    complaints.add(
      at.path,
      `nothing here waits for ${set}; add foreach: ["${set}"] (one task for each of its tasks) or after: ["${set}"] (one over all of them)`,
    );
    return [];
  }
  return [{ name: at.name, set: compiled.findIndex((other) => other.name === set), output }];
}

/** A reference over a barrier brings `<NAME>_LIST` and `<NAME>_DIR` along: nothing else may have these names. */
function checkBarrierNames(
  { name, parents, compiled, defaults, complaints }: SetContext,
  set: TaskSetSpec,
  references: readonly OutputReference[],
): void {
  const taken = new Set([...Object.keys(set.task_inputs), ...Object.keys(set.task_outputs), ...defaults.map((binding) => binding.name)]);
  for (const reference of references) {
    if (!parents.after.includes(compiled[reference.set]?.name ?? "")) continue;
    for (const derived of [`${reference.name}_LIST`, `${reference.name}_DIR`]) {
      if (taken.has(derived))
        complaints.add(
          ["tasks", name, "task_inputs", reference.name],
          `brings ${derived} along, which is the name of something else; rename one`,
          "key",
        );
    }
  }
}

/** What one task gets at most: names and the longest values. */
function checkValuesSize({ name, complaints }: SetContext, { axes, constants }: Pick<PlanSet, "axes" | "constants">): void {
  const longest = (axis: Axis): number => (axis.kind === "range" ? 20 : axis.texts.reduce((most, text) => Math.max(most, text.length), 0));
  const bytes =
    constants.reduce((sum, { name: constant, text }) => sum + constant.length + byteLength(text), 0) +
    axes.reduce((sum, axis) => sum + axis.name.length + longest(axis), 0);
  if (bytes > TASK_VALUES_BYTES_MAX) {
    complaints.add(["tasks", name, "task_inputs"], `give one task ${bytes} bytes of values; at most ${TASK_VALUES_BYTES_MAX}`, "size");
  }
}
