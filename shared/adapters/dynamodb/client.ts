/**
 * One table, its requests and what their errors mean.
 *
 * - Contention and throttling say that nothing was applied: retried here with full jitter, at most RETRIES_MAX times.
 * - A timeout, a lost connection or a 5xx says nothing (G2). A transaction is then sent once more with the same bytes and
 *   the same ClientRequestToken: if that succeeds, it has been applied once; any other answer leaves it `unknown`, since
 *   the first request may still arrive (G3). A single write has no token and is `unknown` at once.
 * - Reads are retried in both cases and then throw `unavailable`.
 * The SDK's own retries are off: it would retry single writes after a timeout and report the second answer.
 */
import {
  type AttributeValue,
  BatchGetItemCommand,
  ConditionalCheckFailedException,
  type ConsumedCapacity,
  DeleteItemCommand,
  DynamoDBClient,
  type DynamoDBClientConfig,
  DynamoDBServiceException,
  GetItemCommand,
  PutItemCommand,
  QueryCommand,
  type QueryCommandInput,
  TransactionCanceledException,
  type TransactWriteItem,
  TransactWriteItemsCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { assert, SchedulerError } from "#domain/error.ts";
import type { ExperimentId } from "#domain/id.ts";
import type { Clock } from "#ports/clock.ts";
import type { Random } from "#ports/random.ts";
import type { Refuser, WriteOutcome } from "#ports/task-store.ts";
import { type Item, keyItem } from "./codec.ts";
import { type Fragment, namesIn } from "./conditions.ts";
import { experimentIn, isCost, type ItemKey } from "./keys.ts";
import * as limits from "./limits.ts";

export interface ClientOptions {
  /** Default: AWS's own by region, or AWS_ENDPOINT_URL_DYNAMODB. */
  readonly endpoint?: string;
  /** Default: AWS_REGION, then us-east-1. */
  readonly region?: string;
  /** Default: the SDK's chain. Emulators take any. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  readonly requestTimeoutMs?: number;
  readonly socketsMax?: number;
}

export function createDynamoClient(options: ClientOptions = {}): DynamoDBClient {
  const sockets = { keepAlive: true, maxSockets: options.socketsMax ?? limits.SOCKETS_MAX };
  const config: DynamoDBClientConfig = {
    region: options.region ?? process.env.AWS_REGION ?? "us-east-1",
    maxAttempts: 1,
    requestHandler: {
      connectionTimeout: limits.CONNECT_TIMEOUT_MS,
      requestTimeout: options.requestTimeoutMs ?? limits.REQUEST_TIMEOUT_MS,
      throwOnRequestTimeout: true,
      httpAgent: sockets,
      httpsAgent: sockets,
    },
  };
  if (options.endpoint !== undefined) config.endpoint = options.endpoint;
  if (options.credentials !== undefined) config.credentials = options.credentials;
  return new DynamoDBClient(config);
}

/**
 * Request units of one request: reads and writes as DynamoDB bills them, and the experiments that its keys name. Amazon bills
 * a refused write like one that was applied and says nothing of it: taken to be one unit for each item, two in a transaction.
 */
export interface Used {
  readonly readUnits: number;
  readonly writeUnits: number;
  readonly payers: readonly ExperimentId[];
}
export type CapacityCounter = (used: Used) => void;

export interface TableOptions {
  readonly client: DynamoDBClient;
  readonly table: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Given: every request asks for its ConsumedCapacity. Not told of items of cost. */
  readonly onCapacity?: CapacityCounter;
}

/** A write of one item under a condition; `by` and `index` name it when it refuses. */
export type Write = { readonly by: Refuser; readonly index: number; readonly condition?: Fragment } & (
  | { readonly kind: "put"; readonly item: Item }
  | { readonly kind: "update"; readonly key: ItemKey; readonly update: Fragment }
  | { readonly kind: "delete"; readonly key: ItemKey }
  | { readonly kind: "check"; readonly key: ItemKey }
);

/** `item`: after the write when it was an update, as it is when refused (absent: there is none). */
export type ItemOutcome = { readonly kind: "done" | "refused"; readonly item?: Item } | { readonly kind: "unknown" };

export interface IndexPage {
  readonly items: readonly Item[];
  readonly last?: Item;
}

export interface DynamoTable {
  readonly clock: Clock;
  readonly random: Random;
  /** Strongly consistent. */
  get(key: ItemKey): Promise<Item | undefined>;
  /** Strongly consistent, in the order of the keys, each once, without those that are absent. Any number of keys. */
  getAll(keys: readonly ItemKey[]): Promise<Item[]>;
  query(input: Omit<QueryCommandInput, "TableName">): Promise<IndexPage>;
  write(write: Write): Promise<ItemOutcome>;
  transact(writes: readonly Write[]): Promise<WriteOutcome>;
}

export function createDynamoTable(options: TableOptions): DynamoTable {
  const { clock, random, table, client, onCapacity } = options;
  const requests: Requests = {
    client,
    table,
    random,
    metered: onCapacity === undefined ? {} : { ReturnConsumedCapacity: "TOTAL" },
    count: (kind, used, hashes) => {
      if (onCapacity === undefined || hashes.some(isCost)) return;
      const units = typeof used === "number" ? used : [used ?? []].flat().reduce((sum, c) => sum + (c.CapacityUnits ?? 0), 0);
      const payers = [...new Set(hashes.map(experimentIn))].filter((id) => id !== undefined);
      onCapacity({ readUnits: kind === "read" ? units : 0, writeUnits: kind === "write" ? units : 0, payers });
    },
    pause: (attempt) => clock.sleep(random.next() * Math.min(limits.RETRY_CAP_MS, limits.RETRY_BASE_MS * 2 ** attempt)),
  };
  return {
    clock,
    random,
    get: (key) => get(requests, key),
    getAll: (keys) => getAll(requests, keys),
    query: (input) => query(requests, input),
    write: (write) => writeOne(requests, write),
    transact: (writes) => transact(requests, writes),
  };
}

interface Requests {
  readonly client: DynamoDBClient;
  readonly table: string;
  readonly random: Random;
  readonly metered: { readonly ReturnConsumedCapacity?: "TOTAL" };
  /** `hashes`: partition keys that the request names. */
  readonly count: (
    kind: "read" | "write",
    used: ConsumedCapacity | readonly ConsumedCapacity[] | number | undefined,
    hashes: readonly string[],
  ) => void;
  readonly pause: (attempt: number) => Promise<void>;
}

// Reads

async function reading<T>({ pause }: Requests, read: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await read();
    } catch (error) {
      if (meaningOf(error) === "fault") throw error;
      if (attempt === limits.RETRIES_MAX) throw unavailable(error);
      await pause(attempt);
    }
  }
}

const unavailable = (cause?: unknown): SchedulerError =>
  new SchedulerError("unavailable", "the state table does not answer; try again", { cause });

async function get(requests: Requests, key: ItemKey): Promise<Item | undefined> {
  const { client, table, metered, count } = requests;
  const input = { TableName: table, Key: keyItem(key), ConsistentRead: true, ...metered };
  const answer = await reading(requests, () => client.send(new GetItemCommand(input)));
  count("read", answer.ConsumedCapacity, [key.pk]);
  return answer.Item;
}

async function getAll(requests: Requests, keys: readonly ItemKey[]): Promise<Item[]> {
  const found = new Map<string, Item>();
  const distinct = [...new Map(keys.map((key) => [`${key.pk} ${key.sk}`, key])).values()];
  for (let i = 0; i < distinct.length; i += limits.BATCH_GET_KEYS_MAX) {
    const batch = await getBatch(requests, distinct.slice(i, i + limits.BATCH_GET_KEYS_MAX));
    for (const item of batch) found.set(`${item.pk?.S} ${item.sk?.S}`, item);
  }
  return distinct.map(({ pk, sk }) => found.get(`${pk} ${sk}`)).filter((item) => item !== undefined);
}

async function getBatch(requests: Requests, keys: readonly ItemKey[]): Promise<Item[]> {
  const { client, table, metered, count, pause } = requests;
  const found: Item[] = [];
  let pending: Item[] = keys.map(keyItem);
  for (let attempt = 0; pending.length > 0; attempt++) {
    if (attempt > limits.RETRIES_MAX) throw unavailable();
    if (attempt > 0) await pause(attempt);
    const input = { RequestItems: { [table]: { ConsistentRead: true, Keys: pending } }, ...metered };
    const answer = await reading(requests, () => client.send(new BatchGetItemCommand(input)));
    const hashes = pending.map((key) => key.pk?.S ?? "");
    count("read", answer.ConsumedCapacity, hashes);
    found.push(...(answer.Responses?.[table] ?? []));
    pending = answer.UnprocessedKeys?.[table]?.Keys ?? [];
  }
  return found;
}

async function query(requests: Requests, input: Omit<QueryCommandInput, "TableName">): Promise<IndexPage> {
  const { client, table, metered, count } = requests;
  const answer = await reading(requests, () => client.send(new QueryCommand({ TableName: table, ...input, ...metered })));
  const values = Object.values(input.ExpressionAttributeValues ?? {});
  const hashes = values.flatMap(({ S }) => (S === undefined ? [] : [S]));
  count("read", answer.ConsumedCapacity, hashes);
  return { items: answer.Items ?? [], ...(answer.LastEvaluatedKey === undefined ? {} : { last: answer.LastEvaluatedKey }) };
}

// Writes

/** Sends until it is applied, refused or unknown; contention and throttling are tried again. */
async function writing<T>({ pause }: Requests, send: () => Promise<T>, refusal: (error: unknown) => T | undefined): Promise<T | Unknown> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await send();
    } catch (error) {
      const refused = refusal(error);
      if (refused !== undefined) return refused;
      const meaning = meaningOf(error);
      if (meaning === "fault") throw error;
      if (meaning === "unknown" || attempt === limits.RETRIES_MAX) return { kind: "unknown" };
      await pause(attempt);
    }
  }
}

type Unknown = { readonly kind: "unknown" };

const hashOf = (write: Write): string => (write.kind === "put" ? (write.item.pk?.S ?? "") : write.key.pk);

function writeOne(requests: Requests, write: Write): Promise<ItemOutcome> {
  const hashes = [hashOf(write)];
  const refusal = (error: unknown): ItemOutcome | undefined => {
    if (!(error instanceof ConditionalCheckFailedException)) return undefined;
    requests.count("write", 1, hashes);
    return { kind: "refused", ...(error.Item === undefined ? {} : { item: error.Item }) };
  };
  const send = async (): Promise<ItemOutcome> => {
    const answer = await sendWrite(requests, write);
    requests.count("write", answer.ConsumedCapacity, hashes);
    return { kind: "done", ...(answer.Attributes === undefined ? {} : { item: answer.Attributes }) };
  };
  return writing(requests, send, refusal);
}

function transact(requests: Requests, writes: readonly Write[]): Promise<WriteOutcome> {
  const { client, table, random, metered, count } = requests;
  assert(writes.length <= limits.TRANSACTION_ITEMS_HARD_MAX, "a transaction has at most 100 items");
  const items = writes.map((w) => transactItem(table, w));
  const hashes = writes.map(hashOf);
  const refusal = (error: unknown): WriteOutcome | undefined => {
    if (error instanceof TransactionCanceledException) count("write", 2 * writes.length, hashes);
    const refuser = refuserOf(error, writes);
    return refuser === undefined ? undefined : { kind: "refused", by: refuser.by, index: refuser.index };
  };
  const send = async (): Promise<WriteOutcome> => {
    const token = Buffer.from(random.bytes(TOKEN_BYTES)).toString("hex");
    const once = async (): Promise<WriteOutcome> => {
      const answer = await client.send(new TransactWriteItemsCommand({ TransactItems: items, ClientRequestToken: token, ...metered }));
      count("write", answer.ConsumedCapacity, hashes);
      return { kind: "done" };
    };
    try {
      return await once();
    } catch (error) {
      if (meaningOf(error) !== "unknown") throw error;
      // Same bytes, same token: success means applied once. Anything else says nothing about the first request.
      return once().catch((): Unknown => ({ kind: "unknown" }));
    }
  };
  return writing(requests, send, refusal);
}

const TOKEN_BYTES = 16;

const NOT_APPLIED = new Set([
  "TransactionConflict",
  "TransactionConflictException",
  "ThrottlingError",
  "ThrottlingException",
  "ProvisionedThroughputExceeded",
  "ProvisionedThroughputExceededException",
  "RequestLimitExceeded",
]);
const SAYS_NOTHING = new Set(["InternalServerError", "TransactionInProgressException", "ServiceUnavailable", "TimeoutError", "AbortError"]);

/** `again`: nothing was applied. `unknown`: it may have been. `fault`: our own mistake, or a table that is not there. */
export function meaningOf(error: unknown): "again" | "unknown" | "fault" {
  if (error instanceof TransactionCanceledException) {
    const codes = (error.CancellationReasons ?? []).map((r) => r.Code ?? "None");
    return codes.some((c) => NOT_APPLIED.has(c)) ? "again" : "fault";
  }
  const { name, code } = error as { name?: string; code?: string };
  if (NOT_APPLIED.has(name ?? "") || code === "ECONNREFUSED") return "again";
  if (SAYS_NOTHING.has(name ?? "") || code !== undefined) return "unknown";
  if (error instanceof DynamoDBServiceException) return (error.$metadata.httpStatusCode ?? 500) >= 500 ? "unknown" : "fault";
  return error instanceof TypeError || error instanceof RangeError || name === "CredentialsProviderError" ? "fault" : "unknown";
}

function refuserOf(error: unknown, writes: readonly Write[]): Write | undefined {
  if (!(error instanceof TransactionCanceledException)) return undefined;
  return writes[(error.CancellationReasons ?? []).findIndex((r) => r.Code === "ConditionalCheckFailed")];
}

interface Expressions {
  ConditionExpression?: string;
  UpdateExpression?: string;
  ExpressionAttributeNames?: Record<string, string>;
  ExpressionAttributeValues?: Record<string, AttributeValue>;
}

function expressionsOf(write: Write): Expressions {
  const update = write.kind === "update" ? write.update : undefined;
  const names = namesIn(write.condition?.expression, update?.expression);
  const values = { ...write.condition?.values, ...update?.values };
  return {
    ...(write.condition === undefined ? {} : { ConditionExpression: write.condition.expression }),
    ...(update === undefined ? {} : { UpdateExpression: update.expression }),
    ...(Object.keys(names).length === 0 ? {} : { ExpressionAttributeNames: names }),
    ...(Object.keys(values).length === 0 ? {} : { ExpressionAttributeValues: values }),
  };
}

function transactItem(table: string, write: Write): TransactWriteItem {
  const { UpdateExpression, ...conditions } = expressionsOf(write);
  switch (write.kind) {
    case "put":
      return { Put: { TableName: table, Item: write.item, ...conditions } };
    case "update":
      return { Update: { TableName: table, Key: keyItem(write.key), UpdateExpression, ...conditions } };
    case "delete":
      return { Delete: { TableName: table, Key: keyItem(write.key), ...conditions } };
    case "check":
      return { ConditionCheck: { TableName: table, Key: keyItem(write.key), ConditionExpression: undefined, ...conditions } };
  }
}

interface WriteAnswer {
  readonly Attributes?: Item | undefined;
  readonly ConsumedCapacity?: ConsumedCapacity | undefined;
}

async function sendWrite({ client, table, metered }: Requests, write: Write): Promise<WriteAnswer> {
  const common = { TableName: table, ReturnValuesOnConditionCheckFailure: "ALL_OLD", ...expressionsOf(write), ...metered } as const;
  switch (write.kind) {
    case "put":
      return client.send(new PutItemCommand({ ...common, Item: write.item }));
    case "update":
      return client.send(new UpdateItemCommand({ ...common, Key: keyItem(write.key), ReturnValues: "ALL_NEW" }));
    case "delete":
      return client.send(new DeleteItemCommand({ ...common, Key: keyItem(write.key) }));
    case "check":
      throw new Error("a check alone writes nothing: read the item");
  }
}
