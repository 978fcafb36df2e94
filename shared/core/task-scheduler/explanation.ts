/**
 * Reads what an explanation needs, and asks explain.ts. Reads only, and a bounded number of them: what lies beyond is
 * counted from the sets and told as not exact.
 */
import type { Cause, ParentProgress } from "#domain/cause.ts";
import { edgesOf } from "#domain/edges.ts";
import { SchedulerError } from "#domain/error.ts";
import { type Experiment, type Gate, isTerminal, type TaskSet } from "#domain/experiment.ts";
import { parentIndex } from "#domain/expansion.ts";
import type { ExperimentId } from "#domain/id.ts";
import { hasIndex, type IndexSet, intersect, isEmptySet, minus, SEGMENT_TASKS, setOf, sizeOf } from "#domain/index-set.ts";
import { parseLeaseName } from "#domain/lease.ts";
import type { Plan, PlanSet } from "#domain/plan.ts";
import { locate, pendingOf, type Segment, type SegmentKey, segmentName } from "#domain/segment.ts";
import { hasRoom, type Worker } from "#domain/worker.ts";
import type { Space } from "#ports/space.ts";
import { candidatesOf, type DemandDeps, demandOf, examine, inBirthOrder } from "./demand.ts";
import { isSetClosed } from "./eligibility.ts";
import { barredPools } from "./access.ts";
import { barredOf, type ExplainFacts, explainWaiting, type HeldLease, type Look } from "./explain.ts";
import {
  BIRTHS_PER_ROUND,
  EXPERIMENTS_PER_PASS,
  EXPLAIN_AHEAD,
  EXPLAIN_LEASES,
  EXPLAIN_LOOKS,
  EXPLAIN_PARENTS,
  EXPLAIN_SEGMENTS,
  EXPLAIN_WORKERS,
  SEGMENTS_PER_ROUND,
} from "./limits.ts";
import { handoutRoom, roomOf } from "./limited.ts";
import type { PassDeps } from "./pass.ts";
import { readUsage } from "./supply.ts";
import { aheadOf, type Demand, unfit } from "./placement.ts";

export interface Explanation {
  readonly experiment: Experiment;
  /** Tasks asked about that no worker has. */
  readonly waiting: number;
  /** Tasks asked about that a worker has. */
  readonly running: number;
  /** The top cause first. Empty: nothing waits and nothing is slow. */
  readonly causes: readonly Cause[];
  /** Of a task that waits for others: what those wait for, and those before them. */
  readonly upstream: readonly Cause[];
}

export type ExplainDeps = DemandDeps &
  Pick<PassDeps, "workers" | "plans" | "access" | "spending"> & {
    /** Of the disk that everything is kept on: while there is one, nothing is handed out. */
    readonly shortage?: Space["shortage"];
  };

export interface TaskName {
  readonly set: string;
  readonly number: number;
}

/** All born segments of an experiment, up to {@link EXPLAIN_SEGMENTS}. */
interface Survey {
  readonly experiment: Experiment;
  readonly plan: Plan;
  readonly sets: readonly TaskSet[];
  readonly segments: ReadonlyMap<string, Segment>;
  /** Set -> born segments that were read. */
  readonly seen: readonly number[];
}

export function createExplain(deps: ExplainDeps): (id: ExperimentId, task?: TaskName) => Promise<Explanation> {
  return async (id, task) => {
    const experiment = await deps.store.readExperiment(id);
    if (experiment === undefined) throw new SchedulerError("not-found", `there is no experiment ${id}`);
    const { plan } = await deps.plans.of(id);
    const at = task === undefined ? undefined : placeOf(plan, task);
    const survey = await readSurvey(deps, experiment, plan);
    const none: Explanation = { experiment, waiting: 0, running: 0, causes: [], upstream: [] };
    if (isTerminal(experiment.status)) return none;
    const { looks, unseen } = await lookAtAll(deps, survey);
    const facts = await readFacts(deps, survey, { looks, unseen });
    const all = await explained(deps, facts);
    if (at === undefined) return { ...none, causes: all, waiting: waitingIn(facts), running: leasedIn(survey) };
    const own = ofTask(survey, facts, at);
    const causes = await explained(deps, own);
    const before = causes.some((c) => c.why.kind === "dependency") ? ancestorsOf(plan, at.set) : new Set<string>();
    const upstream = all.filter((c) => c.set !== undefined && before.has(c.set) && c.why.kind !== "dependency");
    return { ...none, causes, upstream, waiting: waitingIn(own), running: own.held.reduce((n, h) => n + sizeOf(h.of), 0) };
  };
}

const waitingIn = ({ looks, unseen }: Pick<ExplainFacts, "looks" | "unseen">): number =>
  looks.reduce((n, l) => n + sizeOf(l.of), 0) + [...unseen.values()].reduce((a, b) => a + b, 0);

const leasedIn = ({ segments }: Survey): number => [...segments.values()].reduce((n, s) => n + sizeOf(s.leased), 0);

interface TaskAt {
  readonly set: number;
  readonly number: number;
}

function placeOf(plan: Plan, { set, number }: TaskName): TaskAt {
  const ordinal = plan.sets.findIndex((s) => s.name === set);
  if (number >= (plan.sets[ordinal]?.count ?? 0)) throw new SchedulerError("not-found", `there is no task ${set}/${number}`);
  return { set: ordinal, number };
}

const SEGMENT_PAGE = 100;

async function readSurvey(deps: ExplainDeps, experiment: Experiment, plan: Plan): Promise<Survey> {
  const sets = await deps.store.readSets(experiment.id);
  const segments = new Map<string, Segment>();
  const seen = sets.map(() => 0);
  for (const t of sets) {
    const to = Math.min(t.next, EXPLAIN_SEGMENTS - segments.size);
    for (let from = 0; !isSetClosed(t) && from < to; from += SEGMENT_PAGE) {
      const page = await deps.store.readSegments(t.experiment, t.ordinal, from, Math.min(SEGMENT_PAGE, to - from));
      for (const s of page) segments.set(segmentName(s.key), s);
      seen[t.ordinal] = Math.min(to, from + SEGMENT_PAGE);
    }
  }
  return { experiment, plan, sets, segments, seen };
}

/** As a pass looks, at every segment with something pending, whatever the experiment's state. */
async function lookAtAll(deps: ExplainDeps, survey: Survey): Promise<Pick<ExplainFacts, "looks" | "unseen">> {
  const { experiment, plan, sets, segments, seen } = survey;
  const gate: Gate = { experiment: experiment.id, shard: 0, status: experiment.status, generation: experiment.generation };
  const read = async (key: SegmentKey) => segments.get(segmentName(key)) ?? deps.store.readSegment(key);
  const keys: SegmentKey[] = [];
  const unseen = new Map<number, number>();
  for (const t of sets) {
    if (isSetClosed(t)) continue;
    const planSet = plan.sets[t.ordinal] as PlanSet;
    const born = [...segments.values()].filter((s) => s.key.set === t.ordinal && !s.closed && !isEmptySet(pendingOf(s, planSet.count)));
    const end = Math.min(t.segments, t.next + BIRTHS_PER_ROUND);
    const unborn = Array.from({ length: end - t.next }, (_, i) => ({ experiment: t.experiment, set: t.ordinal, segment: t.next + i }));
    const wanted = [...born.map((s) => s.key), ...unborn];
    const taken = wanted.slice(0, Math.max(0, EXPLAIN_LOOKS - keys.length));
    keys.push(...taken);
    const left = new Set(taken);
    const missed = born.filter((b) => !left.has(b.key)).reduce((n, b) => n + sizeOf(pendingOf(b, planSet.count)), 0);
    const counted = taken.filter((k) => k.segment >= t.next).length;
    const rest = missed + Math.max(0, planSet.count - (t.next + counted) * SEGMENT_TASKS);
    if (rest > 0 || (seen[t.ordinal] as number) < t.next) unseen.set(t.ordinal, rest);
  }
  const found = await Promise.all(
    keys.map((key) => examine(deps, { experiment, gate, sets, planSet: plan.sets[key.set] as PlanSet, plan }, key, read)),
  );
  // Measured times are noted while segments are looked at: those that came first may have missed them.
  const candidates = found.filter((c) => c !== undefined).map((c) => ({ ...c, taskMs: c.taskMs ?? deps.measured.of(c.segment.key) }));
  const inOrder = new Set(inBirthOrder(candidates, sets));
  const looks = candidates.map((candidate): Look => {
    const of = pendingOf(candidate.segment, candidate.planSet.count);
    return { candidate, of, inOrder: inOrder.has(candidate) };
  });
  return { looks, unseen };
}

async function readFacts(
  deps: ExplainDeps,
  survey: Survey,
  { looks, unseen }: Pick<ExplainFacts, "looks" | "unseen">,
): Promise<ExplainFacts> {
  const { experiment, plan } = survey;
  const [workers, gateways, usage, live] = await Promise.all([
    deps.workers.liveWorkers(EXPLAIN_WORKERS),
    deps.workers.gateways(),
    readUsage(deps),
    deps.store.liveExperiments(EXPERIMENTS_PER_PASS, { status: "RUNNING" }),
  ]);
  const names = new Set([...plan.on, ...workers.map((w) => w.pool)]);
  const access = await Promise.all([...names].map(async (name) => [name, await deps.access(experiment.owner, name)] as const));
  return {
    ...{ nowMs: deps.clock.now(), experiment, plan, looks, unseen, workers, usage },
    room: await roomOf(deps.store, experiment, survey.sets),
    shortage: deps.shortage?.(),
    allowance: await deps.spending.allowance(experiment, plan, survey.sets),
    held: await readHeld(deps, experiment.id, workers),
    parents: (set) => setParents(survey, set),
    access: new Map(access),
    gateways: new Map(gateways.map((g) => [g.id, g.beatAtMs])),
    others: live
      .filter((e) => e.id !== experiment.id)
      .map(({ id, owner, priority, weight }) => ({ experiment: id, owner, priority, weight })),
    ahead: [],
  };
}

async function readHeld(deps: ExplainDeps, id: ExperimentId, workers: readonly Worker[]): Promise<HeldLease[]> {
  const names = workers.flatMap((worker) => [...worker.leases].map((name) => ({ worker, key: parseLeaseName(name) })));
  const mine = names.filter((x) => x.key?.experiment === id).slice(0, EXPLAIN_LEASES);
  const held = mine.map(async ({ worker, key }): Promise<HeldLease | undefined> => {
    const lease = key === undefined ? undefined : await deps.store.readLease(key);
    if (lease?.state !== "OPEN") return undefined;
    return { lease, worker, of: minus(lease.hold, lease.done, lease.failed), taskMs: deps.measured.of(lease.key) };
  });
  return (await Promise.all(held)).filter((h) => h !== undefined && !isEmptySet(h.of)) as HeldLease[];
}

/** Causes; who is ahead is looked up only where all room is taken. */
async function explained(deps: ExplainDeps, facts: ExplainFacts): Promise<Cause[]> {
  const causes = explainWaiting(facts);
  if (!causes.some((c) => c.why.kind === "room-taken")) return causes;
  const ahead = await readAhead(deps, facts);
  return ahead.length === 0 ? causes : explainWaiting({ ...facts, ahead });
}

/**
 * Others who come first in fair share and have tasks that could run where these wait. Nobody, when one of the workers that
 * fit would be these tasks' as soon as it has room.
 */
async function readAhead(deps: ExplainDeps, facts: ExplainFacts): Promise<ExplainFacts["ahead"]> {
  const { experiment: e, workers, usage, others, nowMs } = facts;
  const me = { experiment: e.id, owner: e.owner, priority: e.priority, weight: e.weight };
  const ready = workers.filter((w) => w.state === "READY");
  const mine = facts.looks.filter((l) => l.inOrder && !isEmptySet(l.candidate.take)).map((l) => demandOf(l.candidate, barredOf(facts)));
  const wanted = ready.filter((w) => mine.some((demand) => unfit(demand, w, nowMs) === undefined));
  // A pass weighs what everybody has against the workers that have room: this one, once it has, and those that have some now.
  const firstAt = new Map(wanted.map((w) => [w, aheadOf(me, others, [...ready.filter((x) => x !== w && hasRoom(x)), w], usage)]));
  const first = [...new Set([...firstAt.values()].flat())].slice(0, EXPLAIN_AHEAD);
  const demands = new Map(await Promise.all(first.map(async (o) => [o, await demandsOf(deps, o.experiment, wanted)] as const)));
  const takers = wanted.map((w) =>
    (firstAt.get(w) ?? []).filter((o) => demands.get(o)?.some((demand) => unfit(demand, w, nowMs) === undefined)),
  );
  return takers.some((some) => some.length === 0) ? [] : [...new Set(takers.flat())];
}

/** What an experiment could hand out now. */
async function demandsOf(deps: ExplainDeps, id: ExperimentId, workers: readonly Worker[]): Promise<Demand[]> {
  const experiment = await deps.store.readExperiment(id);
  if (experiment?.status !== "RUNNING") return [];
  const [{ plan }, sets] = await Promise.all([deps.plans.of(id), deps.store.readSets(id)]);
  if ((await handoutRoom(deps, { e: experiment, plan, sets }))?.tasks === 0) return [];
  const pools = workers.map((w) => w.pool);
  const barred = await barredPools(deps.access, experiment.owner, pools);
  const gate: Gate = { experiment: id, shard: 0, status: "RUNNING", generation: experiment.generation };
  const open = await deps.store.openSegments(id, SEGMENTS_PER_ROUND * 4);
  const found = await candidatesOf(deps, { experiment, plan, sets, gateOf: async () => gate, open }, []);
  return inBirthOrder(found, sets).flatMap((c) => (isEmptySet(c.take) ? [] : [demandOf(c, barred)]));
}

/** The same facts about one task alone. */
function ofTask(survey: Survey, facts: ExplainFacts, { set, number }: TaskAt): ExplainFacts {
  const { segment, index } = locate(number);
  const only = setOf([index]);
  const here = (key: SegmentKey) => key.set === set && key.segment === segment;
  const pick = (all: IndexSet) => intersect(all, only);
  const looks = facts.looks.filter((l) => here(l.candidate.segment.key)).map((l) => ({ ...l, of: pick(l.of) }));
  const held = facts.held.filter((h) => here(h.lease.key)).map((h) => ({ ...h, of: pick(h.of) }));
  const known = looks.length > 0 || survey.segments.has(segmentName({ experiment: facts.experiment.id, set, segment }));
  return {
    ...facts,
    looks: looks.filter((l) => !isEmptySet(l.of)),
    held: held.filter((h) => !isEmptySet(h.of)),
    // A segment that was not looked at: its tasks wait like those of its set that were.
    unseen: known ? new Map() : new Map([[set, 1]]),
    parents: () => taskParents(survey, { set, number }),
  };
}

const nameOf = (plan: Plan, set: number): string => plan.sets[set]?.name ?? "";

/** Sets that tasks of this one wait for, directly. */
function parentSets(plan: Plan, set: number): number[] {
  const { foreach, after, count } = plan.sets[set] as PlanSet;
  const edges = edgesOf(plan);
  const found = new Set([...foreach, ...after]);
  const segments = edges === undefined ? 0 : Math.ceil(count / SEGMENT_TASKS);
  for (let segment = 0; segment < segments; segment++) for (const p of edges?.into({ set, segment })?.parents ?? []) found.add(p.set);
  return [...found];
}

function ancestorsOf(plan: Plan, set: number): Set<string> {
  const found = new Set<number>();
  const waiting = [set];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop())
    for (const p of parentSets(plan, next)) if (!found.has(p)) waiting.push(...(found.add(p) && [p]));
  return new Set([...found].map((p) => nameOf(plan, p)));
}

function setParents(survey: Survey, set: number): ParentProgress[] {
  const { plan, sets } = survey;
  return parentSets(plan, set)
    .map((p) => ({ name: nameOf(plan, p), done: doneIn(survey, p), count: (sets[p] as TaskSet).count }))
    .filter((p) => p.done < p.count);
}

/** Of a set whose segments were not all read: those of closed segments alone. */
function doneIn({ sets, segments, seen }: Survey, set: number): number {
  const t = sets[set] as TaskSet;
  if (isSetClosed(t) || (seen[set] as number) < t.next) return t.done;
  return [...segments.values()].filter((s) => s.key.set === set).reduce((n, s) => n + sizeOf(s.done), 0);
}

function taskParents(survey: Survey, { set, number }: TaskAt): ParentProgress[] {
  const { plan, sets, segments, experiment } = survey;
  const planSet = plan.sets[set] as PlanSet;
  const barriers = setParents(survey, set).filter((p) => planSet.after.some((a) => nameOf(plan, a) === p.name));
  const isDone = (p: TaskAt): boolean => {
    const at = locate(p.number);
    const segment = segments.get(segmentName({ experiment: experiment.id, set: p.set, segment: at.segment }));
    const t = sets[p.set] as TaskSet;
    return segment === undefined ? isSetClosed(t) && t.done === t.count : hasIndex(segment.done, at.index);
  };
  const each = planSet.foreach.map((p) => ({ set: p, number: parentIndex(planSet, number) }));
  const edges = (edgesOf(plan)?.parentsOf(set, number) ?? []).map((p) => ({ set: p.set, number: p.task }));
  const open = [...each, ...edges].filter((p) => !isDone(p)).slice(0, EXPLAIN_PARENTS);
  return [...barriers, ...open.map((p) => ({ name: `${nameOf(plan, p.set)}/${p.number}`, done: 0, count: 1 }))];
}
