/** What an experiment file comes to: sets and counts, computed without writing anything. */
import type { Capacity } from "#domain/capacity.ts";
import { decodeLists } from "#domain/lists.ts";
import type { Axis, Plan, PlanSet } from "#domain/plan.ts";
import * as z from "zod";
import { count } from "./identity.ts";

export const capacity = z.object({ cpuMilli: count, memoryMib: count, gpu: count }) satisfies z.ZodType<Capacity>;

const setSummary = z.object({
  set: z.string(),
  script: z.string(),
  tasks: count,
  axes: z.array(z.object({ name: z.string(), size: count })).readonly(),
  combine: z.enum(["product", "zip"]),
  after: z.array(z.string()).readonly(),
  foreach: z.array(z.string()).readonly(),
  outputs: z.array(z.string()).readonly(),
  /** Tasks that its tasks wait for one by one, and files that they make under names of their own: of workflows. */
  dependencies: count,
  outputFiles: count,
  capacity,
  timeLimitMs: count,
});

export const planSummary = z.object({ name: z.string(), tasks: count, sets: z.array(setSummary).readonly() });
export type PlanSummary = z.output<typeof planSummary>;

const sizeOfAxis = (axis: Axis): number => (axis.kind === "range" ? axis.size : axis.texts.length);

const lengthOf = (lists: string | undefined, tasks: number): number => (lists === undefined ? 0 : decodeLists(lists, tasks).values.length);

export function summarizePlan(plan: Plan): PlanSummary {
  const nameOf = (ordinal: number): string => plan.sets[ordinal]?.name ?? "";
  const summarize = (set: PlanSet): PlanSummary["sets"][number] => ({
    set: set.name,
    script: set.script,
    tasks: set.count,
    axes: set.axes.map((axis) => ({ name: axis.name, size: sizeOfAxis(axis) })),
    combine: set.combine,
    after: set.after.map(nameOf),
    foreach: set.foreach.map(nameOf),
    outputs: set.outputs.map((output) => output.name),
    dependencies: lengthOf(set.edges, set.count),
    outputFiles: lengthOf(set.work?.outputs, set.count),
    capacity: set.resources.capacity,
    timeLimitMs: set.resources.timeLimitMs,
  });
  return { name: plan.name, tasks: plan.sets.reduce((sum, set) => sum + set.count, 0), sets: plan.sets.map(summarize) };
}
