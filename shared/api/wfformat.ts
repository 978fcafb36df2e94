/**
 * WfFormat (https://wfcommons.org/format), the JSON form of the WfCommons workflow instances -> WorkflowSpec.
 *
 * Versions 1.0 to 1.6. Shape and references are checked here, with line and column; order, paths and limits of the plan by
 * `compilePlan`. A task waits for its parents, for tasks that name it as a child, and for those that make its input files.
 */
import { type Complaints, createComplaints, type InputPath, shown } from "#domain/complaints.ts";
import { SchedulerError } from "#domain/error.ts";
import type { ComputeSpec } from "#domain/spec.ts";
import { suggestName } from "#domain/suggestion.ts";
import type { WorkflowOptions, WorkflowSpec, WorkflowTask } from "#domain/workflow.ts";
import type * as z from "zod";
import { locateIn, placeOfMistake } from "./json-source.ts";
import { sentenceFor } from "./schema/experiment.ts";
import { type EarlierTask, earlierWfInstance, type WfInstance, wfInstance } from "./schema/wfformat.ts";

/** A larger file is refused unread. */
export const WORKFLOW_BYTES_MAX = 64 * 1024 * 1024;
export const WORKFLOW_TASKS_MAX = 100_000;
/** Parents, children and files named by all tasks together. */
const REFERENCES_MAX = 2_000_000;
/** A name is suggested for an unknown one only where that is cheap. */
const SUGGESTED_AMONG_MAX = 2_000;
const SUBJECT = "the workflow is refused";

/** JSON with a `workflow` in it: no experiment file has that key. */
export interface WorkflowText {
  readonly text: string;
  readonly value: object;
}

/** `undefined` when the bytes are no WfFormat instance; JSON that is too large for an experiment file must be one. */
export function recognizeWorkflow(bytes: Uint8Array, experimentBytesMax: number): WorkflowText | undefined {
  if (bytes.length > WORKFLOW_BYTES_MAX)
    throw new SchedulerError("too-large", `a workflow has at most ${WORKFLOW_BYTES_MAX} bytes; this one has ${bytes.length}`);
  const start = bytes.find((byte) => byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09 && byte < 0x80);
  if (start !== 0x7b) return undefined;
  let text = "";
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && "workflow" in value ? { text, value } : undefined;
  } catch (cause) {
    // Small text may be YAML, whose reader says more.
    if (bytes.length <= experimentBytesMax) return undefined;
    const message = text === "" ? "is not UTF-8" : "is not JSON, and too large for an experiment file";
    const place = text === "" ? undefined : placeOfMistake(text);
    throw new SchedulerError("invalid-input", `${SUBJECT}: it ${message}`, { cause, complaints: [{ path: "", message, ...place }] });
  }
}

/** Throws {@link SchedulerError} `invalid-input` or `too-large` with a complaint for each place. */
export function readWorkflow(
  { text, value }: WorkflowText,
  { compute, options }: { readonly compute: ComputeSpec; readonly options: WorkflowOptions },
): WorkflowSpec {
  const locate = locateIn(text);
  const complaints = createComplaints(locate);
  const { name, drafts, sizes } = isEarlier(value) ? readEarlier(value, complaints) : readCurrent(value, complaints);
  checkSizes(drafts, complaints);
  complaints.throwIfAny(SUBJECT);
  const resolved = resolve(drafts, sizes, complaints);
  complaints.throwIfAny(SUBJECT);
  return { kind: "workflow", ...(name === undefined ? {} : { name }), priority: 0, ...resolved, compute, options, locate };
}

/** A task with its references as they are written. */
interface Draft extends Omit<WorkflowTask, "parents" | "inputs" | "outputs"> {
  readonly parents: readonly Reference[];
  readonly children: readonly Reference[];
  readonly inputs: readonly Reference[];
  readonly outputs: readonly Reference[];
}
interface Reference {
  readonly text: string;
  readonly path: InputPath;
}
interface Read {
  readonly name: string | undefined;
  readonly drafts: readonly Draft[];
  /** Bytes and place of every file by id; with `closed`, tasks may name no others. */
  readonly sizes: {
    readonly of: ReadonlyMap<string, { readonly bytes: number | undefined; readonly path: InputPath }>;
    readonly closed: boolean;
  };
}

const isEarlier = (value: object): boolean => {
  const workflow = "workflow" in value ? value.workflow : undefined;
  return typeof workflow === "object" && workflow !== null && !("specification" in workflow) && ("tasks" in workflow || "jobs" in workflow);
};

function parse<T extends z.ZodType>(schema: T, value: object, complaints: Complaints): z.output<T> {
  const parsed = schema.safeParse(value, { error: sentenceFor });
  if (parsed.success) return parsed.data;
  for (const { path, message } of parsed.error.issues)
    complaints.add(
      path.map((step) => (typeof step === "number" ? step : String(step))),
      message,
    );
  complaints.throwIfAny(SUBJECT);
  throw new SchedulerError("invalid-input", SUBJECT);
}

const references = (texts: readonly string[], path: InputPath): Reference[] => texts.map((text, i) => ({ text, path: [...path, i] }));

const optional = <K extends string, T>(key: K, value: T | undefined): { [key in K]?: T } =>
  (value === undefined ? {} : { [key]: value }) as { [key in K]?: T };

function readCurrent(value: object, complaints: Complaints): Read {
  const { name, workflow }: WfInstance = parse(wfInstance, value, complaints);
  const { specification, execution } = workflow;
  const at = ["workflow", "specification", "tasks"];
  const executed = new Map<string, number>();
  const known = new Set(specification.tasks.map((task) => task.id));
  for (const [i, { id }] of (execution?.tasks ?? []).entries()) {
    const path = ["workflow", "execution", "tasks", i, "id"];
    if (!known.has(id)) complaints.add(path, `there is no task ${shown(id)} in the specification`);
    else if (executed.has(id)) complaints.add(path, `task ${shown(id)} stands here twice`);
    executed.set(id, i);
  }
  const drafts = specification.tasks.map((task, i): Draft => {
    const place = executed.get(task.id);
    const of = place === undefined ? undefined : execution?.tasks[place];
    const path = [...at, i];
    return {
      id: task.id,
      name: task.name ?? task.id,
      ...optional("category", task.category),
      parents: references(task.parents, [...path, "parents"]),
      children: references(task.children, [...path, "children"]),
      inputs: references(task.inputFiles, [...path, "inputFiles"]),
      outputs: references(task.outputFiles, [...path, "outputFiles"]),
      ...optional("program", of?.command?.program),
      arguments: of?.command?.arguments ?? [],
      ...optional("runtimeSeconds", of?.runtimeInSeconds),
      ...optional("cores", of?.coreCount),
      ...optional("memoryBytes", of?.memoryInBytes),
      path,
      executionPath: place === undefined ? path : ["workflow", "execution", "tasks", place],
    };
  });
  const of = new Map<string, { bytes: number | undefined; path: InputPath }>();
  for (const [i, { id, sizeInBytes }] of (specification.files ?? []).entries()) {
    const path = ["workflow", "specification", "files", i];
    if (of.has(id)) complaints.add([...path, "id"], `file ${shown(id)} stands here twice`);
    else of.set(id, { bytes: sizeInBytes, path });
  }
  return { name, drafts, sizes: { of, closed: specification.files !== undefined } };
}

function readEarlier(value: object, complaints: Complaints): Read {
  const { name, workflow } = parse(earlierWfInstance, value, complaints);
  const key = workflow.tasks === undefined ? "jobs" : "tasks";
  const of = new Map<string, { bytes: number | undefined; path: InputPath }>();
  const drafts = (workflow.tasks ?? workflow.jobs ?? []).map((task, i) => {
    const path = ["workflow", key, i];
    const linked = (link: "input" | "output"): Reference[] =>
      task.files.flatMap((file, k) => {
        const text = file.name ?? file.id;
        if (file.link !== link) return [];
        if (text !== undefined) return [{ text, path: [...path, "files", k] }];
        complaints.add([...path, "files", k], "has neither name nor id");
        return [];
      });
    for (const [k, file] of task.files.entries()) {
      const id = file.name ?? file.id ?? "";
      const bytes = file.sizeInBytes ?? file.size;
      if (of.get(id)?.bytes === undefined) of.set(id, { bytes, path: [...path, "files", k] });
    }
    return { ...commonOf(task, path), inputs: linked("input"), outputs: linked("output") };
  });
  return { name, drafts, sizes: { of, closed: false } };
}

const commonOf = (task: EarlierTask, path: InputPath) => ({
  id: task.id ?? task.name,
  name: task.name,
  ...optional("category", task.category),
  parents: references(task.parents, [...path, "parents"]),
  children: references(task.children, [...path, "children"]),
  ...optional("program", task.command?.program),
  arguments: task.command?.arguments ?? [],
  ...optional("runtimeSeconds", task.runtimeInSeconds ?? task.runtime),
  ...optional("cores", task.cores),
  ...optional("memoryBytes", task.memoryInBytes),
  path,
  executionPath: path,
});

function checkSizes(drafts: readonly Draft[], complaints: Complaints): void {
  const total = drafts.reduce((sum, d) => sum + d.parents.length + d.children.length + d.inputs.length + d.outputs.length, 0);
  if (drafts.length === 0) complaints.add(["workflow"], "has no task");
  if (drafts.length > WORKFLOW_TASKS_MAX) complaints.add(["workflow"], `has ${drafts.length} tasks; at most ${WORKFLOW_TASKS_MAX}`, "size");
  if (total > REFERENCES_MAX)
    complaints.add(["workflow"], `its tasks name ${total} parents, children and files; at most ${REFERENCES_MAX}`, "size");
}

function resolve(drafts: readonly Draft[], { of, closed }: Read["sizes"], complaints: Complaints): Pick<WorkflowSpec, "tasks" | "files"> {
  const taskOf = tasksByName(drafts, complaints);
  const files = [...of].map(([id, { bytes, path }]) => ({ id, ...optional("bytes", bytes), path }));
  const places = new Map(files.map(({ id }, i) => [id, i]));
  const fileOf = ({ text, path }: Reference): number[] => {
    const known = places.get(text);
    if (known !== undefined) return [known];
    if (closed) complaints.add(path, `there is no file ${shown(text)} in the specification`);
    else places.set(text, files.push({ id: text, path }) - 1);
    return closed ? [] : [files.length - 1];
  };
  const parents = drafts.map((draft) => new Set(draft.parents.flatMap(taskOf)));
  for (const [task, draft] of drafts.entries()) for (const child of draft.children.flatMap(taskOf)) parents[child]?.add(task);
  const tasks = drafts.map(({ children: _, ...draft }, task): WorkflowTask => {
    const inputs = [...new Set(draft.inputs.flatMap(fileOf))];
    const outputs = [...new Set(draft.outputs.flatMap(fileOf))];
    return { ...draft, parents: [...(parents[task] ?? [])], inputs, outputs };
  });
  return { tasks, files };
}

/** By id; before 1.5 parents were named too. A name that several tasks have names none. */
function tasksByName(drafts: readonly Draft[], complaints: Complaints): (reference: Reference) => number[] {
  const ids = new Map<string, number>();
  const names = new Map<string, number | "several">();
  for (const [i, { id, name, path }] of drafts.entries()) {
    if (ids.has(id)) complaints.add([...path, "id"], `task ${shown(id)} stands here twice`);
    else ids.set(id, i);
    names.set(name, names.has(name) ? "several" : i);
  }
  return ({ text, path }) => {
    const found = ids.get(text) ?? names.get(text);
    if (typeof found === "number") return [found];
    const hint = drafts.length <= SUGGESTED_AMONG_MAX ? `; ${suggestName(text, [...ids.keys()])}` : "";
    complaints.add(
      path,
      found === "several" ? `several tasks are named ${shown(text)}; write an id` : `there is no task ${shown(text)}${hint}`,
    );
    return [];
  };
}
