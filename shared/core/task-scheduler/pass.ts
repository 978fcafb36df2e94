/**
 * One scheduling pass: read demand and supply, plan purely, assign by conditional transactions, and go on while that
 * makes progress. Several passes at once are normal: each conditional write decides alone (T1, T5, T6, W1, W2).
 */
import { edgesOf } from "#domain/edges.ts";
import type { Experiment, Gate, TaskSet } from "#domain/experiment.ts";
import type { ExperimentId, GatewayId, UserId } from "#domain/id.ts";
import { emptySet, firstOf, isEmptySet, type IndexSet, minus, SEGMENT_TASKS, sizeOf, union } from "#domain/index-set.ts";
import { type Lease, leaseName } from "#domain/lease.ts";
import { packagesOf, type Plan, type PlanSet } from "#domain/plan.ts";
import { type Segment, type SegmentKey, segmentName } from "#domain/segment.ts";
import type { Clock } from "#ports/clock.ts";
import type { Logger } from "#ports/logger.ts";
import type { Random } from "#ports/random.ts";
import type { SegmentWrite, TaskStore } from "#ports/task-store.ts";
import type { WorkerStore } from "#ports/worker-store.ts";
import type { Control } from "./control.ts";
import { childPlaces, isBarrierDoomed, isSetClosed, parentPlaces, readiness, workable } from "./eligibility.ts";
import { newSegment, sealSegment } from "./fold.ts";
import {
  BIRTHS_PER_ROUND,
  EXPERIMENTS_PER_PASS,
  HINT_DELAY_MS_MAX,
  LEASES_PER_ASSIGN,
  MEASURED_SETS_KEPT,
  REPEAT_HINT_MS,
  ROUNDS_PER_PASS,
  SEGMENTS_PER_ROUND,
  SUPPLY_FRESH_MS,
  UNSAVED_MS,
} from "./limits.ts";
import { type Demand, type PlannedLease, place, type Refusal } from "./placement.ts";
import type { Plans } from "./plans.ts";
import { createRebalance } from "./rebalance.ts";
import { noteAssigned, readSupply, type Supply } from "./supply.ts";
import type { Allowance, Spending } from "./spending.ts";

/** Something changed: look here first. All parts are hints. */
export interface Hint {
  readonly experiment?: ExperimentId;
  readonly set?: number;
  readonly segment?: number;
}

export interface PassReport {
  readonly leases: number;
  readonly tasks: number;
  readonly refusals: number;
  readonly skipped: number;
  readonly completed: number;
  /** Why demand was left at the end. */
  readonly waiting: ReadonlyMap<ExperimentId, Refusal | "budget">;
}

export interface PassDeps {
  readonly store: TaskStore;
  readonly workers: WorkerStore;
  readonly plans: Plans;
  readonly control: Control;
  readonly spending: Spending;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Tells the worker's gateway of a lease, or to ask for up to `recall` of its tasks that have not started: a hint. */
  readonly dispatch: (lease: Lease, gateway: GatewayId | undefined, recall?: number) => Promise<void>;
  /** Sends a hint to the schedule queue. */
  readonly hint: (hint: Hint, delayMs: number) => Promise<void>;
}

/** One segment looked at under a gate. */
interface Candidate {
  readonly experiment: Experiment;
  readonly gate: Gate;
  readonly sets: readonly TaskSet[];
  readonly planSet: PlanSet;
  readonly segment: Segment;
  readonly unborn: boolean;
  readonly plan: Plan;
  readonly take: IndexSet;
  readonly skip: IndexSet;
  readonly wakeAtMs: number | undefined;
  /** Mean run time of its tasks or, while there is none, of those of another segment of its set. */
  readonly taskMs: number | undefined;
}

interface Tally {
  leases: number;
  tasks: number;
  refusals: number;
  skipped: number;
  completed: number;
  waiting: Map<ExperimentId, Refusal | "budget">;
  wakes: Map<ExperimentId, number>;
  /** Who has room, as read at some time of this pass and changed by what it gave out since. */
  supply: Supply | undefined;
  /** Those that the last round looked at. */
  running: readonly Experiment[];
}

/** What one scheduler remembers between passes: how long tasks of a set took when last seen. A hint for lease sizes alone. */
interface Measured {
  note(segment: Segment): void;
  of(key: SegmentKey): number | undefined;
}

function createMeasured(): Measured {
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

/** When more are running than a pass looks at, each pass starts elsewhere: at one that the last pass saw, chosen by chance. */
function createRunning({ store, random }: PassDeps): { next(): Promise<readonly Experiment[]> } {
  let from: ExperimentId | undefined;
  return {
    async next() {
      const found = await store.liveExperiments(EXPERIMENTS_PER_PASS, { status: "RUNNING", ...(from === undefined ? {} : { from }) });
      from = found.length < EXPERIMENTS_PER_PASS ? undefined : found[Math.floor(random.next() * found.length)]?.id;
      return found;
    },
  };
}

type Deps = PassDeps & { readonly measured: Measured; readonly running: ReturnType<typeof createRunning> };

export function createPass(given: PassDeps): (hints: readonly Hint[]) => Promise<PassReport> {
  const deps: Deps = { ...given, measured: createMeasured(), running: createRunning(given) };
  const rebalance = createRebalance({ ...deps, taskMs: deps.measured.of });
  return async (hints) => {
    const tally: Tally = {
      leases: 0,
      tasks: 0,
      refusals: 0,
      skipped: 0,
      completed: 0,
      waiting: new Map(),
      wakes: new Map(),
      supply: undefined,
      running: [],
    };
    let progress = true;
    for (let round = 0; progress && round < ROUNDS_PER_PASS; round++) progress = await runRound(deps, hints, tally, round === 0);
    // A long chain of skips may need more rounds than one pass has.
    if (progress) for (const hint of hints) await deps.hint(hint, 0);
    const quiet = progress ? [] : tally.running.filter((e) => !tally.waiting.has(e.id));
    const again = await rebalance(quiet);
    if (again !== undefined) for (const e of quiet.slice(0, 1)) tally.wakes.set(e.id, Math.min(again, tally.wakes.get(e.id) ?? again));
    for (const [experiment, atMs] of tally.wakes)
      await deps.hint({ experiment }, Math.min(HINT_DELAY_MS_MAX, Math.max(1, atMs - deps.clock.now())));
    return tally;
  };
}

/** True when something was handed out, skipped or completed: then another round may find more. */
async function runRound(deps: Deps, hints: readonly Hint[], tally: Tally, first: boolean): Promise<boolean> {
  tally.waiting.clear();
  // Somebody who has just submitted waits for this: who has room is asked while we look.
  const early = first && hints.some((h) => h.experiment !== undefined && h.segment === undefined) ? readSupply(deps) : undefined;
  early?.catch(() => undefined); // thrown where it is awaited
  const experiments = await liveExperiments(deps, hints);
  tally.running = experiments;
  const candidates: Candidate[] = [];
  let progress = false;
  for (const e of experiments) {
    const seen = await lookAt(deps, e, hints, tally);
    progress = seen.progress || progress;
    candidates.push(...seen.candidates);
  }
  const demands = candidates.filter((c) => !isEmptySet(c.take)).map((candidate) => ({ candidate, demand: demandOf(candidate) }));
  if (demands.length === 0) return progress;
  const isFresh = tally.supply !== undefined && deps.clock.now() - tally.supply.readAtMs < SUPPLY_FRESH_MS;
  if (!isFresh) tally.supply = await (early ?? readSupply(deps));
  const { workers: supply, usage } = tally.supply as Supply;
  const owners = new Map<ExperimentId, UserId>(experiments.map((e) => [e.id, e.owner]));
  const plan = place(
    demands.map((d) => d.demand),
    supply,
    usage,
    owners,
    deps.clock.now(),
  );
  for (const { demand, reason } of plan.left) tally.waiting.set(demand.experiment, reason);
  const { given, refused } = await assignAll(deps, demands, plan.leases, tally);
  progress = progress || given;
  if (!progress && refused !== undefined) await deps.hint({ experiment: refused }, REPEAT_HINT_MS);
  return progress;
}

/** Segments of a set are born in order: behind one that was not, the others of its set wait for the next round. */
async function assignAll(
  deps: Deps,
  demands: readonly { readonly candidate: Candidate; readonly demand: Demand }[],
  planned: readonly PlannedLease[],
  tally: Tally,
): Promise<{ given: boolean; refused: ExperimentId | undefined }> {
  const groups = new Map<Demand, PlannedLease[]>();
  for (const lease of planned) groups.set(lease.demand, [...(groups.get(lease.demand) ?? []), lease]);
  const unborn = new Set<TaskSet>();
  let given = false;
  let refused: ExperimentId | undefined;
  for (const { candidate, demand } of demands) {
    const set = candidate.sets[candidate.segment.key.set] as TaskSet;
    if (candidate.unborn && unborn.has(set)) continue;
    const leases = groups.get(demand);
    const done = leases !== undefined && (await assign(deps, candidate, leases.slice(0, LEASES_PER_ASSIGN), tally));
    if (done) given = true;
    else if (candidate.unborn) unborn.add(set);
    if (leases !== undefined && !done) refused = candidate.experiment.id;
  }
  return { given, refused };
}

async function liveExperiments(deps: Deps, hints: readonly Hint[]): Promise<Experiment[]> {
  const found = new Map<ExperimentId, Experiment>();
  const hinted = new Set(hints.map((h) => h.experiment).filter((id) => id !== undefined));
  const [named, running] = await Promise.all([Promise.all([...hinted].map((id) => deps.store.readExperiment(id))), deps.running.next()]);
  for (let e of named) {
    // What a user asked for need not wait for the timer.
    if (e !== undefined && e.status !== "RUNNING") {
      await deps.control.carryOn(e);
      e = await deps.store.readExperiment(e.id);
    }
    if (e !== undefined) found.set(e.id, e);
  }
  for (const e of running) if (!hinted.has(e.id)) found.set(e.id, e);
  return [...found.values()].filter((e) => e.status === "RUNNING").slice(0, EXPERIMENTS_PER_PASS);
}

/** Segments worth a look: those a hint names and their children, those in the open index, and the next unborn ones of each set, in order. */
function candidateKeys(
  deps: PassDeps,
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

async function lookAt(
  deps: Deps,
  e: Experiment,
  hints: readonly Hint[],
  tally: Tally,
): Promise<{ candidates: Candidate[]; progress: boolean }> {
  const planned = deps.plans.of(e.id, e);
  // A hint (G5): it need not wait for the gates.
  const opened = deps.store.openSegments(e.id, SEGMENTS_PER_ROUND * 4);
  for (const early of [planned, opened]) early.catch(() => undefined); // thrown where they are awaited
  const gates = new Map<number, Gate>();
  const gateOf = async (segment: number): Promise<Gate | undefined> => {
    const shard = segment % e.gates;
    const gate = gates.get(shard) ?? (await deps.store.readGate(e.id, shard));
    if (gate !== undefined) gates.set(shard, gate);
    return gate?.status === "RUNNING" ? gate : undefined;
  };
  // Unstable facts (failed, skipped, closed) are read strongly and after the gate that fences what follows from them.
  const open = await Promise.all(Array.from({ length: e.gates }, (_, shard) => gateOf(shard)));
  if (open.some((gate) => gate === undefined)) return { candidates: [], progress: false };
  const sets = await deps.store.readSets(e.id);
  const { plan } = await planned;
  if (sets.every(isSetClosed)) {
    const done = await deps.control.completeIfDone(e.id);
    if (done) tally.completed++;
    return { candidates: [], progress: done };
  }
  let progress = await skipBarriers(deps, e, plan.sets, sets, gates, tally);
  const candidates: Candidate[] = [];
  const next = sets.map((s) => s.next);
  const read = readOnce(deps.store);
  const keys = candidateKeys(deps, { e, sets, plan, hints, open: await opened });
  const looks = keys.map(async (key) => {
    const gate = await gateOf(key.segment);
    if (gate === undefined) return undefined;
    return examine(deps, { experiment: e, gate, sets, planSet: plan.sets[key.set] as PlanSet, plan }, key, read);
  });
  for (const found of await Promise.all(looks)) {
    if (found === undefined) continue;
    const { set, segment } = found.segment.key;
    // Born in order: behind one that can't be born now, no other can.
    if (found.unborn && segment !== next[set]) continue;
    if (found.wakeAtMs !== undefined) tally.wakes.set(e.id, Math.min(found.wakeAtMs, tally.wakes.get(e.id) ?? Number.POSITIVE_INFINITY));
    if (!isEmptySet(found.skip)) progress = (await skip(deps, found, tally)) || progress;
    else candidates.push(found);
    if (found.unborn && isEmptySet(found.skip) && !isEmptySet(found.take)) next[set] = segment + 1;
  }
  const allowance = await deps.spending.allowance(e, plan, sets);
  return { candidates: withinBudget(deps, { e, allowance }, candidates, tally), progress };
}

/** What a budget has no room for is not handed out. */
function withinBudget(
  deps: Deps,
  { e, allowance }: { readonly e: Experiment; readonly allowance: Allowance | undefined },
  candidates: Candidate[],
  tally: Tally,
): Candidate[] {
  if (allowance === undefined) return candidates;
  let room = allowance.tasks;
  // What was given out lately may have cost less than we think.
  if (room === 0 && !allowance.usedUp) tally.wakes.set(e.id, deps.clock.now() + UNSAVED_MS);
  return candidates.map((c) => {
    const take = room === 0 ? emptySet() : firstOf(c.take, room);
    if (sizeOf(take) < sizeOf(c.take)) tally.waiting.set(e.id, "budget");
    room -= sizeOf(take);
    return { ...c, take };
  });
}

async function skipBarriers(
  deps: PassDeps,
  e: Experiment,
  planSets: readonly PlanSet[],
  sets: readonly TaskSet[],
  gates: ReadonlyMap<number, Gate>,
  tally: Tally,
): Promise<boolean> {
  let progress = false;
  for (const s of sets) {
    if (s.skipAll || s.next > 0 || !isBarrierDoomed(planSets[s.ordinal] as PlanSet, sets)) continue;
    const gate = gates.get(0) as Gate;
    const outcome = await deps.store.skipSet(
      { experiment: e.id, shard: 0, generation: gate.generation },
      { experiment: e.id, ordinal: s.ordinal },
    );
    if (outcome.kind === "done") {
      tally.skipped += s.count;
      progress = true;
    }
  }
  return progress;
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

async function examine(
  deps: Deps,
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

function demandOf(c: Candidate): Demand {
  const set = c.sets[c.segment.key.set] as TaskSet;
  return {
    experiment: c.experiment.id,
    owner: c.experiment.owner,
    priority: c.experiment.priority,
    weight: c.experiment.weight,
    pools: c.plan.on,
    packages: packagesOf(c.plan),
    segment: c.segment,
    take: c.take,
    need: c.planSet.resources.capacity,
    timeLimitMs: c.planSet.resources.timeLimitMs,
    taskMs: c.taskMs,
    remaining: sizeOf(c.take) + Math.max(0, set.count - (set.next + (c.unborn ? 1 : 0)) * SEGMENT_TASKS),
  };
}

const segmentWrite = (c: Candidate, post: Segment): SegmentWrite => ({
  post,
  expect: c.unborn ? "unborn" : { version: c.segment.version },
  setCount: c.planSet.count,
});

async function skip(deps: PassDeps, c: Candidate, tally: Tally): Promise<boolean> {
  const changed = { ...c.segment, skipped: union(c.segment.skipped, c.skip) };
  const { post, sums } = sealSegment(c.segment, changed, c.planSet.count);
  const outcome = await deps.store.skip({
    gate: { experiment: c.experiment.id, shard: c.gate.shard, generation: c.gate.generation },
    segment: segmentWrite(c, post),
    ...(sums === undefined ? {} : { sums }),
  });
  if (outcome.kind === "done") tally.skipped += sizeOf(c.skip);
  else tally.refusals++;
  return outcome.kind === "done";
}

/** T1: epoch and leased move together under the segment's version; a lease of an unknown outcome is found by its worker's reconcile. */
async function assign(deps: Deps, c: Candidate, planned: readonly PlannedLease[], tally: Tally): Promise<boolean> {
  let epoch = c.segment.epoch;
  let leased = c.segment.leased;
  const leases: Lease[] = [];
  for (const p of planned) {
    epoch++;
    leased = union(leased, p.tasks);
    leases.push({
      key: { ...c.segment.key, epoch },
      worker: p.worker.key,
      nonce: Buffer.from(deps.random.bytes(8)).toString("hex"),
      state: "OPEN",
      rev: 0,
      hold: p.tasks,
      done: minus(p.tasks, p.tasks),
      failed: minus(p.tasks, p.tasks),
      causes: new Map(),
      refs: [],
      reserved: p.reserved,
      runMs: 0,
      failedMs: 0,
      assignedAtMs: deps.clock.now(),
    });
  }
  const outcome = await deps.store.assign({
    gate: { experiment: c.experiment.id, shard: c.gate.shard, generation: c.gate.generation },
    segment: segmentWrite(c, { ...c.segment, version: c.segment.version + 1, epoch, leased }),
    leases,
    sessions: planned.map((p) => p.worker.session),
  });
  if (tally.supply !== undefined) noteAssigned(tally.supply, leases, outcome);
  if (outcome.kind !== "done") {
    tally.refusals++;
    return false;
  }
  tally.leases += leases.length;
  deps.spending.gave(c.experiment.id, leases.length);
  tally.tasks += planned.reduce((n, p) => n + sizeOf(p.tasks), 0);
  deps.logger.debug("leases assigned", { leases: leases.length, first: leaseName((leases[0] as Lease).key) });
  await Promise.all(leases.map((lease, i) => deps.dispatch(lease, planned[i]?.worker.gateway)));
  return true;
}
