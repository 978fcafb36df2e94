/**
 * One scheduling pass: read demand and supply, plan purely, assign by conditional transactions, and go on while that
 * makes progress. Several passes at once are normal: each conditional write decides alone (T1, T5, T6, W1, W2).
 */
import type { Experiment, Gate, TaskSet } from "#domain/experiment.ts";
import type { ExperimentId, GatewayId, UserId } from "#domain/id.ts";
import { isEmptySet, minus, sizeOf, union } from "#domain/index-set.ts";
import { type Lease, leaseName } from "#domain/lease.ts";
import type { PlanSet } from "#domain/plan.ts";
import type { Segment } from "#domain/segment.ts";
import type { Worker } from "#domain/worker.ts";
import type { Clock } from "#ports/clock.ts";
import type { Logger } from "#ports/logger.ts";
import type { Random } from "#ports/random.ts";
import type { SegmentWrite, TaskStore } from "#ports/task-store.ts";
import type { WorkerStore } from "#ports/worker-store.ts";
import { barredPools, type PoolAccess } from "./access.ts";
import type { Control } from "./control.ts";
import { type Candidate, candidatesOf, demandOf, type Hint, inBirthOrder, type Measured } from "./demand.ts";
import { isBarrierDoomed, isSetClosed } from "./eligibility.ts";
import { sealSegment } from "./fold.ts";
import {
  EXPERIMENTS_PER_PASS,
  HINT_DELAY_MS_MAX,
  LEASES_PER_ASSIGN,
  REPEAT_HINT_MS,
  RUNNING_FRESH_MS,
  ROUNDS_PER_PASS,
  SEGMENTS_PER_ROUND,
  SUPPLY_FRESH_MS,
  UNSAVED_MS,
} from "./limits.ts";
import { createTurnstiles, handoutRoom, type Turnstiles } from "./limited.ts";
import { type Demand, type Hold, type PlannedLease, place, type Refusal, type Room } from "./placement.ts";
import type { Plans } from "./plans.ts";
import { createRebalance } from "./rebalance.ts";
import { noteAssigned, readSupply, type Supply } from "./supply.ts";
import type { Spending } from "./spending.ts";

export interface PassReport {
  readonly leases: number;
  readonly tasks: number;
  readonly refusals: number;
  readonly skipped: number;
  readonly completed: number;
  /** Why demand was left at the end. */
  readonly waiting: ReadonlyMap<ExperimentId, Refusal | Hold>;
}

export interface PassDeps {
  readonly store: TaskStore;
  readonly workers: WorkerStore;
  readonly plans: Plans;
  readonly control: Control;
  readonly spending: Spending;
  readonly measured: Measured;
  readonly access: PoolAccess;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Tells the worker's gateway of a lease, or to ask for up to `recall` of its tasks that have not started: a hint. */
  readonly dispatch: (lease: Lease, gateway: GatewayId | undefined, recall?: number) => Promise<void>;
  /** Sends a hint to the schedule queue. */
  readonly hint: (hint: Hint, delayMs: number) => Promise<void>;
}

interface Tally {
  leases: number;
  tasks: number;
  refusals: number;
  skipped: number;
  completed: number;
  waiting: Map<ExperimentId, Refusal | Hold>;
  wakes: Map<ExperimentId, number>;
  /** Who has room, as read at some time of this pass and changed by what it gave out since. */
  supply: Supply | undefined;
  /** Those that the last round looked at. */
  running: readonly Experiment[];
}

/**
 * When more are running than a pass looks at, each pass starts elsewhere: at one that the last pass saw, chosen by chance.
 * Otherwise the list holds for a moment: an experiment that is new or changed since has a hint of its own, and gates decide.
 */
function createRunning({ store, random, clock }: PassDeps): { next(): Promise<readonly Experiment[]> } {
  let from: ExperimentId | undefined;
  let all: { readonly found: readonly Experiment[]; readonly atMs: number } | undefined;
  return {
    async next() {
      const atMs = clock.now();
      if (all !== undefined && atMs >= all.atMs && atMs - all.atMs < RUNNING_FRESH_MS) return all.found;
      const found = await store.liveExperiments(EXPERIMENTS_PER_PASS, { status: "RUNNING", ...(from === undefined ? {} : { from }) });
      from = found.length < EXPERIMENTS_PER_PASS ? undefined : found[Math.floor(random.next() * found.length)]?.id;
      all = from === undefined ? { found, atMs } : undefined;
      return found;
    },
  };
}

type Deps = PassDeps & { readonly running: ReturnType<typeof createRunning> };

export function createPass(given: PassDeps): (hints: readonly Hint[]) => Promise<PassReport> {
  const deps: Deps = { ...given, running: createRunning(given) };
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
  const rooms = new Map<ExperimentId, Room>();
  let progress = false;
  for (const e of experiments) {
    const seen = await lookAt(deps, e, hints, tally);
    progress = seen.progress || progress;
    candidates.push(...seen.candidates);
    if (seen.room !== undefined) rooms.set(e.id, seen.room);
  }
  const open = candidates.filter((c) => !isEmptySet(c.take));
  if (open.length === 0) return progress;
  const isFresh = tally.supply !== undefined && deps.clock.now() - tally.supply.readAtMs < SUPPLY_FRESH_MS;
  if (!isFresh) tally.supply = await (early ?? readSupply(deps));
  const { workers: supply, usage } = tally.supply as Supply;
  const demands = await demandsOf(deps, open, supply, rooms);
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

async function demandsOf(deps: PassDeps, open: readonly Candidate[], supply: readonly Worker[], rooms: ReadonlyMap<ExperimentId, Room>) {
  const pools = supply.map((w) => w.pool);
  const barred = new Map<UserId, ReadonlySet<string>>();
  for (const { experiment: e } of open) if (!barred.has(e.owner)) barred.set(e.owner, await barredPools(deps.access, e.owner, pools));
  return open.map((candidate) => ({
    candidate,
    demand: demandOf(candidate, barred.get(candidate.experiment.owner) as ReadonlySet<string>, rooms.get(candidate.experiment.id)),
  }));
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
  const turnstiles = createTurnstiles();
  let given = false;
  let refused: ExperimentId | undefined;
  for (const { candidate, demand } of demands) {
    const set = candidate.sets[candidate.segment.key.set] as TaskSet;
    if (candidate.unborn && unborn.has(set)) continue;
    const leases = groups.get(demand);
    const done = leases !== undefined && (await assign(deps, candidate, leases.slice(0, LEASES_PER_ASSIGN), { tally, turnstiles }));
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

async function lookAt(
  deps: Deps,
  e: Experiment,
  hints: readonly Hint[],
  tally: Tally,
): Promise<{ candidates: readonly Candidate[]; progress: boolean; room?: Room }> {
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
  const found = await candidatesOf(deps, { experiment: e, plan, sets, gateOf, open: await opened }, hints);
  for (const c of inBirthOrder(found, sets)) {
    if (c.wakeAtMs !== undefined) tally.wakes.set(e.id, Math.min(c.wakeAtMs, tally.wakes.get(e.id) ?? Number.POSITIVE_INFINITY));
    if (!isEmptySet(c.skip)) progress = (await skip(deps, c, tally)) || progress;
    else candidates.push(c);
  }
  const room = await handoutRoom(deps, { e, plan, sets });
  // What was given out lately may have cost less than we think.
  if (room?.tasks === 0 && room.mayGrow) tally.wakes.set(e.id, deps.clock.now() + UNSAVED_MS);
  if (room?.tasks !== 0) return { candidates, progress, ...(room === undefined ? {} : { room }) };
  if (candidates.some((c) => !isEmptySet(c.take))) tally.waiting.set(e.id, room.by);
  return { candidates: [], progress };
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
async function assign(
  deps: Deps,
  c: Candidate,
  planned: readonly PlannedLease[],
  { tally, turnstiles }: { readonly tally: Tally; readonly turnstiles: Turnstiles },
): Promise<boolean> {
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
    ...turnstiles.of(c.experiment),
    segment: segmentWrite(c, { ...c.segment, version: c.segment.version + 1, epoch, leased }),
    leases,
    sessions: planned.map((p) => p.worker.session),
  });
  if (tally.supply !== undefined) noteAssigned(tally.supply, leases, outcome);
  if (outcome.kind !== "done") {
    tally.refusals++;
    return false;
  }
  turnstiles.passed(c.experiment);
  tally.leases += leases.length;
  deps.spending.gave(c.experiment.id, leases.length);
  tally.tasks += planned.reduce((n, p) => n + sizeOf(p.tasks), 0);
  deps.logger.debug("leases assigned", { leases: leases.length, first: leaseName((leases[0] as Lease).key) });
  await Promise.all(leases.map((lease, i) => deps.dispatch(lease, planned[i]?.worker.gateway)));
  return true;
}
