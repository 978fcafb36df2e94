/**
 * Placement, pure: (demand, supply, usage, now) -> leases to try, and why the rest was left.
 *
 * Fair share: the next lease goes to the user with the least capacity in use, then to that user's experiment of highest
 * priority, then to the one with the least in use for its weight. "In use" is the largest share of any dimension that it
 * holds of the whole supply (dominant resource fairness, Ghodsi et al., NSDI 2011).
 */
import { addCapacity, type Capacity, countFits, minusCapacity, NO_CAPACITY, timesCapacity } from "#domain/capacity.ts";
import type { ExperimentId, UserId } from "#domain/id.ts";
import { type IndexSet, firstOf, isEmptySet, members, minus, setOf, sizeOf } from "#domain/index-set.ts";
import type { Segment } from "#domain/segment.ts";
import { type PackageKind, type Worker, WORKER_LEASES_MAX } from "#domain/worker.ts";
import {
  LEASE_FLOOR_MS,
  LEASE_PROBE_TASKS_PER_SLOT,
  LEASE_TARGET_MS,
  LEASE_TASKS_MAX,
  LEASES_PER_ROUND,
  LOSSES_ALONE,
  PREFETCH_TASK_MS_MAX,
  WALLTIME_MARGIN_MS,
} from "./limits.ts";

/** Tasks of one segment that may be leased now. */
export interface Demand {
  readonly experiment: ExperimentId;
  readonly owner: UserId;
  readonly priority: number;
  readonly weight: number;
  /** Names of allowed pools; empty = any. */
  readonly pools: readonly string[];
  /** Pools that its owner may not use. */
  readonly barred: ReadonlySet<string>;
  readonly segment: Segment;
  readonly take: IndexSet;
  /** Of each task. */
  readonly need: Capacity;
  /** Package environments that its tasks run in. */
  readonly packages: readonly PackageKind[];
  readonly timeLimitMs: number;
  /** The same in all demands of an experiment; absent = no limit. */
  readonly room?: Room;
  /** Measured mean run time; `undefined` = nothing measured. */
  readonly taskMs: number | undefined;
  /** Tasks of the set that are not handed out yet, all segments: what the lease size is a share of. */
  readonly remaining: number;
}

export interface PlannedLease {
  readonly demand: Demand;
  readonly worker: Worker;
  readonly tasks: IndexSet;
  readonly reserved: Capacity;
}

/** What an experiment is held back by that has nothing to do with workers. */
export type Hold = "budget" | "at-limit";

/** Tasks that an experiment may be given in this round, all of its demands together. */
export interface Room {
  readonly tasks: number;
  /** What ends there. */
  readonly by: Hold;
  /** By itself, in a while. */
  readonly mayGrow: boolean;
}

export type Refusal = "no-worker-fits" | "environment-missing" | "ends-too-soon" | "workers-are-full";

export interface Placement {
  readonly leases: readonly PlannedLease[];
  /** Demands left without any lease, with the reason that applied to the worker that came closest. */
  readonly left: readonly { readonly demand: Demand; readonly reason: Refusal | Hold }[];
}

/** Capacity that a demand may use of a worker: prefetch room only for tasks known to be short. */
export function roomFor(worker: Worker, free: Capacity, taskMs: number | undefined): Capacity {
  if (taskMs !== undefined && taskMs < PREFETCH_TASK_MS_MAX) return free;
  return minusCapacity(free, minusCapacity(worker.cap, worker.size));
}

/** Tasks for a lease of `width` slots out of `totalWidth` in the supply (guided self-scheduling, Polychronopoulos & Kuck 1987). */
export function leaseSize(facts: {
  width: number;
  totalWidth: number;
  remaining: number;
  taskMs: number | undefined;
  leftMs: number;
}): number {
  const share = Math.ceil((facts.remaining * facts.width) / (2 * Math.max(facts.totalWidth, facts.width)));
  const wanted =
    facts.taskMs === undefined
      ? facts.width * LEASE_PROBE_TASKS_PER_SLOT
      : Math.ceil((facts.width * LEASE_TARGET_MS) / Math.max(facts.taskMs, 1));
  const floor = facts.taskMs === undefined ? facts.width : Math.ceil((facts.width * LEASE_FLOOR_MS) / Math.max(facts.taskMs, 1));
  const byWalltime = facts.taskMs === undefined ? facts.width : facts.width * Math.floor(facts.leftMs / Math.max(facts.taskMs, 1));
  const limit = Number.isFinite(facts.leftMs) ? byWalltime : LEASE_TASKS_MAX;
  return Math.max(1, Math.min(LEASE_TASKS_MAX, limit, wanted, Math.max(share, Math.min(Math.max(facts.width, floor), facts.remaining))));
}

/** Which tasks go together: never suspects with others (a task lost twice goes alone). */
function choose(demand: Demand, take: IndexSet, n: number): IndexSet {
  const suspects = members(take).filter((i) => (demand.segment.tries.get(i)?.losses ?? 0) > 0);
  const clean = minus(take, setOf(suspects));
  if (!isEmptySet(clean)) return firstOf(clean, n);
  const alone = suspects.find((i) => (demand.segment.tries.get(i)?.losses ?? 0) >= LOSSES_ALONE);
  if (alone !== undefined) return setOf([alone]);
  return firstOf(take, Math.max(1, Math.floor(n / 16)));
}

export const shareOf = (used: Capacity, all: Capacity): number =>
  Math.max(used.cpuMilli / Math.max(1, all.cpuMilli), used.memoryMib / Math.max(1, all.memoryMib), used.gpu / Math.max(1, all.gpu));

interface Desk {
  readonly free: Map<Worker, { capacity: Capacity; leases: number }>;
  readonly byUser: Map<UserId, Capacity>;
  readonly byExperiment: Map<ExperimentId, Capacity>;
  readonly all: Capacity;
}

/** Who stands in line for capacity. */
export type Claimant = Pick<Demand, "experiment" | "owner" | "priority" | "weight">;

function compare(a: Claimant, b: Claimant, desk: Pick<Desk, "byUser" | "byExperiment" | "all">): number {
  const user = (d: Claimant) => shareOf(desk.byUser.get(d.owner) ?? NO_CAPACITY, desk.all);
  const own = (d: Claimant) => shareOf(desk.byExperiment.get(d.experiment) ?? NO_CAPACITY, desk.all) / d.weight;
  if (a.owner !== b.owner) return user(a) - user(b) || (a.owner < b.owner ? -1 : 1);
  return b.priority - a.priority || own(a) - own(b) || (a.experiment < b.experiment ? -1 : a.experiment > b.experiment ? 1 : 0);
}

/** Its tasks may go to the worker's pool. */
export const reaches = ({ pools, barred }: Pick<Demand, "pools" | "barred">, { pool }: Worker): boolean =>
  (pools.length === 0 || pools.includes(pool)) && !barred.has(pool);

const isLargeEnough = (demand: Pick<Demand, "pools" | "barred" | "need">, worker: Worker): boolean =>
  reaches(demand, worker) && countFits(demand.need, worker.size, 1) > 0;

const hasPackages = (demand: Pick<Demand, "packages">, worker: Worker): boolean =>
  demand.packages.every((kind) => worker.packages.includes(kind));

export const mayEverRun = (demand: Pick<Demand, "pools" | "barred" | "need" | "packages">, worker: Worker): boolean =>
  isLargeEnough(demand, worker) && hasPackages(demand, worker);

export const timeLeftMs = (worker: Worker, nowMs: number): number =>
  worker.endsAtMs === undefined ? Number.POSITIVE_INFINITY : worker.endsAtMs - nowMs - WALLTIME_MARGIN_MS;

/** No task is put on a worker that ends before it: unmeasured ones are taken to need all of their limit. */
export const timeNeededMs = (demand: Pick<Demand, "taskMs" | "timeLimitMs">): number =>
  demand.taskMs === undefined ? demand.timeLimitMs : Math.min(demand.timeLimitMs, demand.taskMs * 2);

export const canFinish = (demand: Pick<Demand, "taskMs" | "timeLimitMs">, worker: Worker, nowMs: number): boolean =>
  timeLeftMs(worker, nowMs) >= timeNeededMs(demand);

interface Candidate {
  readonly worker: Worker;
  readonly width: number;
  readonly leftMs: number;
}

/** From the farthest from running to the closest. */
const REFUSALS: readonly Refusal[] = ["no-worker-fits", "environment-missing", "ends-too-soon", "workers-are-full"];

/** Why this worker, whatever its room, can't run a task of the demand. */
export function unfit(
  demand: Pick<Demand, "pools" | "barred" | "need" | "packages" | "taskMs" | "timeLimitMs">,
  worker: Worker,
  nowMs: number,
): Refusal | undefined {
  if (!isLargeEnough(demand, worker)) return "no-worker-fits";
  if (!hasPackages(demand, worker)) return "environment-missing";
  return canFinish(demand, worker, nowMs) ? undefined : "ends-too-soon";
}

function bestWorker(demand: Demand, desk: Desk, used: ReadonlySet<Worker>, nowMs: number): Candidate | Refusal {
  let closest = 0;
  let best: (Candidate & { readonly idle: number }) | undefined;
  for (const [worker, room] of desk.free) {
    const refusal = unfit(demand, worker, nowMs);
    closest = Math.max(closest, REFUSALS.indexOf(refusal ?? "workers-are-full"));
    if (refusal !== undefined || worker.state !== "READY" || room.leases >= WORKER_LEASES_MAX || used.has(worker)) continue;
    const slots = countFits(demand.need, worker.size, LEASE_TASKS_MAX);
    const width = countFits(demand.need, roomFor(worker, room.capacity, demand.taskMs), slots);
    // Cores that idle come before room to wait.
    const idle = countFits(demand.need, roomFor(worker, room.capacity, undefined), slots);
    if (width > 0 && (best === undefined || idle > best.idle || (idle === best.idle && width > best.width)))
      best = { worker, width, idle, leftMs: timeLeftMs(worker, nowMs) };
  }
  return best ?? (REFUSALS[closest] as Refusal);
}

function openDesk(supply: readonly Worker[], usage: ReadonlyMap<ExperimentId, Capacity>, owners: ReadonlyMap<ExperimentId, UserId>): Desk {
  const byUser = new Map<UserId, Capacity>();
  for (const [e, c] of usage) {
    const owner = owners.get(e);
    if (owner !== undefined) byUser.set(owner, addCapacity(byUser.get(owner) ?? NO_CAPACITY, c));
  }
  return {
    free: new Map(supply.map((w) => [w, { capacity: w.free, leases: w.leases.size }])),
    byUser,
    byExperiment: new Map(usage),
    all: supply.reduce((sum, w) => addCapacity(sum, w.size), NO_CAPACITY),
  };
}

/** Where a demand stands when it alone is looked at: the worker that takes its next tasks, or why none does. */
export function standing(demand: Demand, supply: readonly Worker[], nowMs: number): Worker | Refusal {
  const found = bestWorker(demand, openDesk(supply, new Map(), new Map()), new Set(), nowMs);
  return typeof found === "string" ? found : found.worker;
}

/** Those who get room before `me` does, by what everybody has in use. */
export function aheadOf(
  me: Claimant,
  others: readonly Claimant[],
  supply: readonly Worker[],
  usage: ReadonlyMap<ExperimentId, Capacity>,
): Claimant[] {
  const owners = new Map([me, ...others].map((c) => [c.experiment, c.owner]));
  const desk = openDesk(supply, usage, owners);
  return others.filter((other) => compare(other, me, desk) < 0);
}

export function place(
  demands: readonly Demand[],
  supply: readonly Worker[],
  usage: ReadonlyMap<ExperimentId, Capacity>,
  owners: ReadonlyMap<ExperimentId, UserId>,
  nowMs: number,
): Placement {
  const desk = openDesk(supply, usage, owners);
  const leases: PlannedLease[] = [];
  const left: { demand: Demand; reason: Refusal | Hold }[] = [];
  const rooms = new Map(demands.flatMap(({ experiment, room }) => (room === undefined ? [] : [[experiment, room.tasks] as const])));
  const waiting = demands.map((demand) => ({ demand, take: demand.take, used: new Set<Worker>() }));
  while (waiting.length > 0 && leases.length < LEASES_PER_ROUND) {
    waiting.sort((a, b) => compare(a.demand, b.demand, desk));
    const next = waiting[0] as (typeof waiting)[number];
    const limit = rooms.get(next.demand.experiment) ?? Number.POSITIVE_INFINITY;
    const found = limit === 0 ? (next.demand.room as Room).by : bestWorker(next.demand, desk, next.used, nowMs);
    if (typeof found === "string") {
      if (next.used.size === 0) left.push({ demand: next.demand, reason: found });
      waiting.shift();
      continue;
    }
    const lease = shape(next.demand, sizeOf(next.take) > limit ? firstOf(next.take, limit) : next.take, found, supply);
    leases.push(lease);
    if (next.demand.room !== undefined) rooms.set(next.demand.experiment, limit - sizeOf(lease.tasks));
    const room = desk.free.get(found.worker) as { capacity: Capacity; leases: number };
    desk.free.set(found.worker, { capacity: minusCapacity(room.capacity, lease.reserved), leases: room.leases + 1 });
    desk.byUser.set(next.demand.owner, addCapacity(desk.byUser.get(next.demand.owner) ?? NO_CAPACITY, lease.reserved));
    desk.byExperiment.set(
      next.demand.experiment,
      addCapacity(desk.byExperiment.get(next.demand.experiment) ?? NO_CAPACITY, lease.reserved),
    );
    next.used.add(found.worker);
    next.take = minus(next.take, lease.tasks);
    if (isEmptySet(next.take)) waiting.shift();
  }
  return { leases, left };
}

function shape(demand: Demand, take: IndexSet, at: Candidate, supply: readonly Worker[]): PlannedLease {
  const totalWidth = supply.reduce((sum, w) => sum + countFits(demand.need, w.size, LEASE_TASKS_MAX), 0);
  const n = leaseSize({ width: at.width, totalWidth, remaining: demand.remaining, taskMs: demand.taskMs, leftMs: at.leftMs });
  const tasks = choose(demand, take, n);
  return { demand, worker: at.worker, tasks, reserved: timesCapacity(demand.need, Math.min(at.width, sizeOf(tasks))) };
}
