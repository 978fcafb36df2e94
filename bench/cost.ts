/**
 * Cost: what a million tasks of 100 ms cost at list prices, from what the product's own meter counts.
 *
 * Scheduler, settlement, gateway, agents, hints, queues, result objects and state are the product's, over the embedded engine;
 * only the machine is left out: a stream is a pair of queues in memory, and an attempt a sleep. The size of the workers decides
 * the size of the leases: one is to hold four seconds of work. Counted from submit until COMPLETED, the deployment's part included.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { costOf } from "#core/costs/index.ts";
import { createDataMover } from "#core/data-mover/index.ts";
import type { Hint } from "#core/task-scheduler/index.ts";
import { dispatchQueue } from "#core/worker-lifecycle/index.ts";
import { createMemoryInputStore } from "#adapters/memory/input-store.ts";
import { timesCapacity } from "#domain/capacity.ts";
import { METERED_KINDS, NANO_USD, type Usage } from "#domain/cost.ts";
import { assert, SchedulerError } from "#domain/error.ts";
import { ID_RANDOM_BYTES, makeId } from "#domain/id.ts";
import { isEmptySet } from "#domain/index-set.ts";
import { encodeLists } from "#domain/lists.ts";
import { EDGES_FORMAT_VERSION, type Plan } from "#domain/plan.ts";
import { deliveryOf } from "#gateway/assignment.ts";
import { createGateway } from "#gateway/gateway.ts";
import type { AgentMessage, GatewayMessage } from "#protocol/gen/worker.ts";
import { createAgent } from "#agent/agent.ts";
import { consume } from "./dispatch.ts";
import { type Engine, openEngine, openRooms, planSweep, SCHEDULE_QUEUE } from "./engine.ts";
import { createPair } from "./pair.ts";
import { report } from "./report.ts";

const BENCH = "cost";
const TASK_MS = 100;
const LOOK_MS = 200;
const FUNCTION_MIB = 512;
/** Slots of all workers together: what this machine keeps up with. */
const SLOTS = 128;
const SLOTS_OF_WORKERS = [1, 4, 16, 64] as const;
const DAG_LAYERS = 50;
const DAG_PARENTS_MAX = 4;

const PLANS = { sweep: planSweep, dag: layeredDag } as const;
export type CostShape = keyof typeof PLANS;
export const COST_SHAPES = Object.keys(PLANS) as readonly CostShape[];

/** `slots`: of each worker; several sizes in turn when it is left out. */
export async function benchCost(of: { readonly tasks: number; readonly shape?: CostShape; readonly slots?: number }): Promise<void> {
  const sizes = of.slots === undefined ? SLOTS_OF_WORKERS : [of.slots];
  const shapes = of.shape === undefined ? COST_SHAPES : [of.shape];
  for (const shape of shapes) for (const slots of sizes) await measure(shape, PLANS[shape](of.tasks), slots);
}

async function measure(shape: string, plan: Plan, slots: number): Promise<void> {
  await using engine = await openEngine();
  const rooms = openRooms(engine);
  const stop = new AbortController();
  const { promise: broken, reject } = Promise.withResolvers<never>();
  const need = plan.sets[0]?.resources.capacity;
  assert(need !== undefined, "a plan has a set");
  const gateway = openGateway(engine, rooms);
  const pass = (bodies: readonly string[]) =>
    engine.meter.invocation({ memoryMib: FUNCTION_MIB }, () => rooms.scheduler.schedule(bodies.map((b) => JSON.parse(b) as Hint)));
  const loops = [
    consume(engine, dispatchQueue(gateway.id), (bodies) => Promise.all(bodies.map(gateway.dispatched)), stop.signal),
    consume(engine, SCHEDULE_QUEUE, pass, stop.signal),
    gateway.beat(stop.signal),
    ...Array.from({ length: Math.max(1, SLOTS / slots) }, () => gateway.startAgent(timesCapacity(need, slots), stop.signal)),
  ];
  for (const loop of loops) loop.catch(reject);
  await sleep(LOOK_MS);
  const before = engine.meter.total();
  const startMs = performance.now();
  const { id } = await rooms.orchestrator.create({ owner: engine.owner, plan, priority: 0 });
  await rooms.orchestrator.submit(id);
  await Promise.race([ended(engine, id), broken]);
  const tookMs = performance.now() - startMs;
  const used = minusUsage(engine.meter.total(), before);
  const leases = await countLeases(engine, id, plan);
  stop.abort();
  await Promise.all(loops);
  reportOne(used, { shape, slots, tasks: plan.sets.reduce((n, s) => n + s.count, 0), leases, tookMs });
}

function openGateway(engine: Engine, rooms: ReturnType<typeof openRooms>) {
  const id = makeId("gateway", engine.clock.now(), engine.random.bytes(ID_RANDOM_BYTES));
  const storage = (): never => {
    throw new SchedulerError("not-found", "a task of this benchmark has no files");
  };
  const data = createDataMover({ ...engine, inputs: createMemoryInputStore(), plans: rooms.plans, storage });
  const gateway = createGateway({
    ...{ ...engine, id, ...rooms, writer: id },
    assignment: async (lease, tasks) => deliveryOf(lease, await data.stage(lease, tasks)),
    hint: (h) => rooms.hint(h),
  });
  const startAgent = (size: Plan["sets"][number]["resources"]["capacity"], signal: AbortSignal): Promise<void> => {
    const worker = makeId("worker", engine.clock.now(), engine.random.bytes(ID_RANDOM_BYTES));
    const agent = createAgent({
      ...{ ...engine, size, prefetchPercent: 100, host: "bench", packages: [], endsAtMs: 0 },
      dial: async () => {
        const [near, far] = createPair<AgentMessage, GatewayMessage>();
        void gateway.serve({ worker, pool: "bench" }, far);
        return near;
      },
      signUploads: async () => [],
      executor: {
        run: async ({ task: { index } }, aborted) => {
          const startedAtMs = engine.clock.now();
          await engine.clock.sleep(TASK_MS, aborted);
          const usage = { wallMs: TASK_MS, cpuMs: 1, memoryPeakBytes: 0, bytesIn: 0, bytesOut: 0 };
          return { index, outcome: "done", exitCode: 0, startedAtMs, endedAtMs: engine.clock.now(), usage, inputs: [], outputs: [] };
        },
      },
    });
    return agent.run(signal);
  };
  return { id, dispatched: gateway.dispatched, beat: gateway.beat, startAgent };
}

/** Layers of equal width in one set; a task waits for one to four of the layer before, chosen by a fixed rule. */
function layeredDag(tasks: number): Plan {
  const sweep = planSweep(tasks);
  const width = Math.max(1, Math.floor(tasks / DAG_LAYERS));
  const parentsOf = (task: number): number[] => {
    const first = (Math.floor(task / width) - 1) * width;
    if (first < 0) return [];
    const count = 1 + (hash(task) % DAG_PARENTS_MAX);
    return [...new Set(Array.from({ length: count }, (_, i) => first + (hash(task * 7 + i) % width)))];
  };
  const edges = encodeLists(Array.from({ length: tasks }, (_, task) => parentsOf(task)));
  return { ...sweep, formatVersion: EDGES_FORMAT_VERSION, sets: sweep.sets.map((set) => ({ ...set, edges })) };
}

const hash = (n: number): number => (Math.imul(n ^ (n >>> 15), 0x2c1b3c6d) ^ (n << 7)) >>> 0;

async function ended({ tasks }: Engine, id: Parameters<Engine["tasks"]["readExperiment"]>[0]): Promise<void> {
  for (;;) {
    const status = (await tasks.readExperiment(id))?.status;
    if (status === "COMPLETED") return;
    assert(status === "RUNNING", `the experiment is ${status}`);
    await sleep(LOOK_MS);
  }
}

const minusUsage = (a: Usage, b: Usage): Usage => Object.fromEntries(METERED_KINDS.map((kind) => [kind, (a[kind] ?? 0) - (b[kind] ?? 0)]));

/** Epochs count the leases of a segment. */
async function countLeases({ tasks }: Engine, experiment: Parameters<Engine["tasks"]["readExperiment"]>[0], plan: Plan): Promise<number> {
  let leases = 0;
  for (const { ordinal, segments } of await tasks.readSets(experiment)) {
    for (let segment = 0; segment < segments; segment++) {
      const found = await tasks.readSegment({ experiment, set: ordinal, segment });
      assert(found?.closed === true && isEmptySet(found.failed), `segment ${segment} of ${plan.name} is done`);
      leases += found.epoch;
    }
  }
  return leases;
}

function reportOne(
  used: Usage,
  of: { readonly shape: string; readonly slots: number; readonly tasks: number; readonly leases: number; readonly tookMs: number },
): void {
  const cost = costOf(used);
  const perMillion = 1_000_000 / of.tasks;
  const facts = { bench: BENCH, shape: of.shape, slots: of.slots, tasks: of.tasks, tasksPerLease: Math.round(of.tasks / of.leases) };
  for (const line of cost.lines) {
    report({
      ...facts,
      name: line.kind,
      value: line.count * perMillion,
      unit: "per million tasks",
      usd: (line.nanoUsd * perMillion) / NANO_USD,
    });
  }
  report({ ...facts, name: "cost", value: (cost.nanoUsd * perMillion) / NANO_USD, unit: "USD per million tasks", leases: of.leases });
  report({ ...facts, name: "rate", value: (of.tasks * 1_000) / of.tookMs, unit: "tasks/s" });
}
