/**
 * Explicit dependencies, task by task: what `foreach` and `after` can't say. The plan keeps them as lists of parents;
 * here they are turned, once for each plan and process, into what one segment has to look at.
 *
 * Tasks have a number over all sets of the plan: those of set 0 first. In a set tasks stand in the order of one
 * topological order of all, so no task waits, however indirectly, for a later one of its own set: segments of a
 * set can be born in order.
 */
import { SEGMENT_TASKS } from "./index-set.ts";
import { decodeLists, type Lists, listAt } from "./lists.ts";
import type { Plan } from "./plan.ts";
import { locate, segmentsFor } from "./segment.ts";

export interface SegmentPlace {
  readonly set: number;
  readonly segment: number;
}

/** Parents of the tasks of one segment. */
export interface SegmentEdges {
  /** Segments that hold parents, perhaps this one too. */
  readonly parents: readonly SegmentPlace[];
  /** The place of this one in `parents`; -1 when its tasks wait for none of its own. */
  readonly own: number;
  /** Parents of the segment's task i are `refs[starts[i]..starts[i + 1]]`, each a place in `parents` * SEGMENT_TASKS + index there. */
  readonly starts: Uint32Array;
  readonly refs: Uint32Array;
}

export interface PlanEdges {
  /** `undefined` where no task has explicit parents. */
  into(at: SegmentPlace): SegmentEdges | undefined;
  /** Segments that hold children of tasks of this one. */
  outOf(at: SegmentPlace): readonly SegmentPlace[];
  /** Explicit parents of one task. */
  parentsOf(set: number, task: number): readonly TaskPlace[];
}

export interface TaskPlace {
  readonly set: number;
  readonly task: number;
}

/** Number over all sets of the first task of each set. */
export function firstNumbers(plan: Pick<Plan, "sets">): readonly number[] {
  let next = 0;
  return plan.sets.map(({ count }) => {
    next += count;
    return next - count;
  });
}

/** The task with this number over all sets. */
export function placeOf(firsts: readonly number[], number: number): TaskPlace {
  const after = firsts.findIndex((first) => first > number);
  const set = (after === -1 ? firsts.length : after) - 1;
  return { set, task: number - (firsts[set] as number) };
}

const known = new WeakMap<Plan, PlanEdges>();

/** Edges of a plan; `undefined` when it has none. */
export function edgesOf(plan: Plan): PlanEdges | undefined {
  if (plan.sets.every((set) => set.edges === undefined)) return undefined;
  const edges = known.get(plan) ?? deriveEdges(plan);
  known.set(plan, edges);
  return edges;
}

const nameOf = ({ set, segment }: SegmentPlace): string => `${set}/${segment}`;

function deriveEdges(plan: Plan): PlanEdges {
  const firsts = firstNumbers(plan);
  const into = new Map<string, SegmentEdges>();
  const outOf = new Map<string, SegmentPlace[]>();
  const lists = plan.sets.map(({ edges, count }) => (edges === undefined ? undefined : decodeLists(edges, count)));
  for (const [set, list] of lists.entries()) {
    if (list === undefined) continue;
    for (let segment = 0; segment < segmentsFor(plan.sets[set]?.count ?? 0); segment++) {
      const found = segmentEdges(list, { set, segment }, firsts);
      if (found.refs.length === 0) continue;
      into.set(nameOf({ set, segment }), found);
      for (const parent of found.parents) outOf.set(nameOf(parent), [...(outOf.get(nameOf(parent)) ?? []), { set, segment }]);
    }
  }
  return {
    into: (at) => into.get(nameOf(at)),
    outOf: (at) => outOf.get(nameOf(at)) ?? [],
    parentsOf: (set, task) => {
      const list = lists[set];
      return list === undefined ? [] : [...listAt(list, task)].map((number) => placeOf(firsts, number));
    },
  };
}

function segmentEdges({ starts, values }: Lists, of: SegmentPlace, firsts: readonly number[]): SegmentEdges {
  const from = of.segment * SEGMENT_TASKS;
  const to = Math.min(starts.length - 1, from + SEGMENT_TASKS);
  const base = starts[from] as number;
  const places = new Map<string, number>();
  const parents: SegmentPlace[] = [];
  const refs = values.slice(base, starts[to]);
  for (const [i, number] of refs.entries()) {
    const { set, task } = placeOf(firsts, number);
    const at = locate(task);
    const parent = { set, segment: at.segment };
    const place = places.get(nameOf(parent)) ?? parents.push(parent) - 1;
    places.set(nameOf(parent), place);
    refs[i] = place * SEGMENT_TASKS + at.index;
  }
  return { parents, own: places.get(nameOf(of)) ?? -1, starts: starts.slice(from, to + 1).map((start) => start - base), refs };
}
