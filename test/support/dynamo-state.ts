/** The DynamoDB stores on a fresh table of some endpoint, and what the table holds. */
import { randomBytes } from "node:crypto";
import { type DynamoDBClient, ScanCommand } from "@aws-sdk/client-dynamodb";
import { type CapacityCounter, createDynamoClient, createDynamoTable, type DynamoTable } from "#adapters/dynamodb/client.ts";
import {
  experimentFrom,
  gateFrom,
  isTombstone,
  type Item,
  keyOf,
  leaseFrom,
  segmentFrom,
  setFrom,
  workerFrom,
} from "#adapters/dynamodb/codec.ts";
import { experimentOf } from "#adapters/dynamodb/keys.ts";
import { createTable } from "#adapters/dynamodb/table.ts";
import { createDynamoTaskStore } from "#adapters/dynamodb/task-store.ts";
import { createDynamoWorkerStore } from "#adapters/dynamodb/worker-store.ts";
import { createMemoryTable, type MemorySnapshot } from "#adapters/memory/table.ts";
import { createMemoryTaskStore } from "#adapters/memory/task-store.ts";
import { createMemoryWorkerStore } from "#adapters/memory/worker-store.ts";
import { createSystemClock } from "#adapters/system/clock.ts";
import { createSystemRandom } from "#adapters/system/random.ts";
import type { Clock } from "#ports/clock.ts";
import type { TaskStore } from "#ports/task-store.ts";
import type { WorkerStore } from "#ports/worker-store.ts";

/** What the contract suites of the state stores need of a subject. */
export interface StateSubject extends AsyncDisposable {
  readonly tasks: TaskStore;
  readonly workers: WorkerStore;
  /** Everything stored, in a form that can be compared: two dumps are equal when nothing changed between. */
  dump(): Promise<unknown>;
  snapshot(): Promise<MemorySnapshot>;
}

export async function openMemoryState(): Promise<StateSubject> {
  const table = createMemoryTable();
  const rest = () => ({ heads: new Map(table.heads), tokens: new Map(table.tokens), gateways: new Map(table.gateways) });
  return {
    tasks: createMemoryTaskStore(table),
    workers: createMemoryWorkerStore(table),
    dump: async () => ({ ...table.snapshot(), ...rest() }),
    snapshot: async () => table.snapshot(),
    [Symbol.asyncDispose]: async () => {},
  };
}

export interface DynamoState extends StateSubject {
  readonly client: DynamoDBClient;
  readonly name: string;
  readonly table: DynamoTable;
}

export interface DynamoStateOptions {
  readonly endpoint: string;
  readonly clock?: Clock;
  readonly onCapacity?: CapacityCounter;
}

export async function openDynamoState({ endpoint, clock, onCapacity }: DynamoStateOptions): Promise<DynamoState> {
  const credentials = { accessKeyId: "local", secretAccessKey: "local" };
  const client = createDynamoClient({ endpoint, region: "us-east-1", credentials, requestTimeoutMs: 20_000 });
  const name = `state-${randomBytes(6).toString("hex")}`;
  await createTable(client, name);
  const counted = onCapacity === undefined ? {} : { onCapacity };
  const table = createDynamoTable({ client, table: name, clock: clock ?? createSystemClock(), random: createSystemRandom(), ...counted });
  const items = () => scan(client, name);
  return {
    client,
    name,
    table,
    tasks: createDynamoTaskStore(table),
    workers: createDynamoWorkerStore(table),
    dump: items,
    snapshot: async () => snapshotOf(await items()),
    [Symbol.asyncDispose]: async () => client.destroy(),
  };
}

/** All items by key. */
async function scan(client: DynamoDBClient, name: string): Promise<Item[]> {
  const found: Item[] = [];
  let start: Item | undefined;
  do {
    const page = await client.send(
      new ScanCommand({ TableName: name, ConsistentRead: true, ...(start === undefined ? {} : { ExclusiveStartKey: start }) }),
    );
    found.push(...(page.Items ?? []));
    start = page.LastEvaluatedKey;
  } while (start !== undefined);
  for (const item of found) item.leases?.SS?.sort();
  return found.map((item) => Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))).sort(byKey);
}

const byKey = (a: Item, b: Item): number => (`${a.pk?.S} ${a.sk?.S}` < `${b.pk?.S} ${b.sk?.S}` ? -1 : 1);

/** The same picture that the memory table gives of itself. */
function snapshotOf(items: readonly Item[]): MemorySnapshot {
  const of = <T>(pk: string, sk: string, from: (item: Item) => T): T[] =>
    items.filter((i) => i.pk?.S?.startsWith(pk) && i.sk?.S?.startsWith(sk)).map(from);
  const table = createMemoryTable();
  for (const e of of("E#", "META", (item) => item)) {
    if (isTombstone(e)) table.tombstones.add(experimentOf(keyOf(e).pk));
    else table.experiments.set(experimentFrom(e).id, experimentFrom(e));
  }
  for (const g of of("E#", "GATE", gateFrom)) table.gates.set(`${g.experiment}/${g.shard}`, g);
  for (const s of of("E#", "S#", setFrom)) table.sets.set(`${s.experiment}/${s.ordinal}`, s);
  for (const s of of("Q#", "SEG", segmentFrom)) table.segments.set(`${s.key.experiment}/${s.key.set}/${s.key.segment}`, s);
  for (const l of of("Q#", "L#", leaseFrom)) table.leases.set(`${l.key.experiment}/${l.key.set}/${l.key.segment}/${l.key.epoch}`, l);
  for (const w of of("WK#", "W", workerFrom)) table.workers.set(`${w.key.id}#${w.key.incarnation}`, w);
  return table.snapshot();
}
