/**
 * Dispatch: how many tasks a second the control plane hands out and commits durably, with workers that take no time.
 *
 * Scheduler, settlement, group commit, hints, queues, result objects and state are the product's; only streams and agents
 * are left out: a lease is read from the store as a gateway does, and each of its tasks has succeeded at once.
 * The clock runs from submit until the experiment is COMPLETED. Then every item is read back: each task committed once.
 */
import { createHash } from "node:crypto";
import type { Hint } from "#core/task-scheduler/index.ts";
import { dispatchQueue } from "#core/worker-lifecycle/index.ts";
import { timesCapacity } from "#domain/capacity.ts";
import { assert } from "#domain/error.ts";
import type { ExperimentId, GatewayId } from "#domain/id.ts";
import { ID_RANDOM_BYTES, makeId } from "#domain/id.ts";
import { intersect, isEmptySet, members, minus, sameSet, sizeOf, union } from "#domain/index-set.ts";
import { type LeaseKey, leaseName, parseLeaseName } from "#domain/lease.ts";
import type { Plan } from "#domain/plan.ts";
import { RESULT_FORMAT_VERSION, type ResultObject, type TaskResult } from "#domain/result.ts";
import { wholeSegment } from "#domain/segment.ts";
import { workerName } from "#domain/worker.ts";
import { createGroupCommit, createHinter } from "#gateway/gateway.ts";
import { type Counts, type Engine, openEngine, openRooms, SCHEDULE_QUEUE, submitSweep } from "./engine.ts";
import { report } from "./report.ts";

export interface DispatchOptions {
  readonly tasks: number;
  readonly workers: number;
  readonly slots: number;
  readonly prefetchPercent: number;
}

type Rooms = ReturnType<typeof openRooms>;

const BENCH = "dispatch";
const LOOK_MS = 100;
const VISIBILITY_MS = 60_000;
const WAIT_MS = 1_000;
const BATCH = 10;
const SEGMENT_PAGE = 100;
const LEASE_PAGE = 100;
const NO_USAGE = { wallMs: 0, cpuMs: 0, memoryPeakBytes: 0, bytesIn: 0, bytesOut: 0 };

export async function benchDispatch(options: DispatchOptions): Promise<void> {
  await using engine = await openEngine();
  const rooms = openRooms(engine);
  const gateway = makeId("gateway", engine.clock.now(), engine.random.bytes(ID_RANDOM_BYTES));
  const stop = new AbortController();
  // A plan's needs say how large a worker of so many slots is.
  const { plan } = await submitSweep(engine, rooms, 1);
  await cancelAll(engine, rooms);
  await registerWorkers(engine, rooms, { ...options, plan, gateway });
  const { promise: broken, reject } = Promise.withResolvers<never>();
  const loops = [
    consume(engine, dispatchQueue(gateway), runsLeases(engine, rooms, reject), stop.signal),
    consume(engine, SCHEDULE_QUEUE, (bodies) => rooms.scheduler.schedule(bodies.map((b) => JSON.parse(b) as Hint)), stop.signal),
  ];
  for (const loop of loops) loop.catch(reject);
  engine.takeCounts();
  const startMs = performance.now();
  const { experiment } = await submitSweep(engine, rooms, options.tasks);
  await Promise.race([completed(engine, experiment.id), broken]);
  const tookMs = performance.now() - startMs;
  const counts = engine.takeCounts();
  stop.abort();
  await Promise.all(loops);
  const leases = await checkExactlyOnce(engine, experiment.id, options.tasks);
  reportAll(options, { tookMs, leases, counts });
}

/** A sweep of which half is done, with leases open at its workers, as it stands in the middle. */
export async function halfDone(
  engine: Engine,
  rooms: Rooms,
  tasks: number,
): Promise<{ readonly experiment: ExperimentId; readonly done: number }> {
  const gateway = makeId("gateway", engine.clock.now(), engine.random.bytes(ID_RANDOM_BYTES));
  const stop = new AbortController();
  const { plan } = await submitSweep(engine, rooms, 1);
  await cancelAll(engine, rooms);
  await registerWorkers(engine, rooms, { tasks, workers: 32, slots: 16, prefetchPercent: 100, plan, gateway });
  const { promise: broken, reject } = Promise.withResolvers<never>();
  const loops = [
    consume(engine, dispatchQueue(gateway), runsLeases(engine, rooms, reject), stop.signal),
    consume(engine, SCHEDULE_QUEUE, (bodies) => rooms.scheduler.schedule(bodies.map((b) => JSON.parse(b) as Hint)), stop.signal),
  ];
  const { experiment } = await submitSweep(engine, rooms, tasks);
  const half = async (): Promise<number> => {
    for (;;) {
      const { sets } = await rooms.orchestrator.view(experiment.id);
      const done = sets.reduce((n, s) => n + s.done, 0);
      if (done >= tasks / 2) return done;
      await engine.clock.sleep(LOOK_MS);
    }
  };
  await Promise.race([half(), broken]);
  stop.abort();
  await Promise.all(loops);
  // What the workers still had is done; a last pass fills them again, and there they stay.
  await rooms.scheduler.schedule([{ experiment: experiment.id }]);
  const { sets } = await rooms.orchestrator.view(experiment.id);
  return { experiment: experiment.id, done: sets.reduce((n, s) => n + s.done, 0) };
}

async function cancelAll(engine: Engine, rooms: Rooms): Promise<void> {
  for (const e of await engine.tasks.liveExperiments(BATCH)) await rooms.orchestrator.cancel(e.id);
  await rooms.scheduler.sweep();
}

async function registerWorkers(
  engine: Engine,
  { lifecycle }: Rooms,
  { workers, slots, prefetchPercent, plan, gateway }: DispatchOptions & { readonly plan: Plan; readonly gateway: GatewayId },
): Promise<void> {
  const need = plan.sets[0]?.resources.capacity;
  assert(need !== undefined, "a sweep has one set");
  const size = timesCapacity(need, slots);
  const as = { pool: "bench", size, prefetchPercent, host: "bench", version: "bench", endsAtMs: undefined, packages: [] };
  for (let i = 0; i < workers; i++) {
    const id = makeId("worker", engine.clock.now(), engine.random.bytes(ID_RANDOM_BYTES));
    await lifecycle.connect(await lifecycle.register(id, as), gateway);
  }
}

/** One batch after the other until `signal` aborts, as an event source does. */
export async function consume(
  { queue }: Engine,
  name: string,
  handle: (bodies: readonly string[]) => Promise<unknown>,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const messages = await queue.receive(name, { limit: BATCH, waitMs: WAIT_MS, visibilityMs: VISIBILITY_MS, signal });
    if (messages.length === 0) continue;
    await handle(messages.map((m) => m.body));
    await queue.remove(
      name,
      messages.map((m) => m.receipt),
    );
  }
}

/** All workers at once: delivers each lease, runs it in no time, stores its results, commits them, hints. */
function runsLeases(engine: Engine, rooms: Rooms, failed: (error: unknown) => void): (names: readonly string[]) => Promise<void> {
  const settle = createGroupCommit(rooms);
  const hint = createHinter({ ...engine, hint: rooms.hint });
  const runLease = async (key: LeaseKey): Promise<void> => {
    const lease = await engine.tasks.readLease(key);
    if (lease?.state !== "OPEN") return;
    const tasks = minus(lease.hold, lease.done, lease.failed);
    const atMs = engine.clock.now();
    const results = members(tasks).map((index): TaskResult => taskResult(index, atMs));
    const { plan, planHash } = await rooms.plans.of(key.experiment);
    const name = leaseName(key);
    const script = plan.sets[key.set]?.script ?? "";
    const facts = { lease: name, planHash, script, worker: workerName(lease.worker), host: "bench", agentVersion: "bench" };
    const body: ResultObject = { formatVersion: RESULT_FORMAT_VERSION, ...facts, results };
    const bytes = Buffer.from(JSON.stringify(body));
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const object = `r/${name}/${sha256.slice(0, 16)}`;
    await engine.objects.putIfAbsent(object, bytes);
    const runMs = new Map(results.map((r) => [r.index, r.endedAtMs - r.startedAtMs]));
    const batch = { ref: { key: object, sha256 }, done: tasks, failed: new Map(), runMs };
    const settled = await settle({ lease: key, batches: [batch], fold: true });
    assert(settled !== undefined && !settled.undecided, `lease ${name} was not settled`);
    if (settled.folded) hint({ experiment: key.experiment, set: key.set, segment: key.segment });
  };
  return async (names) => {
    for (const key of names.map(parseLeaseName)) if (key !== undefined) void runLease(key).catch(failed);
  };
}

const taskResult = (index: number, atMs: number): TaskResult => ({
  index,
  outcome: "done",
  exitCode: 0,
  startedAtMs: atMs,
  endedAtMs: atMs,
  usage: NO_USAGE,
  inputs: [],
  outputs: [],
});

async function completed({ tasks, clock }: Engine, id: ExperimentId): Promise<void> {
  for (;;) {
    const status = (await tasks.readExperiment(id))?.status;
    if (status === "COMPLETED") return;
    assert(status === "RUNNING", `the experiment is ${status}`);
    await clock.sleep(LOOK_MS);
  }
}

/** Throws unless every task is committed under exactly one lease, folded, and counted; gives the number of leases. */
async function checkExactlyOnce({ tasks: store }: Engine, experiment: ExperimentId, count: number): Promise<number> {
  const [set] = await store.readSets(experiment);
  assert(set !== undefined && set.done === count && set.failed + set.skipped === 0, "the set's sums are those of its tasks");
  assert(set.closed === set.segments && set.next === set.segments, "every segment is closed");
  let leases = 0;
  for (let from = 0; from < set.segments; from += SEGMENT_PAGE) {
    const segments = await store.readSegments(experiment, 0, from, SEGMENT_PAGE);
    assert(segments.length === Math.min(SEGMENT_PAGE, set.segments - from), "every segment is there");
    for (const { key, done, leased } of segments) {
      assert(sameSet(done, wholeSegment(count, key.segment)) && isEmptySet(leased), `segment ${key.segment} is done`);
      const under = await leasesOf(store, key);
      const committed = under.map((l) => l.done);
      const results = under.flatMap((l) => l.refs.map((r) => intersect(r.mask, l.done)));
      assert(
        under.every((l) => l.state === "CLOSED"),
        "every lease is closed",
      );
      for (const parts of [committed, results]) {
        assert(sameSet(union(...parts), done) && parts.reduce((n, p) => n + sizeOf(p), 0) === sizeOf(done), "each task was committed once");
      }
      leases += under.length;
    }
  }
  return leases;
}

async function leasesOf(store: Engine["tasks"], key: Parameters<Engine["tasks"]["listLeases"]>[0]) {
  const found = [];
  let cursor: string | undefined;
  do {
    const page = await store.listLeases(key, { limit: LEASE_PAGE, ...(cursor === undefined ? {} : { cursor }) });
    found.push(...page.items);
    cursor = page.cursor;
  } while (cursor !== undefined);
  return found;
}

function reportAll(options: DispatchOptions, { tookMs, leases, counts }: { tookMs: number; leases: number; counts: Counts }): void {
  const { tasks } = options;
  const perMillion = (n: number) => (n * 1_000_000) / tasks;
  const figures: readonly (readonly [name: string, value: number, unit: string])[] = [
    ["rate", (tasks * 1_000) / tookMs, "tasks/s"],
    ["time", tookMs / 1_000, "s"],
    ["leases", leases, "leases"],
    ["tasks-per-lease", tasks / leases, "tasks"],
    ["write-units", perMillion(counts.writeUnits), "write units per million tasks"],
    ["read-units", perMillion(counts.readUnits), "read units per million tasks"],
    ["transactions", counts.transactions, "transactions"],
    ["refused", counts.refused, "writes refused"],
    ["unknown", counts.unknown, "writes of unknown outcome"],
  ];
  for (const [name, value, unit] of figures) report({ bench: BENCH, name, value, unit, ...options });
}
