/**
 * What there is to hand out, derived by reads alone: the segments of an experiment worth a look, what of each may be leased
 * now, and the demand that placement takes. A pass acts on it; an explanation tells it.
 */
import { edgesOf } from "#domain/edges.ts";
import type { Experiment, Gate, TaskSet } from "#domain/experiment.ts";
import type { ExperimentId } from "#domain/id.ts";
import { type IndexSet, isEmptySet, SEGMENT_TASKS, sizeOf } from "#domain/index-set.ts";
import { packagesOf, type Plan, type PlanSet } from "#domain/plan.ts";
import { type Segment, type SegmentKey, segmentName } from "#domain/segment.ts";
import type { Clock } from "#ports/clock.ts";
import type { Random } from "#ports/random.ts";
import type { TaskStore } from "#ports/task-store.ts";
import { childPlaces, parentPlaces, readiness, workable } from "./eligibility.ts";
import { newSegment } from "./fold.ts";
import { BIRTHS_PER_ROUND, MEASURED_SETS_KEPT, SEGMENTS_PER_ROUND } from "./limits.ts";
import type { Demand, Room } from "./placement.ts";

/** Something changed: look here first. All parts are hints. */
export interface Hint {
  readonly experiment?: ExperimentId;
  readonly set?: number;
  readonly segment?: number;
}

export interface DemandDeps {
  readonly store: TaskStore;
  readonly clock: Pick<Clock, "now">;
  readonly random: Pick<Random, "next">;
  readonly measured: Measured;
}

/** One segment looked at under a gate. */
export interface Candidate {
  readonly experiment: Experiment;
  readonly gate: Gate;
  readonly sets: readonly TaskSet[];
  readonly planSet: PlanSet;
  readonly segment: Segment;
  readonly unborn: boolean;
  readonly plan: Plan;
  readonly take: IndexSet;
  readonly ready: IndexSet;
  readonly skip: IndexSet;
  readonly wakeAtMs: number | undefined;
  /** Mean run time of its tasks or, while there is none, of those of another segment of its set. */
  readonly taskMs: number | undefined;
}

/** What one scheduler remembers between passes: how long tasks of a set took when last seen. A hint for lease sizes alone. */
export interface Measured {
  note(segment: Segment): void;
  of(key: SegmentKey): number | undefined;
}

export function createMeasured(): Measured {
  const kept = new Map<string, number>();
  const nameOf = (key: SegmentKey): string => `${key.experiment}/${key.set}`;
  return {
    note({ key, done, runMs }) {
      const n = sizeOf(done);
      if (n === 0) return;
      kept.delete(nameOf(key));
      kept.set(nameOf(key), runMs / n);
      if (kept.size > MEASURED_SETS_KEPT) kept.delete(kept.keys().next().value as string);
    },
    of: (key) => kept.get(nameOf(key)),
  };
}

/** Segments worth a look: those a hint names and their children, those in the open index, and the next unborn ones of each set, in order. */
function candidateKeys(
  deps: Pick<DemandDeps, "random">,
  of: {
    readonly e: Experiment;
    readonly sets: readonly TaskSet[];
    readonly plan: Plan;
    readonly hints: readonly Hint[];
    readonly open: readonly SegmentKey[];
  },
): SegmentKey[] {
  const { e, sets, plan, hints, open } = of;
  const keys = new Map<string, SegmentKey>();
  const add = (set: number, segment: number) => {
    const s = sets[set];
    if (s === undefined || s.skipAll || segment < 0 || segment >= s.segments || segment > s.next) return;
    const key = { experiment: e.id, set, segment };
    keys.set(segmentName(key), key);
  };
  for (const h of hints) {
    if (h.experiment !== e.id || h.set === undefined || h.segment === undefined) continue;
    add(h.set, h.segment);
    for (const child of childPlaces(plan, { set: h.set, segment: h.segment })) add(child.set, child.segment);
  }
  const start = Math.floor(deps.random.next() * Math.max(1, open.length));
  for (let i = 0; i < open.length && keys.size < SEGMENTS_PER_ROUND; i++) {
    const key = open[(start + i) % open.length] as SegmentKey;
    add(key.set, key.segment);
  }
  for (const s of sets) {
    add(s.ordinal, s.next);
    const end = s.skipAll ? s.next : Math.min(s.segments, s.next + BIRTHS_PER_ROUND);
    for (let segment = s.next + 1; segment < end; segment++) {
      const key = { experiment: e.id, set: s.ordinal, segment };
      keys.set(segmentName(key), key);
    }
  }
  return [...keys.values()];
}

/** Candidates in the order of {@link candidateKeys}; `gateOf` gives none where nothing may be looked at. */
export async function candidatesOf(
  deps: DemandDeps,
  at: {
    readonly experiment: Experiment;
    readonly plan: Plan;
    readonly sets: readonly TaskSet[];
    readonly gateOf: (segment: number) => Promise<Gate | undefined>;
    /** Born segments with something pending, as the open index has them. */
    readonly open: readonly SegmentKey[];
  },
  hints: readonly Hint[],
): Promise<Candidate[]> {
  const { experiment, plan, sets, gateOf, open } = at;
  const read = readOnce(deps.store);
  const keys = candidateKeys(deps, { e: experiment, sets, plan, hints, open });
  const looks = keys.map(async (key) => {
    const gate = await gateOf(key.segment);
    if (gate === undefined) return undefined;
    return examine(deps, { experiment, gate, sets, planSet: plan.sets[key.set] as PlanSet, plan }, key, read);
  });
  return (await Promise.all(looks)).filter((found) => found !== undefined);
}

/** Segments are born in order: behind one that can't be born now, no other can. Gives those that count, in their order. */
export function inBirthOrder(found: readonly Candidate[], sets: readonly TaskSet[]): Candidate[] {
  const next = sets.map((s) => s.next);
  return found.filter((c) => {
    const { set, segment } = c.segment.key;
    if (c.unborn && segment !== next[set]) return false;
    if (c.unborn && isEmptySet(c.skip) && !isEmptySet(c.take)) next[set] = segment + 1;
    return true;
  });
}

type Setting = Pick<Candidate, "experiment" | "gate" | "sets" | "planSet" | "plan">;

/** Each segment is read once in a round: many may have the same parents. */
function readOnce(store: TaskStore): (key: SegmentKey) => Promise<Segment | undefined> {
  const known = new Map<string, Promise<Segment | undefined>>();
  return (key) => {
    const name = segmentName(key);
    const reading = known.get(name) ?? store.readSegment(key);
    known.set(name, reading);
    return reading;
  };
}

/** One segment as a pass sees it; nothing when it is closed or its item is not there. */
export async function examine(
  deps: DemandDeps,
  at: Setting,
  key: SegmentKey,
  read: (key: SegmentKey) => Promise<Segment | undefined>,
): Promise<Candidate | undefined> {
  const { plan, planSet, sets } = at;
  const segments = new Map<number, Map<number, Segment>>();
  for (const found of await Promise.all(parentPlaces(plan, key).map((parent) => read({ ...key, ...parent })))) {
    if (found === undefined) continue;
    const { set, segment } = found.key;
    segments.set(set, (segments.get(set) ?? new Map<number, Segment>()).set(segment, found));
  }
  const stored = await read(key);
  const set = sets[key.set] as TaskSet;
  if (stored === undefined && key.segment < set.next) return undefined;
  if (stored !== undefined) deps.measured.note(stored);
  if (stored?.closed === true) return undefined;
  const segment = stored ?? newSegment(key, at.gate.generation);
  const edges = edgesOf(plan)?.into(key);
  const ready = readiness(planSet, key.segment, { sets, segments, ...(edges === undefined ? {} : { edges }) });
  const done = sizeOf(segment.done);
  const taskMs = done === 0 ? deps.measured.of(key) : segment.runMs / done;
  return { ...at, segment, unborn: stored === undefined, taskMs, ...workable(segment, planSet, ready, deps.clock.now()) };
}

export function demandOf(c: Candidate, barred: ReadonlySet<string>, room?: Room): Demand {
  const set = c.sets[c.segment.key.set] as TaskSet;
  return {
    experiment: c.experiment.id,
    owner: c.experiment.owner,
    priority: c.experiment.priority,
    weight: c.experiment.weight,
    pools: c.plan.on,
    barred,
    packages: packagesOf(c.plan),
    segment: c.segment,
    take: c.take,
    need: c.planSet.resources.capacity,
    timeLimitMs: c.planSet.resources.timeLimitMs,
    taskMs: c.taskMs,
    ...(room === undefined ? {} : { room }),
    remaining: sizeOf(c.take) + Math.max(0, set.count - (set.next + (c.unborn ? 1 : 0)) * SEGMENT_TASKS),
  };
}
