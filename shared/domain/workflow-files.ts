/**
 * Files of a workflow's tasks: which task reads and makes which, out of the plan's lists, by index.
 *
 * A task finds its inputs and makes its outputs under their names below its own directory. Beside them lies WORK_FILE:
 * what the script of a workflow has to do for this very task.
 */
import { firstNumbers, placeOf, type TaskPlace } from "./edges.ts";
import { decodeLists, type Lists, listAt } from "./lists.ts";
import type { Plan, PlanSet } from "./plan.ts";

/** In every task's directory. A command: program and arguments, each ended by ARGUMENT_END; simulated work: a line for each step. */
export const WORK_FILE = ".airavata-work";
/** No argument may hold it. */
export const ARGUMENT_END = "\u001f";

export interface InputPlace {
  readonly path: string;
  /** The task that makes it; absent for a file that the workflow starts with. */
  readonly from?: TaskPlace;
}

export interface TaskFiles {
  readonly inputs: readonly InputPlace[];
  readonly outputs: readonly string[];
  /** Content of {@link WORK_FILE}. */
  readonly work: string;
}

const known = new WeakMap<Plan, (set: number, task: number) => TaskFiles | undefined>();

/** Files of one task; `undefined` for a set without. O(files of the task) after the first call for a plan. */
export function taskFiles(plan: Plan, set: number, task: number): TaskFiles | undefined {
  if (plan.sets[set]?.work === undefined) return undefined;
  const look = known.get(plan) ?? derive(plan);
  known.set(plan, look);
  return look(set, task);
}

function derive(plan: Plan): (set: number, task: number) => TaskFiles | undefined {
  const firsts = firstNumbers(plan);
  const paths = plan.files?.paths ?? [];
  const inputs = plan.sets.map(({ work, count }) => (work === undefined ? undefined : decodeLists(work.inputs, count)));
  const outputs = plan.sets.map(({ work, count }) => (work === undefined ? undefined : decodeLists(work.outputs, count)));
  const makers = new Int32Array(paths.length).fill(-1);
  for (const [set, lists] of outputs.entries()) {
    for (let task = 0; lists !== undefined && task + 1 < lists.starts.length; task++)
      for (const file of listAt(lists, task)) makers[file] = (firsts[set] as number) + task;
  }
  return (set, task) => {
    const work = plan.sets[set]?.work;
    if (work === undefined) return undefined;
    const reads = listAt(inputs[set] as Lists, task);
    const makes = listAt(outputs[set] as Lists, task);
    const from = (file: number) => ((makers[file] as number) < 0 ? {} : { from: placeOf(firsts, makers[file] as number) });
    return {
      inputs: [...reads].map((file) => ({ path: paths[file] as string, ...from(file) })),
      outputs: [...makes].map((file) => paths[file] as string),
      work: work.commands?.[task] ?? simulated(plan, work, task, { reads, makes, made: (file) => (makers[file] as number) >= 0 }),
    };
  };
}

/** `sleep <s>`, then `in`, `make` (an input that nobody makes) and `out`, each with bytes and path. */
function simulated(
  plan: Plan,
  work: NonNullable<PlanSet["work"]>,
  task: number,
  { reads, makes, made }: { reads: Uint32Array; makes: Uint32Array; made: (file: number) => boolean },
): string {
  const line = (kind: string, file: number) => `${kind} ${plan.files?.bytes?.[file] ?? 0} ${plan.files?.paths[file] ?? ""}`;
  const steps = [...[...reads].map((f) => line(made(f) ? "in" : "make", f)), ...[...makes].map((f) => line("out", f))];
  return [`sleep ${(work.sleepMs?.[task] ?? 0) / 1000} -`, ...steps, ""].join("\n");
}
