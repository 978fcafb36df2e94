/**
 * Rebalancing: where workers idle and nothing is left to hand out, tasks that wait behind others at busy workers are asked
 * back, and handed out anew. The question is a message: lost, it is asked again; doubled or late, it moves more tasks
 * than it had to. T1 stays with the settlement of what the agent says that it has not started.
 */
import { type Capacity, countFits, minusCapacity, timesCapacity } from "#domain/capacity.ts";
import type { Experiment } from "#domain/experiment.ts";
import type { GatewayId } from "#domain/id.ts";
import { minus, sizeOf } from "#domain/index-set.ts";
import { packagesOf } from "#domain/plan.ts";
import { type Lease, type LeaseKey, parseLeaseName } from "#domain/lease.ts";
import type { SegmentKey } from "#domain/segment.ts";
import { type Worker, workerName } from "#domain/worker.ts";
import type { Clock } from "#ports/clock.ts";
import type { TaskStore } from "#ports/task-store.ts";
import type { WorkerStore } from "#ports/worker-store.ts";
import { LEASE_TASKS_MAX, REBALANCE_INTERVAL_MS, REBALANCE_LEASES, REBALANCE_WAIT_MS, WORKERS_PER_ROUND } from "./limits.ts";
import { canFinish, type Demand, mayEverRun, roomFor } from "./placement.ts";
import { barredPools, type PoolAccess } from "./access.ts";
import type { Plans } from "./plans.ts";

/** What a task of the lease needs, and how long those of its set take. */
export type Kind = Pick<Demand, "pools" | "barred" | "need" | "packages" | "timeLimitMs" | "taskMs">;

/** An open lease at the worker that holds it. */
export interface Held {
  readonly lease: Lease;
  readonly worker: Worker;
  readonly kind: Kind;
}

export interface Recall {
  readonly lease: Lease;
  readonly gateway: GatewayId | undefined;
  /** Up to so many tasks that have not started. */
  readonly count: number;
}

interface Queue {
  readonly leases: readonly Held[];
  readonly worker: Worker;
  /** Tasks that can't have started yet: beyond what the worker's size runs at once. */
  readonly waiting: number;
  readonly slots: number;
  readonly waitMs: number;
}

const outstanding = ({ hold, done, failed }: Lease): number => sizeOf(minus(hold, done, failed));

function queueAt(leases: readonly Held[], nowMs: number): Queue {
  const { worker, kind } = leases[0] as Held;
  const slots = Math.max(1, countFits(kind.need, worker.size, LEASE_TASKS_MAX));
  const left = leases.reduce((n, h) => n + outstanding(h.lease), 0);
  const waiting = Math.max(0, left - slots);
  const ageMs = nowMs - Math.min(...leases.map((h) => h.lease.assignedAtMs));
  // Without a measured time, or long after it should have been over: as long again as it took so far.
  const held = leases.reduce((n, h) => n + sizeOf(h.lease.hold), 0);
  const overdueMs = kind.taskMs === undefined ? ageMs : ageMs - (kind.taskMs * held) / slots;
  return { leases, worker, waiting, slots, waitMs: Math.max(overdueMs, ((kind.taskMs ?? 0) * waiting) / slots) };
}

/**
 * Which tasks to ask back, pure. Takes an even share of what waits, at least one for each idle slot; nothing that would
 * start within {@link REBALANCE_WAIT_MS} where it is.
 */
export function chooseRecalls(held: readonly Held[], idle: readonly Worker[], nowMs: number): Recall[] {
  const free = new Map<Worker, Capacity>(idle.map((w) => [w, roomFor(w, w.free, undefined)]));
  const recalls: Recall[] = [];
  for (const group of Map.groupBy(held, ({ lease: { key } }) => `${key.experiment}/${key.set}`).values()) {
    const { kind } = group[0] as Held;
    const atWorkers = [...Map.groupBy(group, (h) => workerName(h.worker.key)).values()].map((leases) => queueAt(leases, nowMs));
    const queues = atWorkers.filter((q) => q.waiting > 0 && q.waitMs >= REBALANCE_WAIT_MS);
    const waiting = queues.reduce((n, q) => n + q.waiting, 0);
    if (waiting === 0) continue;
    const takers = [...free].filter(
      ([w]) => mayEverRun(kind, w) && canFinish(kind, w, nowMs) && !queues.some((q) => q.worker.key.id === w.key.id),
    );
    const room = takers.map(([w, capacity]) => ({ w, n: countFits(kind.need, capacity, LEASE_TASKS_MAX) }));
    const slots = room.reduce((n, r) => n + r.n, 0);
    if (slots === 0) continue;
    const busy = queues.reduce((n, q) => n + q.slots, 0);
    const share = Math.min(waiting, Math.max(slots, Math.ceil((waiting * slots) / (slots + busy))));
    recalls.push(...fromQueues(queues, share, waiting));
    let wanted = share;
    for (const { w, n } of room) {
      const taken = Math.min(n, wanted);
      wanted -= taken;
      free.set(w, minusCapacity(free.get(w) as Capacity, timesCapacity(kind.need, taken)));
    }
  }
  return recalls;
}

/** From each queue its part of `share`; from its newest lease first, whose tasks would start last. */
function fromQueues(queues: readonly Queue[], share: number, waiting: number): Recall[] {
  const recalls: Recall[] = [];
  let left = share;
  for (const q of queues.toSorted((a, b) => b.waitMs - a.waitMs)) {
    let wanted = Math.min(left, q.waiting, Math.ceil((share * q.waiting) / waiting));
    left -= wanted;
    for (const { lease } of q.leases.toSorted((a, b) => b.lease.assignedAtMs - a.lease.assignedAtMs)) {
      const count = Math.min(wanted, outstanding(lease));
      wanted -= count;
      if (count > 0) recalls.push({ lease, gateway: q.worker.gateway, count });
    }
  }
  return recalls;
}

export interface RebalanceDeps {
  readonly store: Pick<TaskStore, "readLease">;
  readonly workers: Pick<WorkerStore, "workersWithRoom" | "liveWorkers">;
  readonly plans: Plans;
  readonly access: PoolAccess;
  readonly clock: Clock;
  readonly dispatch: (lease: Lease, gateway: GatewayId | undefined, recall?: number) => Promise<void>;
  /** Mean run time of a set's tasks as this process knows it. */
  readonly taskMs: (key: SegmentKey) => number | undefined;
}

/**
 * Looks at the leases of experiments that have nothing to hand out; at most once in {@link REBALANCE_INTERVAL_MS} in one
 * process. Gives the time to come again when it was too early, the first time that it was.
 */
export function createRebalance(deps: RebalanceDeps): (experiments: readonly Experiment[]) => Promise<number | undefined> {
  let nextMs = 0;
  let told = false;

  async function read(names: readonly { worker: Worker; key: LeaseKey }[], pools: readonly string[]): Promise<Held[]> {
    const all = names.map(async ({ worker, key }): Promise<Held | undefined> => {
      const [lease, { plan, owner }] = await Promise.all([deps.store.readLease(key), deps.plans.of(key.experiment)]);
      const set = plan.sets[key.set];
      if (lease?.state !== "OPEN" || set === undefined) return undefined;
      const { capacity: need, timeLimitMs } = set.resources;
      const barred = await barredPools(deps.access, owner, pools);
      return { lease, worker, kind: { pools: plan.on, barred, need, packages: packagesOf(plan), timeLimitMs, taskMs: deps.taskMs(key) } };
    });
    return (await Promise.all(all)).filter((h) => h !== undefined);
  }

  return async (experiments) => {
    if (experiments.length === 0) return undefined;
    const roomy = await deps.workers.workersWithRoom(WORKERS_PER_ROUND);
    const idle = roomy.filter((w) => w.state === "READY" && roomFor(w, w.free, undefined).cpuMilli > 0);
    if (idle.length === 0) return undefined;
    const nowMs = deps.clock.now();
    if (nowMs < nextMs) {
      const first = !told;
      told = true;
      return first ? nextMs : undefined;
    }
    nextMs = nowMs + REBALANCE_INTERVAL_MS;
    told = false;
    const wanted = new Set(experiments.map((e) => e.id));
    const names = (await deps.workers.liveWorkers(WORKERS_PER_ROUND))
      .filter((worker) => worker.state !== "DEAD")
      .flatMap((worker) => [...worker.leases].map((name) => ({ worker, key: parseLeaseName(name) })))
      .filter((x): x is { worker: Worker; key: LeaseKey } => x.key !== undefined && wanted.has(x.key.experiment));
    const recalls = chooseRecalls(
      await read(
        names.slice(0, REBALANCE_LEASES),
        idle.map((w) => w.pool),
      ),
      idle,
      nowMs,
    );
    await Promise.all(recalls.map((r) => deps.dispatch(r.lease, r.gateway, r.count)));
    return undefined;
  };
}
