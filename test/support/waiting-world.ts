/**
 * Random clusters and experiments over memory adapters with the real scheduler, and what a person can do about each cause
 * that an explanation names. Tasks run when the test says so.
 */
import fc from "fast-check";
import { createMemoryInputStore } from "#adapters/memory/input-store.ts";
import { createMemoryTable, type MemoryTable } from "#adapters/memory/table.ts";
import { createMemoryCostStore } from "#adapters/memory/cost-store.ts";
import { createMemoryTaskStore } from "#adapters/memory/task-store.ts";
import { createMemoryWorkerStore } from "#adapters/memory/worker-store.ts";
import { type Access, createPlans, createTaskScheduler } from "#core/task-scheduler/index.ts";
import { WALLTIME_MARGIN_MS } from "#core/task-scheduler/limits.ts";
import { addCapacity, type Capacity, NO_CAPACITY } from "#domain/capacity.ts";
import type { Why } from "#domain/cause.ts";
import type { ExperimentId, UserId } from "#domain/id.ts";
import { emptySet, members, setOf } from "#domain/index-set.ts";
import type { Lease } from "#domain/lease.ts";
import { encodeLists } from "#domain/lists.ts";
import type { Plan, PlanSet } from "#domain/plan.ts";
import { PACKAGE_KINDS, type Worker, workerName } from "#domain/worker.ts";
import type { ObjectStore } from "#ports/object-store.ts";
import type { Logger } from "#ports/logger.ts";
import { planOf, planSet, submission } from "../simulation/plan.ts";
import { createFakeClock } from "./fake-clock.ts";
import { aWorker, experimentId, gatewayId, NOW_MS, userId, workerId } from "./state.ts";

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };
const GATEWAY = gatewayId(1);
const MINUTE_MS = 60_000;
const capacity = (cores: number, gpu: number): Capacity => ({ cpuMilli: cores * 1000, memoryMib: cores * 1024, gpu });

/** Small numbers that say what a world is like; see {@link worldOf}. */
export interface Draw {
  readonly workers: readonly {
    readonly cores: number;
    readonly gpu: number;
    readonly pool: number;
    readonly packages: number;
    readonly minutes: number;
    readonly draining: boolean;
  }[];
  readonly experiments: readonly {
    readonly owner: number;
    readonly priority: number;
    readonly status: number;
    /** Of tasks at once, where it is 1 or 2. */
    readonly limit: number;
    readonly on: number;
    readonly packages: number;
    readonly sets: readonly {
      readonly count: number;
      readonly cores: number;
      readonly gpu: number;
      readonly minutes: number;
      readonly before: number;
    }[];
  }[];
  /** Owner x pool. */
  readonly access: readonly number[];
  /** How leases end before the first question: each digit one. */
  readonly past: readonly number[];
}

const below = (n: number) => fc.integer({ min: 0, max: n - 1 });
export const aDraw: fc.Arbitrary<Draw> = fc.record({
  workers: fc.array(
    fc.record({
      cores: fc.integer({ min: 1, max: 4 }),
      gpu: below(2),
      pool: below(2),
      packages: below(4),
      minutes: below(4),
      draining: fc.boolean(),
    }),
    { maxLength: 3 },
  ),
  experiments: fc.array(
    fc.record({
      owner: below(2),
      priority: below(3),
      status: below(4),
      limit: below(6),
      on: below(6),
      packages: below(6),
      sets: fc.array(
        fc.record({
          count: fc.integer({ min: 1, max: 5 }),
          cores: fc.integer({ min: 1, max: 5 }),
          gpu: below(4),
          minutes: below(3),
          before: below(4),
        }),
        { minLength: 1, maxLength: 3 },
      ),
    }),
    { minLength: 1, maxLength: 3 },
  ),
  access: fc.array(below(8), { minLength: 6, maxLength: 6 }),
  past: fc.array(below(3), { maxLength: 4 }),
});

const POOLS = ["a", "b", "c"];
const ON: readonly (readonly string[])[] = [[], [], ["a"], ["b"], ["a", "b"], ["c"]];
const KINDS = [[], ["conda"], ["pip"], ["conda", "pip"], [], []] as const;
const LEFT_MINUTES = [undefined, 3, 30, 300];
const LIMIT_MINUTES = [1, 20, 120];

function setsOf(of: Draw["experiments"][number]["sets"]): PlanSet[] {
  const sets: PlanSet[] = [];
  for (const [i, s] of of.entries()) {
    const resources = {
      capacity: capacity(s.cores, s.gpu === 3 ? 1 : 0),
      diskMib: 0,
      vramMib: 0,
      nodes: 1,
      timeLimitMs: (LIMIT_MINUTES[s.minutes] ?? 1) * MINUTE_MS,
    };
    const parent = sets[i - 1];
    const before: Partial<PlanSet>[] = [{}, { after: [i - 1] }, { foreach: [i - 1] }, {}];
    if (parent === undefined) sets.push(planSet(`s${i}`, s.count, { resources }));
    else if (s.before === 3) {
      const first = sets.slice(0, i - 1).reduce((n, p) => n + p.count, 0);
      const edges = encodeLists(Array.from({ length: s.count }, (_, t) => (t % 2 === 0 ? [first + (t % parent.count)] : [])));
      sets.push(planSet(`s${i}`, s.count, { resources, edges }));
    } else sets.push(planSet(`s${i}`, s.before === 2 ? parent.count : s.count, { resources, ...before[s.before] }));
  }
  return sets;
}

const planFrom = (e: Draw["experiments"][number]): Plan => {
  const kinds: readonly string[] = KINDS[e.packages] ?? [];
  const lists = { conda: kinds.includes("conda") ? ["x"] : [], pip: kinds.includes("pip") ? ["x"] : [] };
  return { ...planOf(setsOf(e.sets)), ...lists, on: ON[e.on] ?? [] };
};

export interface Waiting {
  readonly nowMs: number;
  readonly table: MemoryTable;
  readonly plans: ReadonlyMap<ExperimentId, Plan>;
  readonly access: ReadonlyMap<string, Access>;
}

export type World = Awaited<ReturnType<typeof openWorld>>;
export const TARGET = experimentId(0);

/** A world at rest: the past has happened, and a pass finds nothing more to hand out. */
export async function worldOf(draw: Draw): Promise<World> {
  const table = createMemoryTable();
  const plans = new Map(draw.experiments.map((e, i) => [experimentId(i), planFrom(e)]));
  const kinds: readonly Access[] = ["forbidden", "unknown"];
  const access = new Map(
    draw.access.map((n, i): [string, Access] => [`${userId(Math.floor(i / 3))} ${POOLS[i % 3]}`, kinds[n] ?? "usable"]),
  );
  const world = await openWorld({ nowMs: NOW_MS, table, plans, access });
  for (const [i, w] of draw.workers.entries()) {
    const minutes = LEFT_MINUTES[w.minutes];
    const ends = minutes === undefined ? {} : { endsAtMs: NOW_MS + minutes * MINUTE_MS };
    const packages = PACKAGE_KINDS.filter((_, k) => ((w.packages >> k) & 1) === 1);
    world.addWorker({ size: capacity(w.cores, w.gpu), pool: POOLS[w.pool] ?? "a", packages, ...ends }, i);
  }
  for (const [i, e] of draw.experiments.entries()) {
    const id = experimentId(i);
    const { experiment, records } = submission(plans.get(id) as Plan, { id, owner: userId(e.owner), nowMs: NOW_MS });
    await world.store.createExperiment(
      { ...experiment, priority: e.priority, ...(e.limit === 1 || e.limit === 2 ? { tasksAtOnce: e.limit } : {}) },
      records,
    );
    if (e.status > 0) await world.start(id);
  }
  await world.pass();
  for (const how of draw.past) {
    const [lease] = world.leases();
    if (lease !== undefined) await world.finish(lease, how === 0 ? "failed" : "done");
    await world.pass();
  }
  for (const [i, e] of draw.experiments.entries()) if (e.status === 1) await world.turn(experimentId(i), "RUNNING", "PAUSED");
  for (const [i, w] of draw.workers.entries()) if (w.draining) await world.workers.drain({ id: workerId(i), incarnation: 1 });
  await world.pass();
  return world;
}

export async function openWorld(from: Waiting) {
  const { table, plans } = from;
  const access = new Map(from.access);
  const clock = createFakeClock(from.nowMs);
  const store = createMemoryTaskStore(table);
  const workers = createMemoryWorkerStore(table);
  const objects = { get: async (key: string) => Buffer.from(key) } as unknown as ObjectStore;
  const byExperiment = createPlans({ store, objects, decodePlan: () => planOf([]) });
  let drawn = 0;
  const plansOf = { of: async (id: ExperimentId) => ({ ...(await byExperiment.of(id)), plan: plans.get(id) as Plan }) };
  const scheduler = createTaskScheduler({
    ...{
      store,
      workers,
      costs: createMemoryCostStore(),
      objects,
      inputs: createMemoryInputStore(),
      clock,
      logger: quiet,
      hint: async () => undefined,
      dispatch: async () => undefined,
    },
    plans: plansOf,
    access: async (owner: UserId, pool: string) => access.get(`${owner} ${pool}`) ?? "unknown",
    random: { next: () => (drawn++ * 0.618) % 1, bytes: (n) => new Uint8Array(n).fill(drawn++) },
  });
  const leases = () => [...table.leases.values()].filter((l) => l.state === "OPEN");
  /** What a gateway says every 5 s. */
  async function publish(): Promise<void> {
    const usage = new Map<ExperimentId, Capacity>();
    for (const l of leases()) usage.set(l.key.experiment, addCapacity(usage.get(l.key.experiment) ?? NO_CAPACITY, l.reserved));
    await workers.putGateway({ id: GATEWAY, beatAtMs: clock.now(), upSinceMs: NOW_MS, queue: "q", usage });
    for (const w of table.workers.values()) table.workers.set(workerName(w.key), { ...w, expiresAtMs: clock.now() + 90_000 });
  }
  return {
    plansOf,
    ...{ table, store, workers, scheduler, access, clock, leases, publish },
    async pass() {
      await publish();
      await scheduler.schedule([...plans.keys()].map((experiment) => ({ experiment })));
      await publish();
    },
    /** Another pass on what the gateway said before. */
    passAsTold: () => scheduler.schedule([...plans.keys()].map((experiment) => ({ experiment }))),
    explain: (set?: string, number?: number) =>
      scheduler.explain(TARGET, set === undefined || number === undefined ? undefined : { set, number }),
    addWorker(over: Partial<Worker>, n = table.workers.size) {
      const size = over.size as Capacity;
      const { endsAtMs: _, ...rest } = over;
      const ends = over.endsAtMs === undefined ? { endsAtMs: undefined } : { endsAtMs: over.endsAtMs };
      const fresh = { state: "READY", leases: new Set<string>(), session: 1, cap: size, free: size, gateway: GATEWAY } as const;
      const worker = aWorker({ ...rest, ...ends, ...fresh, key: { id: workerId(n), incarnation: 1 }, host: `node-${n}` });
      table.workers.set(workerName(worker.key), worker);
      return worker;
    },
    async turn(id: ExperimentId, was: "CREATED" | "RUNNING" | "PAUSED", to: "RUNNING" | "PAUSED") {
      await scheduler.control.turn(id, { from: [was], change: () => ({ status: to, live: true }) });
    },
    async unlimit(id: ExperimentId) {
      const { control } = scheduler;
      await control.turn(id, { from: ["CREATED", "RUNNING", "PAUSED"], change: () => ({ tasksAtOnce: undefined }) as object });
    },
    async start(id: ExperimentId) {
      await this.turn(id, "CREATED", "RUNNING");
    },
    async finish(lease: Lease, how: "done" | "failed") {
      const tasks = members(lease.hold);
      const done = how === "done" ? setOf(tasks) : emptySet();
      const failed = new Map(how === "done" ? [] : tasks.map((i) => [i, "exit"] as const));
      const runMs = new Map(tasks.map((i) => [i, 40_000] as const));
      await scheduler.settle(lease.key, [
        { lease: lease.key, batches: [{ ref: { key: "r", sha256: "s" }, done, failed, runMs }], fold: true },
      ]);
    },
    /** The same world, that can be changed without changing this one. */
    copy: () => {
      const other = createMemoryTable();
      for (const name of ["experiments", "gates", "sets", "segments", "leases", "heads", "workers", "gateways"] as const)
        for (const [key, value] of table[name]) (other[name] as Map<string, unknown>).set(key, value);
      return openWorld({ nowMs: clock.now(), table: other, plans, access });
    },
    owner: () => table.experiments.get(TARGET)?.owner as UserId,
    plan: () => plans.get(TARGET) as Plan,
    others: () => [...plans.keys()].filter((id) => id !== TARGET),
  };
}

/** An independent word on whether a worker can run tasks of a set: written from the documents, not from the scheduler. */
export function couldRun(world: World, set: PlanSet, w: Worker): boolean {
  const plan = world.plan();
  const { capacity: need } = set.resources;
  const allowed = (plan.on.length === 0 || plan.on.includes(w.pool)) && world.access.get(`${world.owner()} ${w.pool}`) === "usable";
  const large = need.cpuMilli <= w.size.cpuMilli && need.memoryMib <= w.size.memoryMib && need.gpu <= w.size.gpu;
  const packaged = PACKAGE_KINDS.every((kind) => plan[kind].length === 0 || w.packages.includes(kind));
  return allowed && large && packaged;
}

const plus = (a: Capacity, b: Capacity): Capacity => addCapacity(a, b);

/** Does what removes a cause, and only as much as the cause says. */
export async function remove(world: World, why: Why, set: PlanSet): Promise<void> {
  const workerOf = (id: string) => [...world.table.workers.values()].find((w) => w.key.id === id) as Worker;
  const grant = (names: readonly string[]) => {
    for (const name of names) world.access.set(`${world.owner()} ${name}`, "usable");
  };
  switch (why.kind) {
    case "not-submitted":
      return world.start(TARGET);
    case "paused":
      return world.turn(TARGET, "PAUSED", "RUNNING");
    case "resource-unknown":
    case "resource-forbidden":
      return grant(why.resources);
    case "no-workers":
      world.addWorker({ size: capacity(1, 0), pool: why.resources[0] ?? "a", packages: [] });
      return;
    case "draining": {
      const fits = [...world.table.workers.values()].filter((w) => w.state === "DRAINING" && couldRun(world, set, w));
      for (const w of fits) world.addWorker(w);
      return;
    }
    case "no-worker-fits": {
      const near = workerOf(why.nearest.worker);
      world.addWorker({ ...near, size: plus(near.size, why.short), endsAtMs: undefined });
      return;
    }
    case "environment-missing": {
      const near = workerOf(why.nearest.worker);
      world.addWorker({ ...near, packages: [...near.packages, ...why.missing], endsAtMs: undefined });
      return;
    }
    case "ends-too-soon": {
      const near = workerOf(why.nearest.worker);
      world.addWorker({ ...near, endsAtMs: world.clock.now() + why.neededMs + WALLTIME_MARGIN_MS });
      return;
    }
    case "at-limit":
      return world.unlimit(TARGET);
    case "retry-wait":
      await world.clock.advance(why.untilMs - world.clock.now());
      return;
    case "behind-others":
      for (const id of world.others()) await world.turn(id, "RUNNING", "PAUSED");
      addTwins(world, set);
      return;
    case "room-taken":
      addTwins(world, set);
      return;
    default:
      throw new Error(`nothing that a person can do about ${why.kind}`);
  }
}

/** Workers that fit, full or not. */
export const twinsOf = (world: World, set: PlanSet): Worker[] => {
  const { timeLimitMs } = set.resources;
  const inTime = (w: Worker) => w.endsAtMs === undefined || w.endsAtMs - world.clock.now() >= timeLimitMs + WALLTIME_MARGIN_MS;
  return [...world.table.workers.values()].filter((w) => w.state === "READY" && couldRun(world, set, w) && inTime(w));
};

/** One more worker like each that fits and is full. */
function addTwins(world: World, set: PlanSet): void {
  for (const like of twinsOf(world, set)) world.addWorker(like);
}
