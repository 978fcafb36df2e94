/**
 * Races that chance finds too seldom, each placed by hand: one operation of the real code over the memory adapters, and
 * another that runs as a whole before its first call of a store, before its second, and so on to after its last.
 *
 * The checker looks at every write. Afterwards all that is left is run without failures, so that every race must end
 * with its experiment COMPLETED and every acknowledged result where it belongs.
 */
import { createMemoryInputStore } from "#adapters/memory/input-store.ts";
import { createMemoryTable, type MemoryTable } from "#adapters/memory/table.ts";
import { createMemoryTaskStore } from "#adapters/memory/task-store.ts";
import { createMemoryCostStore } from "#adapters/memory/cost-store.ts";
import { createMemoryWorkerStore } from "#adapters/memory/worker-store.ts";
import { createPlans, createTaskScheduler, type TaskScheduler } from "#core/task-scheduler/index.ts";
import { createWorkerLifecycle, type WorkerLifecycle } from "#core/worker-lifecycle/index.ts";
import type { Experiment } from "#domain/experiment.ts";
import { makeId } from "#domain/id.ts";
import { hasIndex, type IndexSet, isWithin, members, minus, setOf } from "#domain/index-set.ts";
import { type Lease, leaseName } from "#domain/lease.ts";
import type { WorkerKey } from "#domain/worker.ts";
import type { Clock } from "#ports/clock.ts";
import type { Logger } from "#ports/logger.ts";
import type { ObjectStore } from "#ports/object-store.ts";
import { type Checker, createChecker, Violation } from "./checker.ts";
import { createKernel } from "./kernel.ts";
import { planOf, planSet, submission } from "./plan.ts";

interface Race {
  prepare(stage: Stage): Promise<void>;
  /** The operation that is interrupted. */
  slow(room: Room, stage: Stage): Promise<unknown>;
  /** What happens meanwhile. */
  meanwhile(room: Room, stage: Stage): Promise<unknown>;
  /** What must be so at once, before the rest is run. */
  after?(stage: Stage): void;
}

/** One process: the real code over stores of which every call is preceded by `before`. */
interface Room {
  readonly scheduler: TaskScheduler;
  readonly lifecycle: WorkerLifecycle;
}

interface Stage {
  readonly table: MemoryTable;
  readonly checker: Checker;
  readonly objects: Map<string, string>;
  readonly experiment: Experiment["id"];
  room(before?: () => Promise<void>): Room;
  pass(): Promise<void>;
  /** A new worker that can run four tasks at once. */
  join(): Promise<void>;
  /** As a gateway does: result object, settlement, acknowledgement. */
  commit(room: Room, lease: Lease, results: { readonly done: IndexSet; readonly failed?: IndexSet; readonly fold: boolean }): Promise<void>;
  wait(ms: number): void;
}

const SECONDS_10_MS = 10_000;
/** Longer than any worker may be silent, whatever is said for its gateway. */
const SILENCE_MS = 600_000;
const POINTS_MAX = 1_000;
const ROUNDS_MAX = 50;
const START_MS = 1_700_000_000_000;
const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };
const NO_RETRIES = { retries: { exit: 0, signal: 0, timeout: 0, "out-of-memory": 0, staging: 0 }, backoffMs: 0 };

/** A set, one task for each of its tasks, and a barrier behind it. */
const plan = planOf([
  planSet("p", 4, { retry: NO_RETRIES }),
  planSet("c", 4, { foreach: [0], retry: NO_RETRIES }),
  planSet("b", 2, { after: [0], retry: NO_RETRIES }),
]);

const openLeases = (stage: Stage): Lease[] => [...stage.table.leases.values()].filter((l) => l.state === "OPEN");

function onlyLease(stage: Stage): Lease {
  const [lease, ...others] = openLeases(stage);
  if (lease === undefined || others.length > 0) throw new Error(`one open lease was expected, there are ${openLeases(stage).length}`);
  return lease;
}

function onlyWorker(stage: Stage): WorkerKey {
  const [worker, ...others] = stage.table.workers.values();
  if (worker === undefined || others.length > 0) throw new Error(`one worker was expected, there are ${stage.table.workers.size}`);
  return worker.key;
}

async function retry(room: Room, stage: Stage): Promise<void> {
  const { experiment } = await room.scheduler.control.startRetry(stage.experiment, { id: "op", select: { kind: "all-failed" } });
  if (experiment !== undefined) await room.scheduler.control.carryOn(experiment);
}

/** All of the first set has ended, its task 0 failed; nothing was derived from that yet. */
async function failFirst(stage: Stage): Promise<void> {
  await stage.join();
  await stage.pass();
  await stage.commit(stage.room(), onlyLease(stage), { done: setOf([1, 2, 3]), failed: setOf([0]), fold: true });
}

async function leaseAll(stage: Stage): Promise<void> {
  await stage.join();
  await stage.pass();
}

export const RACES: Readonly<Record<string, Race>> = {
  // What a pass derived from failures is not written after a retry has undone them.
  "retry-in-pass": {
    prepare: failFirst,
    slow: (room, stage) => room.scheduler.schedule([{ experiment: stage.experiment, set: 0, segment: 0 }]),
    meanwhile: retry,
  },
  // An experiment whose failed tasks were just reopened does not end.
  "retry-in-completion": {
    async prepare(stage) {
      await failFirst(stage);
      await stage.pass();
      await stage.commit(stage.room(), onlyLease(stage), { done: setOf([1, 2, 3]), fold: true });
    },
    slow: (room, stage) => room.scheduler.control.completeIfDone(stage.experiment),
    meanwhile: retry,
  },
  // Two gateways commit under one lease: its worker has moved from one to the other with results on their way.
  "commit-in-commit": {
    prepare: leaseAll,
    slow: (room, stage) => stage.commit(room, onlyLease(stage), { done: setOf([1]), fold: false }),
    meanwhile: (room, stage) => stage.commit(room, onlyLease(stage), { done: setOf([0]), fold: false }),
  },
  // A commit that is late does not give its lease back what was taken from it.
  "steal-in-commit": {
    prepare: leaseAll,
    slow: (room, stage) => stage.commit(room, onlyLease(stage), { done: setOf([1]), fold: false }),
    meanwhile: (room, stage) => {
      const lease = onlyLease(stage).key;
      return room.scheduler.settle(lease, [{ lease, back: { tasks: setOf([2, 3]), cause: "given-back" }, fold: true }]);
    },
  },
  // Nothing is committed under a lease that was taken back as a whole.
  "reclaim-in-commit": {
    prepare: leaseAll,
    slow: (room, stage) => stage.commit(room, onlyLease(stage), { done: setOf([1]), fold: false }),
    meanwhile: (room, stage) => {
      const lease = onlyLease(stage).key;
      return room.scheduler.settle(lease, [{ lease, back: { tasks: "all", cause: "worker-lost" }, fold: true }]);
    },
  },
  // What an agent was given and has no more is taken back, and nothing else, while another gateway commits.
  "commit-in-beat": {
    prepare: leaseAll,
    slow(room, stage) {
      const { key: lease, worker } = onlyLease(stage);
      const inventory = [{ lease, held: setOf([1, 2, 3]), gone: setOf([0]) }];
      return room.lifecycle.beat(worker, { session: 0, sequence: 1, inventory });
    },
    meanwhile: (room, stage) => stage.commit(room, onlyLease(stage), { done: setOf([1]), fold: false }),
    after(stage) {
      const { hold } = onlyLease(stage);
      if (hasIndex(hold, 0)) throw new Violation("what the agent has no more was not taken back");
      if (!isWithin(setOf([2, 3]), hold)) throw new Violation("what the agent has was taken back");
    },
  },
  // A worker that has begun to drain is given nothing more.
  "drain-in-pass": {
    prepare: (stage) => stage.join(),
    slow: (room, stage) => room.scheduler.schedule([{ experiment: stage.experiment }]),
    meanwhile: (room, stage) => room.lifecycle.drain(onlyWorker(stage)),
  },
  // A worker is given a lease while the reaper, who has seen it without any, marks it dead.
  "lease-in-reap": {
    async prepare(stage) {
      await stage.join();
      stage.wait(SILENCE_MS);
    },
    slow: (room) => room.lifecycle.reap(),
    meanwhile: (_, stage) => stage.pass(),
    after(stage) {
      if (stage.table.workers.size > 0) throw new Violation("the dead worker was not removed");
      if (openLeases(stage).length > 0) throw new Violation("a lease of the dead worker was not taken back");
    },
  },
};

/** Runs the race at every point; gives how many there were. Throws the first violation. */
export async function runRace(race: Race): Promise<number> {
  for (let point = 0; point < POINTS_MAX; point++) {
    const stage = await createStage();
    await race.prepare(stage);
    let calls = 0;
    const before = async () => {
      if (calls++ === point) await race.meanwhile(stage.room(), stage);
    };
    try {
      await race.slow(stage.room(before), stage);
      const last = calls <= point;
      if (last) await race.meanwhile(stage.room(), stage);
      race.after?.(stage);
      await finish(stage);
      if (last) return point + 1;
    } catch (error) {
      throw error instanceof Violation ? new Violation(`before call ${point}: ${error.message}`) : error;
    }
  }
  throw new Error(`more than ${POINTS_MAX} calls`);
}

/** Every task that can run does, without failures. */
async function finish(stage: Stage): Promise<void> {
  const status = () => stage.table.experiments.get(stage.experiment)?.status;
  for (let i = 0; i < ROUNDS_MAX && status() === "RUNNING"; i++) {
    stage.wait(SECONDS_10_MS);
    if (![...stage.table.workers.values()].some((w) => w.state === "READY")) await stage.join();
    await stage.pass();
    for (const lease of openLeases(stage))
      await stage.commit(stage.room(), lease, { done: minus(lease.hold, lease.done, lease.failed), fold: true });
  }
  if (status() !== "COMPLETED") throw new Violation(`nothing fails any more, but the experiment is ${status()} at the end`);
  stage.checker.final(stage.objects);
}

const WRITES = new Set([
  ...["createExperiment", "turn", "assign", "commit", "settle", "skip", "skipSet", "reopen", "reopenSet"],
  ...["register", "drain", "markDead", "removeDead"],
]);

async function createStage(): Promise<Stage> {
  const table = createMemoryTable();
  const checker = createChecker(table, plan);
  const objects = new Map([["p/h", ""]]);
  const { random } = createKernel(1);
  let now = START_MS;
  const clock: Clock = { now: () => now, sleep: async () => {} };
  const experiment = await submit(table, clock);
  const stage: Stage = {
    table,
    checker,
    objects,
    experiment,
    room: (before = async () => {}) => createRoom({ table, checker, objects, clock, random, before }),
    async pass() {
      await stage.room().scheduler.schedule([{ experiment }]);
    },
    async join() {
      const size = { cpuMilli: 4000, memoryMib: 0, gpu: 0 };
      const as = { pool: "sim", size, prefetchPercent: 0, host: "sim", version: "1", endsAtMs: undefined, packages: [] };
      await stage.room().lifecycle.register(makeId("worker", now, random.bytes(10)), as);
    },
    commit: (room, lease, results) => commit(stage, room, lease, results),
    wait(ms) {
      now += ms;
    },
  };
  return stage;
}

type RoomDeps = Pick<Stage, "table" | "checker" | "objects"> & {
  readonly clock: Clock;
  readonly random: ReturnType<typeof createKernel>["random"];
  readonly before: () => Promise<void>;
};

function createRoom(deps: RoomDeps): Room {
  const { table, clock, random } = deps;
  const watched = <T extends object>(raw: T): T =>
    new Proxy(raw, {
      get: (target, property) => {
        const method = Reflect.get(target, property) as (...args: unknown[]) => Promise<unknown>;
        return async (...args: unknown[]) => {
          await deps.before();
          const check = WRITES.has(String(property)) ? deps.checker.around() : undefined;
          const answer = await method(...args);
          check?.();
          return answer;
        };
      },
    });
  const tasks = watched(createMemoryTaskStore(table));
  const workers = watched(createMemoryWorkerStore(table));
  const objects = { get: async (key: string) => Buffer.from(deps.objects.get(key) ?? "") } as unknown as ObjectStore;
  const plans = createPlans({ store: tasks, objects, decodePlan: () => plan });
  const nothing = async () => {};
  const rest = { clock, random, logger: quiet, dispatch: nothing, hint: nothing };
  const scheduler = createTaskScheduler({
    ...{ store: tasks, workers, costs: createMemoryCostStore(), plans, objects, inputs: createMemoryInputStore() },
    ...rest,
    access: async () => "usable",
  });
  return { scheduler, lifecycle: createWorkerLifecycle({ tasks, workers, scheduler, clock, random, logger: quiet }) };
}

async function submit(table: MemoryTable, clock: Clock): Promise<Experiment["id"]> {
  const id = makeId("experiment", clock.now(), new Uint8Array(10));
  const owner = makeId("user", clock.now(), new Uint8Array(10));
  const { experiment, records } = submission(plan, { id, owner, nowMs: clock.now() });
  const store = createMemoryTaskStore(table);
  await store.createExperiment(experiment, records);
  await store.turn({ post: { ...experiment, status: "RUNNING", version: 1, live: true }, expectVersion: 0 });
  const gateway = makeId("gateway", clock.now(), new Uint8Array(10));
  const upSinceMs = clock.now();
  const beatAtMs = upSinceMs + 3_600_000; // it beats on while the races run
  await createMemoryWorkerStore(table).putGateway({ id: gateway, beatAtMs, upSinceMs, queue: "q", usage: new Map() });
  return id;
}

async function commit(stage: Stage, room: Room, lease: Lease, results: Parameters<Stage["commit"]>[2]): Promise<void> {
  const { checker, objects } = stage;
  const name = leaseName(lease.key);
  const failed = members(results.failed ?? setOf([]));
  const done = members(results.done);
  const key = `r/${name}/${objects.size}`;
  for (const index of [...done, ...failed]) checker.runs.set(`${name}/${index}`, `run ${name}/${index}`);
  objects.set(key, JSON.stringify({ results: [...done, ...failed].map((index) => ({ index, message: `run ${name}/${index}` })) }));
  const batch = {
    ref: { key, sha256: key },
    done: results.done,
    failed: new Map(failed.map((index) => [index, "exit" as const])),
    runMs: new Map(done.map((index) => [index, 1_000])),
  };
  const reports = await room.scheduler.settle(lease.key, [{ lease: lease.key, batches: [batch], fold: results.fold }]);
  for (const r of reports) checker.acknowledged(name, r.committed);
}
