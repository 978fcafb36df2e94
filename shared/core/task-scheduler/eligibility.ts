/** Readiness, derived (T5): which tasks of a segment may run now, and which never will because something before them failed. */
import { hasIndex, emptySet, type IndexSet, intersect, minus, SEGMENT_TASKS, setOf, union } from "#domain/index-set.ts";
import { edgesOf, type SegmentEdges, type SegmentPlace } from "#domain/edges.ts";
import type { TaskSet } from "#domain/experiment.ts";
import type { Plan, PlanSet } from "#domain/plan.ts";
import { pendingOf, type Segment, type Tries, wholeSegment } from "#domain/segment.ts";
import { BACKOFF_MS_MAX } from "./limits.ts";

/** Numbers of the parent segments that segment `n` of a set with `factor` tasks per parent task looks at. */
export function parentSegments(n: number, factor: number, count: number): number[] {
  const first = Math.floor((n * SEGMENT_TASKS) / factor / SEGMENT_TASKS);
  const last = Math.floor((Math.min(count, (n + 1) * SEGMENT_TASKS) - 1) / factor / SEGMENT_TASKS);
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** Numbers of the child segments that a parent's segment `n` feeds. */
export function childSegments(n: number, factor: number, childCount: number): number[] {
  const first = n * factor;
  const last = Math.min(Math.ceil(childCount / SEGMENT_TASKS) - 1, (n + 1) * factor - 1);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i);
}

/** Segments that hold tasks which tasks of this one wait for, barriers aside. */
export function parentPlaces(plan: Plan, at: SegmentPlace): readonly SegmentPlace[] {
  const { foreach, factor, count } = plan.sets[at.set] as PlanSet;
  const numbers = foreach.length === 0 ? [] : parentSegments(at.segment, factor, count);
  const own = foreach.flatMap((set) => numbers.map((segment) => ({ set, segment })));
  return [...own, ...(edgesOf(plan)?.into(at)?.parents ?? [])];
}

/** Segments with tasks that wait for single tasks of this one. */
export function childPlaces(plan: Plan, at: SegmentPlace): readonly SegmentPlace[] {
  const own = plan.sets.flatMap(({ foreach, factor, count }, set) =>
    foreach.includes(at.set) ? childSegments(at.segment, factor, count).map((segment) => ({ set, segment })) : [],
  );
  return [...own, ...(edgesOf(plan)?.outOf(at) ?? [])];
}

/** The tasks of segment `n` whose parent task is in the parent's set `pick(segment)`. */
function project(n: number, planSet: PlanSet, parent: ReadonlyMap<number, Segment>, pick: (s: Segment) => IndexSet): IndexSet {
  if (planSet.factor === 1) {
    const s = parent.get(n);
    return s === undefined ? emptySet() : pick(s);
  }
  const picked = new Map([...parent].map(([k, s]) => [k, pick(s)] as const));
  const out: number[] = [];
  const to = Math.min(planSet.count, (n + 1) * SEGMENT_TASKS);
  for (let task = n * SEGMENT_TASKS; task < to; task++) {
    const p = Math.floor(task / planSet.factor);
    const bits = picked.get(Math.floor(p / SEGMENT_TASKS));
    const i = p % SEGMENT_TASKS;
    if (bits !== undefined && hasIndex(bits, i)) out.push(task - n * SEGMENT_TASKS);
  }
  return setOf(out);
}

export interface Parents {
  /** All sets of the experiment, by ordinal; read after the gate. */
  readonly sets: readonly TaskSet[];
  /** Ordinal -> segments by number, those of {@link parentPlaces}; read strongly, after the gate. */
  readonly segments: ReadonlyMap<number, ReadonlyMap<number, Segment>>;
  readonly edges?: SegmentEdges;
}

export interface Readiness {
  /** All they depend on is committed. */
  readonly ready: IndexSet;
  /** Something they depend on has failed or was skipped. */
  readonly doomed: IndexSet;
}

export const isSetClosed = (s: TaskSet): boolean => s.skipAll || s.closed === s.segments;

/** True when everything behind this barrier set can only be skipped. */
export const isBarrierDoomed = (planSet: PlanSet, sets: readonly TaskSet[]): boolean =>
  planSet.after.some((p) => {
    const s = sets[p] as TaskSet;
    return isSetClosed(s) && (s.skipAll || s.failed + s.skipped > 0);
  });

export function readiness(planSet: PlanSet, n: number, parents: Parents): Readiness {
  const whole = wholeSegment(planSet.count, n);
  if (isBarrierDoomed(planSet, parents.sets)) return { ready: emptySet(), doomed: whole };
  const open = planSet.after.every((p) => (parents.sets[p] as TaskSet).done === (parents.sets[p] as TaskSet).count);
  let ready = open ? whole : emptySet();
  let doomed = emptySet();
  for (const p of planSet.foreach) {
    const segments = parents.segments.get(p) ?? new Map();
    if ((parents.sets[p] as TaskSet).skipAll) return { ready: emptySet(), doomed: whole };
    ready = intersect(
      ready,
      project(n, planSet, segments, (s) => s.done),
    );
    doomed = union(
      doomed,
      project(n, planSet, segments, (s) => union(s.failed, s.skipped)),
    );
  }
  if (parents.edges !== undefined) {
    const at = alongEdges(parents.edges, parents);
    ready = intersect(ready, at.ready);
    doomed = union(doomed, at.doomed);
  }
  return { ready: minus(ready, doomed), doomed };
}

/**
 * In the order of the tasks, which is topological: what waits for a task that is doomed here is doomed by the same look.
 * Only `done` makes a task ready (G4).
 */
function alongEdges({ parents: places, own, starts, refs }: SegmentEdges, { sets, segments }: Parents): Readiness {
  const none = emptySet();
  const facts = places.map(({ set, segment }) => {
    const s = segments.get(set)?.get(segment);
    const whole = sets[set]?.skipAll === true;
    const lost = s === undefined ? none : union(s.failed, s.skipped);
    return { done: s?.done ?? none, isLost: (i: number): boolean => whole || hasIndex(lost, i) };
  });
  const ready: number[] = [];
  const doomed = new Set<number>();
  for (let task = 0; task + 1 < starts.length; task++) {
    let open = true;
    for (let at = starts[task] as number; at < (starts[task + 1] as number); at++) {
      const place = Math.floor((refs[at] as number) / SEGMENT_TASKS);
      const i = (refs[at] as number) % SEGMENT_TASKS;
      const parent = facts[place] as (typeof facts)[number];
      open &&= hasIndex(parent.done, i);
      if (open) continue;
      if (parent.isLost(i) || (place === own && doomed.has(i))) doomed.add(task);
    }
    if (open) ready.push(task);
  }
  return { ready: setOf(ready), doomed: setOf(doomed) };
}

export interface Workable {
  /** May be leased now. */
  readonly take: IndexSet;
  /** All they depend on is committed, nobody holds them and nothing is decided about them; some may rest. */
  readonly ready: IndexSet;
  /** To be marked SKIPPED. */
  readonly skip: IndexSet;
  /** Earliest end of a back-off among ready tasks, if any waits. */
  readonly wakeAtMs: number | undefined;
}

export function workable(segment: Segment, planSet: PlanSet, at: Readiness, nowMs: number): Workable {
  const pending = pendingOf(segment, planSet.count);
  const ready = intersect(pending, at.ready);
  const resting: number[] = [];
  let wakeAtMs: number | undefined;
  for (const [i, tries] of segment.tries) {
    // A wait longer than any is given out: the clock was set back since.
    if (tries.notBeforeMs <= nowMs || tries.notBeforeMs > nowMs + longestWaitMs(planSet, tries) || !hasIndex(ready, i)) continue;
    resting.push(i);
    wakeAtMs = Math.min(wakeAtMs ?? Number.POSITIVE_INFINITY, tries.notBeforeMs);
  }
  return { take: minus(ready, setOf(resting)), ready, skip: intersect(pending, at.doomed), wakeAtMs };
}

/** The store rounds up to seconds. */
const longestWaitMs = ({ retry }: PlanSet, { attempts }: Tries): number =>
  Math.min(BACKOFF_MS_MAX, retry.backoffMs * 2 ** Math.min(20, Math.max(0, attempts - 1))) + 1_000;
