/**
 * Task i of a set: its parameters, computed from i (mixed radix over the axes) and never stored.
 *
 * The first axis varies slowest. The index of a foreach parent is the outer one: i = parent * factor + own.
 */
import { assert } from "./error.ts";
import type { Axis, Plan, PlanSet } from "./plan.ts";

export interface TaskBindings {
  /** Plain values, written into the environment as they are. */
  readonly texts: readonly { readonly name: string; readonly value: string }[];
  /** Files of storage resources: staged in, the variable holds the local path. */
  readonly inputs: readonly StorageInput[];
  /** Outputs of other tasks: staged in, the variable holds the local path or paths. */
  readonly references: readonly TaskReference[];
}

export interface StorageInput {
  readonly name: string;
  readonly storage: string;
  readonly path: string;
}

/** `one`: the file of task `index` of a foreach parent. `all`: the files of all `count` tasks of a barrier parent. */
export type TaskReference =
  | { readonly kind: "one"; readonly name: string; readonly set: number; readonly output: string; readonly index: number }
  | { readonly kind: "all"; readonly name: string; readonly set: number; readonly output: string; readonly count: number };

/** A range whose largest number, written without its point, stays below this is exact in 64-bit floats. */
export const RANGE_SCALED_MAX = 1e15;
export const RANGE_DECIMALS_MAX = 15;

export const axisSize = (axis: Axis): number => (axis.kind === "range" ? axis.size : axis.texts.length);

/** Value `index` of an axis as text. A range is counted in whole units of its last digit, so nothing drifts. */
export function axisText(axis: Axis, index: number): string {
  assert(Number.isInteger(index) && index >= 0 && index < axisSize(axis), `value ${index} of axis ${axis.name}`);
  if (axis.kind === "list") return axis.texts[index] ?? "";
  const scale = 10 ** axis.decimals;
  const units = Math.round(axis.start * scale) + index * Math.round(axis.step * scale);
  if (axis.decimals === 0) return String(units === 0 ? 0 : units);
  const digits = String(Math.abs(units)).padStart(axis.decimals + 1, "0");
  return `${units < 0 ? "-" : ""}${digits.slice(0, -axis.decimals)}.${digits.slice(-axis.decimals)}`;
}

/** Index of the foreach parents' task that task `i` of a set hangs on. */
export const parentIndex = (set: PlanSet, i: number): number => Math.floor(i / set.factor);

/** `name:/path` in two; the plan holds no other form. */
export function splitStorageReference(text: string): { readonly storage: string; readonly path: string } {
  const colon = text.indexOf(":");
  return { storage: text.slice(0, colon), path: text.slice(colon + 1) };
}

/** Everything that is bound for task `i` (0 <= i < count) of the set with this ordinal. O(bindings), whatever the count. */
export function taskBindings(plan: Plan, setOrdinal: number, i: number): TaskBindings {
  const set = plan.sets[setOrdinal];
  assert(set !== undefined, `set ${setOrdinal}`);
  assert(Number.isInteger(i) && i >= 0 && i < set.count, `task ${i} of ${set.name}`);
  const texts: { name: string; value: string }[] = [];
  const inputs: StorageInput[] = [];
  const bind = (name: string, text: string, storage: boolean) => {
    if (storage) inputs.push({ name, ...splitStorageReference(text) });
    else texts.push({ name, value: text });
  };
  for (const constant of set.constants) bind(constant.name, constant.text, constant.storage);
  const own = axisIndices(set, i % set.factor);
  for (const [a, axis] of set.axes.entries()) bind(axis.name, axisText(axis, own[a] ?? 0), axis.kind === "list" && axis.storage);
  return { texts, inputs, references: set.references.map((reference) => resolveReference(plan, set, reference, i)) };
}

/** The place on each axis for the own index `rest` (0 <= rest < factor). */
function axisIndices(set: PlanSet, rest: number): readonly number[] {
  if (set.combine === "zip") return set.axes.map(() => rest);
  const indices: number[] = [];
  let left = rest;
  for (let a = set.axes.length - 1; a >= 0; a--) {
    const size = axisSize(set.axes[a] as Axis);
    indices.unshift(left % size);
    left = Math.floor(left / size);
  }
  return indices;
}

function resolveReference(plan: Plan, set: PlanSet, reference: PlanSet["references"][number], i: number): TaskReference {
  if (set.foreach.includes(reference.set)) return { kind: "one", ...reference, index: parentIndex(set, i) };
  return { kind: "all", ...reference, count: plan.sets[reference.set]?.count ?? 0 };
}
