/** Order and grouping of a workflow's tasks, pure: one topological order of all, and sets that each keep it. */
import type { Complaints } from "#domain/complaints.ts";
import type { WorkflowTask } from "#domain/workflow.ts";
import { SETS_MAX } from "./limits.ts";

/** Most tasks of a cycle that a message names. */
const CYCLE_SHOWN_MAX = 10;

/**
 * Tasks with parents before children: by level, in a level as in the file. Those in or behind a cycle are left out, and the cycle
 * is complained about.
 */
export function orderTasks(tasks: readonly WorkflowTask[], parents: readonly (readonly number[])[], complaints: Complaints): number[] {
  const left = Uint32Array.from(parents, (of) => of.length);
  const children = childrenOf(parents);
  let level = tasks.flatMap((_, task) => (left[task] === 0 ? [task] : []));
  const order: number[] = [];
  while (level.length > 0) {
    for (const task of level) order.push(task);
    const next: number[] = [];
    for (const task of level) for (const child of children[task] ?? []) if (--(left[child] as number) === 0) next.push(child);
    level = next.sort((a, b) => a - b);
  }
  if (order.length < tasks.length) complainOfCycle(tasks, parents, left, complaints);
  return order;
}

function childrenOf(parents: readonly (readonly number[])[]): number[][] {
  const children: number[][] = parents.map(() => []);
  for (const [task, of] of parents.entries()) for (const parent of of) children[parent]?.push(task);
  return children;
}

/** A walk along unfinished parents must come back to a task that it has passed; from there on it is the cycle. */
function complainOfCycle(
  tasks: readonly WorkflowTask[],
  parents: readonly (readonly number[])[],
  left: Uint32Array,
  complaints: Complaints,
): void {
  const passed = new Map<number, number>();
  const walk: number[] = [];
  let at = left.findIndex((n) => n > 0);
  while (!passed.has(at)) {
    passed.set(at, walk.length);
    walk.push(at);
    at = parents[at]?.find((parent) => (left[parent] as number) > 0) ?? at;
  }
  const cycle = [...walk.slice(passed.get(at)), at].map((task) => tasks[task]?.id ?? "");
  const text = cycle.length <= CYCLE_SHOWN_MAX ? cycle : [...cycle.slice(0, CYCLE_SHOWN_MAX), "..."];
  complaints.add([...(tasks[at]?.path ?? []), "id"], `waits for itself: ${text.join(" -> ")}; an arrow points to what is waited for`);
}

/** What makes two tasks alike, from the best to the last resort. */
const LIKENESSES: readonly ((task: WorkflowTask) => string | undefined)[] = [
  (task) => task.category || undefined,
  (task) => (task.program === undefined || /\s/.test(task.program) ? undefined : task.program.slice(task.program.lastIndexOf("/") + 1)),
  (task) => withoutNumber(task.name) || "task",
];

/** `mProject_ID0000002` and `align (sample 3)` without what tells one task from the next. */
const withoutNumber = (name: string): string => name.replace(/\s*\(.*\)$/, "").replace(/[_.-]?(?:ID)?\d+$/, "");

/** Name and tasks of each set, at most SETS_MAX; `order` is kept within each and decides theirs. */
export function groupTasks(
  tasks: readonly WorkflowTask[],
  order: readonly number[],
): { readonly name: string; readonly tasks: number[] }[] {
  const of = (likeness: (task: WorkflowTask) => string | undefined) =>
    Map.groupBy(order, (task) => likeness(tasks[task] as WorkflowTask) ?? "");
  const all = LIKENESSES.map(of);
  const telling = all.filter((groups) => !groups.has(""));
  // The best that comes to few enough sets; else the coarsest, its small groups together in one set.
  const groups = telling.find(({ size }) => size <= SETS_MAX) ?? telling.reduce((a, b) => (b.size < a.size ? b : a));
  const sorted = [...groups.entries()].sort(([, a], [, b]) => b.length - a.length);
  const merged =
    sorted.length <= SETS_MAX
      ? sorted
      : [...sorted.slice(0, SETS_MAX - 1), ["others", sorted.slice(SETS_MAX - 1).flatMap(([, g]) => g)] as const];
  const place = new Map(order.map((task, i) => [task, i]));
  const placeOf = (task: number | undefined): number => place.get(task ?? -1) ?? 0;
  const taken = new Set<string>();
  return merged
    .map(([name, members]) => ({ name, tasks: [...members].sort((a, b) => placeOf(a) - placeOf(b)) }))
    .sort((a, b) => placeOf(a.tasks[0]) - placeOf(b.tasks[0]))
    .map((group) => ({ ...group, name: setName(group.name, taken) }));
}

const SET_NAME_LENGTH_MAX = 56;

/** A name that is fit for a task set and no other's. */
function setName(text: string, taken: Set<string>): string {
  // The end of a long name says more than its beginning.
  const plain = text.replace(/[^A-Za-z0-9_-]/g, "_").slice(-SET_NAME_LENGTH_MAX);
  const base = /^[A-Za-z]/.test(plain) ? plain : `t${plain}`;
  let name = base;
  for (let n = 2; taken.has(name); n++) name = `${base}-${n}`;
  taken.add(name);
  return name;
}
