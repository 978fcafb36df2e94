/**
 * The embedded engine in a temporary folder, gone with it: dynoxide on a file, objects in a folder, the queue in SQLite;
 * the rooms on top are those of the product. Counts what the table is asked for.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CapacityCounter, createDynamoClient, createDynamoTable, type DynamoTable, type Write } from "#adapters/dynamodb/client.ts";
import { createDynamoCostStore } from "#adapters/dynamodb/cost-store.ts";
import { createTable } from "#adapters/dynamodb/table.ts";
import { createDynamoTaskStore } from "#adapters/dynamodb/task-store.ts";
import { createDynamoWorkerStore } from "#adapters/dynamodb/worker-store.ts";
import { openFileObjectStore } from "#adapters/file/object-store.ts";
import { createMeteredMessageQueue } from "#adapters/metered/message-queue.ts";
import { createMeteredObjectStore } from "#adapters/metered/object-store.ts";
import { createPinoLogger } from "#adapters/pino/logger.ts";
import { createMemoryInputStore } from "#adapters/memory/input-store.ts";
import { openSqliteMessageQueue } from "#adapters/sqlite/message-queue.ts";
import { createSystemClock } from "#adapters/system/clock.ts";
import { createSystemRandom } from "#adapters/system/random.ts";
import { createAsyncScope } from "#adapters/system/scope.ts";
import { parseExperimentFile } from "#api/experiment-file.ts";
import { createMeter, type Setting } from "#core/costs/index.ts";
import { createResults } from "#core/data-mover/index.ts";
import { compilePlan, createExperimentOrchestrator } from "#core/experiment-orchestrator/index.ts";
import { createPlans, createTaskScheduler, type Hint } from "#core/task-scheduler/index.ts";
import { createWorkerLifecycle, dispatchMessage, dispatchQueue } from "#core/worker-lifecycle/index.ts";
import { SchedulerError } from "#domain/error.ts";
import { ID_RANDOM_BYTES, makeId } from "#domain/id.ts";
import type { Plan } from "#domain/plan.ts";
import { decodePlan } from "#domain/plan-encoding.ts";
import { startDynoxide } from "#local/dynoxide.ts";

export const SCHEDULE_QUEUE = "schedule";
const TABLE = "airavata";
const SIGNING_KEY_BYTES = 32;

export interface Counts {
  readUnits: number;
  writeUnits: number;
  /** Items written by requests that were applied. */
  items: number;
  transactions: number;
  refused: number;
  unknown: number;
}

const noCounts = (): Counts => ({ readUnits: 0, writeUnits: 0, items: 0, transactions: 0, refused: 0, unknown: 0 });

export type Engine = Awaited<ReturnType<typeof openEngine>>;

export async function openEngine() {
  const folder = await mkdtemp(join(tmpdir(), "airavata-bench-"));
  const database = await startDynoxide({ dbPath: join(folder, "state.db") });
  const clock = createSystemClock();
  const random = createSystemRandom();
  const logger = createPinoLogger({ level: "warn", to: "stderr" });
  const counts = noCounts();
  const client = createDynamoClient({
    endpoint: database.endpoint,
    region: "us-east-1",
    credentials: { accessKeyId: "local", secretAccessKey: "local" },
  });
  await createTable(client, TABLE);
  const onCapacity: CapacityCounter = ({ readUnits, writeUnits, payers }) => {
    counts.readUnits += readUnits;
    counts.writeUnits += writeUnits;
    meter.add("read-units", readUnits, payers);
    meter.add("write-units", writeUnits, payers);
  };
  const table = counted(createDynamoTable({ client, table: TABLE, clock, random, onCapacity }), counts);
  const costs = createDynamoCostStore(table);
  const meter = createMeter({ store: costs, scope: createAsyncScope<Setting>(), clock, random, logger });
  const signingKey = random.bytes(SIGNING_KEY_BYTES);
  const files = await openFileObjectStore({ folder: join(folder, "objects"), baseUrl: "http://127.0.0.1", signingKey, clock });
  const objects = createMeteredObjectStore(files, meter);
  const messages = await openSqliteMessageQueue({ file: join(folder, "queue.db"), clock });
  const queue = createMeteredMessageQueue(messages, meter);
  return {
    clock,
    random,
    logger,
    meter,
    objects,
    queue,
    costs,
    tasks: createDynamoTaskStore(table),
    workers: createDynamoWorkerStore(table),
    owner: makeId("user", clock.now(), random.bytes(ID_RANDOM_BYTES)),
    /** What was counted since the last call. */
    takeCounts: (): Counts => {
      const taken = { ...counts };
      Object.assign(counts, noCounts());
      return taken;
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await messages.close();
      client.destroy();
      await database.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function counted(table: DynamoTable, counts: Counts): DynamoTable {
  const note = (kind: "done" | "refused" | "unknown", writes: readonly Write[]) => {
    if (kind === "done") counts.items += writes.filter((w) => w.kind !== "check").length;
    else counts[kind]++;
  };
  return {
    ...table,
    write: async (write) => {
      const outcome = await table.write(write);
      note(outcome.kind, [write]);
      return outcome;
    },
    transact: async (writes) => {
      const outcome = await table.transact(writes);
      counts.transactions++;
      note(outcome.kind, writes);
      return outcome;
    },
  };
}

/** The rooms, with both queues in SQLite as in the embedded default. */
export function openRooms(e: Engine) {
  const plans = createPlans({ store: e.tasks, objects: e.objects, decodePlan });
  const hint = (h: Hint, delayMs = 0): Promise<void> => e.queue.send(SCHEDULE_QUEUE, JSON.stringify(h), { delayMs });
  const scheduler = createTaskScheduler({
    ...e,
    store: e.tasks,
    inputs: createMemoryInputStore(),
    plans,
    access: async () => "usable",
    hint,
    dispatch: async (lease, gateway, recall) => {
      if (gateway !== undefined) await e.queue.send(dispatchQueue(gateway), dispatchMessage(lease.key, recall));
    },
  });
  const results = createResults({ tasks: e.tasks, objects: e.objects });
  const open = (): never => {
    throw new SchedulerError("not-found", "a sweep of this benchmark has no files");
  };
  const orchestrator = createExperimentOrchestrator({ ...e, plans, scheduler, results, data: { open }, hint });
  const lifecycle = createWorkerLifecycle({ ...e, scheduler });
  return { plans, scheduler, orchestrator, lifecycle, hint };
}

/** The file of a sweep as a user writes it. */
const sweepFile = (tasks: number): Uint8Array =>
  new TextEncoder().encode(`name: sweep
scripts:
  RUN: |
    #!/bin/sh
    echo "$I"
tasks:
  sweep:
    script: RUN
    task_inputs:
      I: 1..${tasks}
`);

export const planSweep = (tasks: number): Plan => compilePlan(parseExperimentFile(sweepFile(tasks)));

/** From the bytes of the file to an experiment that runs. */
export async function submitSweep(e: Engine, { orchestrator }: Pick<ReturnType<typeof openRooms>, "orchestrator">, tasks: number) {
  const plan = planSweep(tasks);
  const { id } = await orchestrator.create({ owner: e.owner, plan, priority: 0 });
  return { plan, experiment: await orchestrator.submit(id) };
}
