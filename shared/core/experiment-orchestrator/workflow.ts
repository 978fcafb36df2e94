/**
 * WorkflowSpec -> Plan: tasks of a workflow in sets, their dependencies as explicit edges, their files by number.
 *
 * Pure. What each task has of its own (name, command, files) lies packed in the plan, so no item is stored for it
 * (docs/decisions/0010-workflows-as-sets.md).
 */
import { type Complaints, createComplaints, type InputPath, shown } from "#domain/complaints.ts";
import { encodeLists } from "#domain/lists.ts";
import { type Plan, type PlanSet, WORK_FORMAT_VERSION, type WorkflowFiles } from "#domain/plan.ts";
import { RESOURCE_NAME } from "#domain/resource.ts";
import type { WorkflowSpec, WorkflowTask } from "#domain/workflow.ts";
import { WORK_FILE } from "#domain/workflow-files.ts";
import * as limits from "./limits.ts";
import { checkCompute, compileResources, compileRetry } from "./resources.ts";
import { byteLength, relativePath, storagePathProblem } from "./validation.ts";
import { groupTasks, orderTasks } from "./workflow-order.ts";
import { scriptOf, simulatedSizes, workOf } from "./workflow-work.ts";

const SUBJECT = "the workflow is refused";
/** The variable that holds the id of a workflow's task. */
const TASK_VARIABLE = "WORKFLOW_TASK";
const OWN_FOLDER = ".airavata";

/** Errors as those of `compilePlan`. */
export function compileWorkflow(spec: WorkflowSpec): Plan {
  const complaints = createComplaints(spec.locate);
  checkCompute({ settings: spec.compute, path: ["compute"] }, complaints);
  const paths = spec.files.map((file) => pathOf(file.id, [...file.path, "id"], complaints));
  const makers = makersOf(spec, complaints);
  for (const task of spec.tasks) checkFiles(task, paths, complaints);
  const files = filesOf(spec, paths, makers, complaints);
  const parents = spec.tasks.map((task, i) => parentsOf(spec, task, i, { makers, complaints }));
  const order = orderTasks(spec.tasks, parents, complaints);
  complaints.throwIfAny(SUBJECT);
  const groups = groupTasks(spec.tasks, order);
  const numbers = new Map(groups.flatMap((group) => group.tasks).map((task, number) => [task, number]));
  const sets = groups.map((group) =>
    compileGroup(spec, group, {
      complaints,
      edges: group.tasks.map((task) => (parents[task] ?? []).map((parent) => numbers.get(parent) as number)),
    }),
  );
  complaints.throwIfAny(SUBJECT);
  const script = scriptOf(spec);
  return {
    formatVersion: WORK_FORMAT_VERSION,
    name: nameOf(spec),
    labels: {},
    scripts: { [script.name]: script.text },
    environment: [],
    assets: [],
    conda: [],
    pip: [],
    on: [],
    sets,
    files,
  };
}

const nameOf = ({ name = "" }: WorkflowSpec): string =>
  name
    .replace(/\p{Cc}/gu, " ")
    .trim()
    .slice(0, limits.NAME_LENGTH_MAX) || limits.DEFAULT_EXPERIMENT_NAME;

/** Below the task's directory; absolute paths of the machine where it was recorded count from there too. */
function pathOf(id: string, at: InputPath, complaints: Complaints): string {
  const result = relativePath(id.replace(/^\/+/, ""));
  if ("problem" in result) complaints.add(at, result.problem);
  else if (result.path.endsWith("/")) complaints.add(at, `${shown(id)} is a folder; write one file`);
  else if (result.path === WORK_FILE || result.path.split("/")[0] === OWN_FOLDER)
    complaints.add(at, `${shown(id)} is the scheduler's own; choose another name`);
  else return result.path;
  return "";
}

/** The task that makes each file; -1 for none. */
function makersOf({ tasks, files }: WorkflowSpec, complaints: Complaints): Int32Array {
  const makers = new Int32Array(files.length).fill(-1);
  for (const [task, { outputs, path }] of tasks.entries()) {
    for (const file of outputs) {
      const other = tasks[makers[file] as number];
      if (other !== undefined) complaints.add(path, `makes file ${shown(files[file]?.id ?? "")}, and so does task ${shown(other.id)}`);
      makers[file] = task;
    }
  }
  return makers;
}

/** Those that it names, and the makers of its inputs. */
function parentsOf(
  { files }: WorkflowSpec,
  task: WorkflowTask,
  place: number,
  { makers, complaints }: { makers: Int32Array; complaints: Complaints },
): number[] {
  const parents = new Set(task.parents);
  for (const file of task.inputs) {
    const maker = makers[file] as number;
    if (maker === place) complaints.add(task.path, `reads file ${shown(files[file]?.id ?? "")} and makes it too`);
    else if (maker >= 0) parents.add(maker);
  }
  return [...parents];
}

/** All files of a task lie in one directory: none may be in another's way. */
function checkFiles(task: WorkflowTask, paths: readonly string[], complaints: Complaints): void {
  const own = new Set([...task.inputs, ...task.outputs]);
  if (task.inputs.length > limits.WORKFLOW_TASK_FILES_MAX || task.outputs.length > limits.WORKFLOW_TASK_FILES_MAX)
    complaints.add(task.path, `has more than ${limits.thousands(limits.WORKFLOW_TASK_FILES_MAX)} input or output files`, "size");
  const taken = new Set<string>();
  let bytes = 0;
  for (const file of own) {
    const path = paths[file] ?? "";
    if (path !== "" && taken.has(path)) complaints.add(task.path, `has two files at ${shown(path)}`);
    taken.add(path);
    bytes += byteLength(path);
  }
  if (bytes > limits.WORKFLOW_TASK_PATHS_BYTES_MAX)
    complaints.add(task.path, `has paths of more than ${limits.WORKFLOW_TASK_PATHS_BYTES_MAX} bytes together`, "size");
  for (const path of taken) {
    for (let slash = path.indexOf("/"); slash !== -1; slash = path.indexOf("/", slash + 1))
      if (taken.has(path.slice(0, slash))) complaints.add(task.path, `has a file at ${shown(path.slice(0, slash))} and another below it`);
  }
}

function filesOf(spec: WorkflowSpec, paths: readonly string[], makers: Int32Array, complaints: Complaints): WorkflowFiles {
  if (spec.options.simulateWork !== undefined) {
    if (spec.options.inputs !== undefined)
      complaints.add([], "simulated work makes its own inputs; give either a factor or a folder with inputs");
    const bytes = simulatedSizes(spec, (file) => (makers[file] as number) >= 0, complaints);
    return { paths, ...(bytes === undefined ? {} : { bytes }) };
  }
  const from = spec.options.inputs === undefined ? undefined : folderOf(spec.options.inputs, complaints);
  const read = new Set(spec.tasks.flatMap((task) => task.inputs));
  const first = spec.files.findIndex((_, file) => read.has(file) && (makers[file] as number) < 0);
  if (first !== -1 && from === undefined && spec.options.inputs === undefined)
    complaints.add(
      spec.files[first]?.path ?? [],
      `file ${shown(spec.files[first]?.id ?? "")} is made by no task: name the folder with such files (--workflow-inputs storage:/folder), or simulate the work (--simulate-work FACTOR)`,
    );
  return { paths, ...(from === undefined ? {} : { from }) };
}

/** `name:/folder`, its path ending in `/`. */
function folderOf(text: string, complaints: Complaints): WorkflowFiles["from"] {
  const [storage = "", ...rest] = text.split(":");
  const path = rest.join(":");
  const problem = storagePathProblem(path);
  if (RESOURCE_NAME.test(storage) && path.startsWith("/") && problem === undefined)
    return { storage, path: path.endsWith("/") ? path : `${path}/` };
  complaints.add([], `the workflow's inputs: ${shown(text)} ${problem ?? "is not storage-resource:/folder"}`);
  return undefined;
}

function compileGroup(
  spec: WorkflowSpec,
  group: { readonly name: string; readonly tasks: readonly number[] },
  { edges, complaints }: { readonly edges: readonly (readonly number[])[]; readonly complaints: Complaints },
): PlanSet {
  const tasks = group.tasks.map((task) => spec.tasks[task] as WorkflowTask);
  const layers = [
    { settings: needsOf(spec, tasks), path: [] },
    { settings: spec.compute, path: ["compute"] },
  ];
  return {
    name: group.name,
    script: scriptOf(spec).name,
    count: tasks.length,
    axes: [{ name: TASK_VARIABLE, kind: "list", texts: tasks.map((task) => task.id), storage: false }],
    combine: "zip",
    constants: [],
    references: [],
    outputs: [],
    foreach: [],
    factor: tasks.length,
    after: [],
    ...(edges.some((of) => of.length > 0) ? { edges: encodeLists(edges) } : {}),
    work: {
      inputs: encodeLists(tasks.map((task) => task.inputs)),
      outputs: encodeLists(tasks.map((task) => task.outputs)),
      ...workOf(spec, tasks, complaints),
    },
    resources: compileResources(layers, complaints),
    retry: compileRetry([]),
  };
}

/** What the largest of the tasks was recorded to need, with room; simulated work needs one core and next to no memory. */
function needsOf({ options }: WorkflowSpec, tasks: readonly WorkflowTask[]) {
  const largest = (of: (task: WorkflowTask) => number | undefined): number =>
    tasks.reduce((most, task) => Math.max(most, of(task) ?? 0), 0);
  const seconds = largest((task) => task.runtimeSeconds) * (options.simulateWork ?? 1);
  const time = `${Math.min(limits.TIME_LIMIT_MS_MAX / 1000, Math.max(limits.WORKFLOW_TIME_SECONDS_MIN, Math.ceil(2 * seconds)))}s`;
  if (options.simulateWork !== undefined) return { cpu: 1, ram_gb: limits.SIMULATED_MEMORY_GIB, time };
  const memory = largest((task) => task.memoryBytes) / 1024 ** 3;
  return {
    cpu: Math.min(
      limits.CPU_CORES_MAX,
      Math.max(
        1,
        largest((task) => task.cores),
      ),
    ),
    ram_gb: Math.min(
      limits.MEMORY_GIB_MAX,
      memory === 0 ? limits.DEFAULT_COMPUTE.ram_gb : Math.max(limits.SIMULATED_MEMORY_GIB, memory * limits.RECORDED_MEMORY_ROOM),
    ),
    time,
  };
}
