import { createHash } from "node:crypto";
import { addCapacity, type Capacity } from "#domain/capacity.ts";
import { SchedulerError } from "#domain/error.ts";
import { ID_RANDOM_BYTES, makeId } from "#domain/id.ts";
import { encodeSet, type IndexSet, isEmptySet, union } from "#domain/index-set.ts";
import { type LeaseKey, leaseName, parseLeaseName } from "#domain/lease.ts";
import { PHASES_BYTES_MAX, type Phases, type Worker, type WorkerKey, workerName } from "#domain/worker.ts";
import { bySegment, type SettleRequest, type TaskScheduler } from "#core/task-scheduler/index.ts";
import type { Clock } from "#ports/clock.ts";
import type { Logger } from "#ports/logger.ts";
import type { Random } from "#ports/random.ts";
import type { TaskStore } from "#ports/task-store.ts";
import type { WorkerStore } from "#ports/worker-store.ts";
import type { BeatReport, Introduction, LeaseInventory, WorkerLifecycle } from "./index.ts";

import {
  CLOCK_SKEW_MS,
  GATEWAY_SILENT_MS,
  MASS_EXPIRY_SHARE,
  PREFETCH_PERCENT_MAX,
  READMISSION_MS,
  TRIES,
  WORKER_TTL_MS,
  WORKERS_SEEN,
} from "./limits.ts";

interface WorkerLifecycleDeps {
  readonly tasks: TaskStore;
  readonly workers: WorkerStore;
  readonly scheduler: Pick<TaskScheduler, "settle">;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

const hashOf = (token: string): string => createHash("sha256").update(token).digest("hex");

export function createWorkerLifecycle(deps: WorkerLifecycleDeps): WorkerLifecycle {
  const { workers, clock, random } = deps;

  return {
    async issueToken(pool, lifetimeMs) {
      const token = Buffer.from(random.bytes(32)).toString("base64url");
      const expiresAtMs = clock.now() + lifetimeMs;
      const outcome = await workers.putToken({ hash: hashOf(token), pool, expiresAtMs });
      if (outcome.kind !== "done") throw new SchedulerError("unavailable", "the registration token could not be stored; try again");
      return { token, expiresAtMs };
    },

    async join(token) {
      const used = await workers.useToken(hashOf(token), clock.now());
      if (used === undefined) {
        throw new SchedulerError("unauthenticated", "this registration token is unknown, used already or expired; ask for a new one");
      }
      return { worker: makeId("worker", clock.now(), random.bytes(ID_RANDOM_BYTES)), pool: used.pool };
    },

    async register(id, as) {
      for (let i = 0; i < TRIES; i++) {
        const head = await workers.readHead(id);
        const worker = newWorker({ id, incarnation: head + 1 }, as, clock.now());
        const outcome = await workers.register({ worker, expectHead: head });
        if (outcome.kind === "done") {
          // The old incarnation is DEAD now and runs nothing: its tasks need not wait for the timer.
          if (head > 0) await reclaim(deps, { id, incarnation: head });
          return worker.key;
        }
        await clock.sleep(random.next() * 50 * (i + 1));
      }
      throw new SchedulerError("unavailable", `worker ${id} could not be registered; it tries again`);
    },

    async connect(key, gateway) {
      for (let i = 0; i < TRIES; i++) {
        const outcome = await workers.connect(key, gateway, clock.now() + WORKER_TTL_MS);
        if (outcome.kind === "done") return outcome.worker;
        if (outcome.kind === "refused") return undefined;
        await clock.sleep(random.next() * 50 * (i + 1));
      }
      throw new SchedulerError("unavailable", `worker ${key.id} could not be connected; it tries again`);
    },

    beat: (key, at) => beat(deps, key, at),

    async drain(key) {
      await workers.drain(key);
    },

    reap: () => reap(deps),
    list: (limit) => workers.liveWorkers(limit),
  };
}

function newWorker(key: WorkerKey, as: Introduction, nowMs: number): Worker {
  const percent = Math.min(PREFETCH_PERCENT_MAX, Math.max(0, Math.floor(as.prefetchPercent)));
  const extra = (n: number) => Math.floor((n * percent) / 100);
  const prefetch: Capacity = { cpuMilli: extra(as.size.cpuMilli), memoryMib: extra(as.size.memoryMib), gpu: extra(as.size.gpu) };
  const cap = addCapacity(as.size, prefetch);
  return {
    key,
    pool: as.pool,
    state: "READY",
    size: as.size,
    cap,
    free: cap,
    leases: new Set(),
    session: 0,
    gateway: undefined,
    beat: 0,
    expiresAtMs: nowMs + WORKER_TTL_MS,
    endsAtMs: as.endsAtMs,
    packages: as.packages,
    phases: new Map(),
    host: as.host,
    version: as.version,
  };
}

/** As many as fit: they are for people to see. */
function phasesOf(inventory: readonly LeaseInventory[]): Map<string, Phases> {
  const kept = new Map<string, Phases>();
  let bytes = 0;
  for (const { lease, phases } of inventory) {
    if (phases === undefined) continue;
    const name = leaseName(lease);
    bytes += name.length + encodeSet(phases.queued).length + encodeSet(phases.stagingIn).length + encodeSet(phases.stagingOut).length;
    if (bytes > PHASES_BYTES_MAX) break;
    kept.set(name, phases);
  }
  return kept;
}

/** Compares both ways. The inventory is older than the worker item, and lease items are read after both. */
async function beat(
  deps: WorkerLifecycleDeps,
  key: WorkerKey,
  at: { session: number; sequence: number; inventory: readonly LeaseInventory[] },
): Promise<BeatReport> {
  const outcome = await deps.workers.heartbeat(key, {
    session: at.session,
    beat: at.sequence,
    expiresAtMs: deps.clock.now() + WORKER_TTL_MS,
    phases: phasesOf(at.inventory),
  });
  if (outcome.kind === "unknown") return { kind: "unknown" };
  const worker = outcome.kind === "done" ? outcome.worker : await deps.workers.readWorker(key);
  if (worker === undefined || worker.state === "DEAD") return { kind: "dead" };
  if (outcome.kind === "refused") return worker.session === at.session ? { kind: "unknown" } : { kind: "replaced" };

  const agent = new Map(at.inventory.map((i) => [leaseName(i.lease), i]));
  const { deliver, requests } = compareHeld(worker, agent);
  const { acknowledge, drop } = await compareUnheld(deps, worker, agent);
  const folded: LeaseKey[] = [];
  for (const { key: segment, requests: group } of bySegment(requests)) {
    for (const r of await deps.scheduler.settle(segment, group)) {
      if (r.folded) folded.push(r.lease);
      acknowledge.push({ lease: r.lease, tasks: r.committed });
      if (r.state !== "OPEN" && !r.undecided) drop.push(r.lease);
    }
  }
  return { kind: "seen", deliver, acknowledge, drop, folded };
}

/** Leases in the worker's item: those that its agent does not know are delivered, finished and released ones settled. */
function compareHeld(worker: Worker, agent: ReadonlyMap<string, LeaseInventory>): { deliver: LeaseKey[]; requests: SettleRequest[] } {
  const deliver: LeaseKey[] = [];
  const requests: SettleRequest[] = [];
  for (const name of worker.leases) {
    const lease = parseLeaseName(name);
    const has = agent.get(name);
    if (lease === undefined) continue;
    if (has === undefined) deliver.push(lease);
    else if (!isEmptySet(has.gone) || isEmptySet(has.held))
      requests.push({ lease, back: { tasks: has.gone, cause: "given-back" }, fold: true });
  }
  return { deliver, requests };
}

/** Leases that only the agent names: committed parts are acknowledged, and what is not open and its own any more is dropped. */
async function compareUnheld(deps: WorkerLifecycleDeps, worker: Worker, agent: ReadonlyMap<string, LeaseInventory>) {
  const acknowledge: { lease: LeaseKey; tasks: IndexSet }[] = [];
  const drop: LeaseKey[] = [];
  for (const [name, has] of agent) {
    if (worker.leases.has(name)) continue;
    const lease = await deps.tasks.readLease(has.lease);
    if (lease?.state === "OPEN" && workerName(lease.worker) === workerName(worker.key)) continue;
    if (lease !== undefined) acknowledge.push({ lease: has.lease, tasks: union(lease.done, lease.failed) });
    drop.push(has.lease);
  }
  return { acknowledge, drop };
}

/**
 * Silence of workers counts only while a gateway could hear them: one that beats now and has been up for long enough. After
 * a clock step or a sleep of the machine no gateway's beat is recent; then it counts its time up anew (gateway.ts), so
 * workers get the same time to be heard as after its restart.
 */
async function expired(deps: WorkerLifecycleDeps, all: readonly Worker[]): Promise<Worker[]> {
  const now = deps.clock.now();
  const gateways = await deps.workers.gateways();
  const isBeating = (beatAtMs: number) => beatAtMs + GATEWAY_SILENT_MS + CLOCK_SKEW_MS >= now;
  if (!gateways.some((g) => isBeating(g.beatAtMs) && g.upSinceMs + READMISSION_MS < now)) return [];
  const out: Worker[] = [];
  for (const [, pool] of Map.groupBy(
    all.filter((w) => w.state !== "DEAD"),
    (w) => w.pool,
  )) {
    const late = pool.filter((w) => w.expiresAtMs + CLOCK_SKEW_MS < now);
    const mass = late.length > 1 && late.length > pool.length * MASS_EXPIRY_SHARE;
    out.push(...late.filter((w) => !mass || w.expiresAtMs + CLOCK_SKEW_MS + READMISSION_MS < now));
  }
  return out;
}

async function reap(deps: WorkerLifecycleDeps): Promise<{ dead: WorkerKey[]; reclaimed: LeaseKey[] }> {
  const all = await deps.workers.liveWorkers(WORKERS_SEEN);
  const dead: WorkerKey[] = [];
  const reclaimed: LeaseKey[] = [];
  for (const seen of await expired(deps, all)) {
    const worker = await deps.workers.readWorker(seen.key);
    if (worker === undefined || worker.state === "DEAD" || worker.beat !== seen.beat || worker.expiresAtMs !== seen.expiresAtMs) continue;
    if ((await deps.workers.markDead(worker.key, worker.beat)).kind !== "done") continue;
    dead.push(worker.key);
    deps.logger.warn("worker lost", { worker: worker.key.id, host: worker.host, lastSeenMs: worker.expiresAtMs - WORKER_TTL_MS });
  }
  const corpses = [...dead, ...all.filter((w) => w.state === "DEAD").map((w) => w.key)];
  for (const key of corpses) reclaimed.push(...(await reclaim(deps, key)));
  return { dead, reclaimed };
}

/** Lists the leases by a strong read after DEAD: no lease can be added any more. */
async function reclaim(deps: WorkerLifecycleDeps, key: WorkerKey): Promise<LeaseKey[]> {
  const worker = await deps.workers.readWorker(key);
  if (worker?.state !== "DEAD") return [];
  const leases = [...worker.leases].map(parseLeaseName).filter((l) => l !== undefined);
  const done: LeaseKey[] = [];
  for (const { key: segment, requests } of bySegment(
    leases.map((lease) => ({ lease, back: { tasks: "all" as const, cause: "worker-lost" as const }, fold: true })),
  )) {
    for (const r of await deps.scheduler.settle(segment, requests)) if (!r.undecided) done.push(r.lease);
  }
  await deps.workers.removeDead(key);
  return done;
}
