/** The DynamoDB stores when answers get lost: applied or not, nobody is told what is not so (G2). */
import { DeleteItemCommand, type DynamoDBClient, GetItemCommand, PutItemCommand } from "@aws-sdk/client-dynamodb";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createDynamoAccountStore } from "#adapters/dynamodb/account-store.ts";
import { createDynamoTable, type DynamoTable } from "#adapters/dynamodb/client.ts";
import { keyItem, number } from "#adapters/dynamodb/codec.ts";
import { createDynamoIdempotencyStore } from "#adapters/dynamodb/idempotency-store.ts";
import { createDynamoInputStore } from "#adapters/dynamodb/input-store.ts";
import { FORMAT_KEY, workerKey } from "#adapters/dynamodb/keys.ts";
import { createDynamoResourceStore } from "#adapters/dynamodb/resource-store.ts";
import { createTable } from "#adapters/dynamodb/table.ts";
import { createDynamoTaskStore } from "#adapters/dynamodb/task-store.ts";
import { createDynamoWorkerStore } from "#adapters/dynamodb/worker-store.ts";
import { makeId } from "#domain/id.ts";
import type { Resource } from "#domain/resource.ts";
import { type DynamoState, openDynamoState } from "../support/dynamo-state.ts";
import { type Emulator, hasDynoxide, startDynoxide } from "../support/emulators/dynoxide.ts";
import {
  aCommit,
  anAssign,
  anExperiment,
  anUnbornSegment,
  aSet,
  aWorker,
  experimentId,
  gatewayId,
  NOW_MS,
  range,
  userId,
} from "../support/state.ts";

type Command = Parameters<DynamoDBClient["send"]>[0];

const timeout = Object.assign(new Error("planted"), { name: "TimeoutError" });
const isWrite = (command: Command) => /Put|Update|Delete|Transact/.test(command.constructor.name);
const W1 = aWorker().key;
const E1 = experimentId(1);

describe.runIf(hasDynoxide)("lost answers", () => {
  let dynoxide: Emulator;
  let state: DynamoState;
  beforeAll(async () => {
    dynoxide = await startDynoxide();
  });
  afterAll(() => dynoxide[Symbol.asyncDispose]());
  beforeEach(async () => {
    state = await openDynamoState({ endpoint: dynoxide.endpoint });
    return () => state[Symbol.asyncDispose]();
  });

  /** The same table, where each write times out: `after` it was applied, or `before` it was sent. */
  const losing = (when: "before" | "after"): DynamoTable =>
    tableWith(async (command, send) => {
      if (!isWrite(command)) return send();
      if (when === "after") await send().catch(() => undefined);
      throw timeout;
    });
  const tableWith = (through: (command: Command, send: () => Promise<unknown>) => Promise<unknown>): DynamoTable => {
    const client = { send: (command: Command) => through(command, () => state.client.send(command)) } as unknown as DynamoDBClient;
    return createDynamoTable({ client, table: state.name, clock: state.table.clock, random: state.table.random });
  };

  it.each(["before", "after"] as const)("leave every write of the task store unknown, %s it was applied", async (when) => {
    const { tasks, workers } = state;
    const lost = createDynamoTaskStore(losing(when));
    const unknown = { kind: "unknown" };
    expect(await lost.createExperiment(anExperiment(), [aSet()])).toEqual(unknown);
    expect(await tasks.readExperiment(E1)).toEqual(when === "after" ? anExperiment() : undefined);
    if (when === "before") await tasks.createExperiment(anExperiment(), [aSet()]);
    await workers.register({ worker: aWorker(), expectHead: 0 });
    const change = anAssign({ segment: anUnbornSegment(), born: false }, [{ worker: W1, hold: range(0, 5) }]);
    expect(await lost.assign(change)).toEqual(unknown);
    if (when === "before") await tasks.assign(change);
    const lease = change.leases[0];
    if (lease === undefined) throw new Error("no lease");
    expect(await lost.commit(aCommit(lease, range(0, 3)))).toEqual(unknown);
    expect((await tasks.readLease(lease.key))?.rev).toBe(when === "after" ? 1 : 0);
    expect(await lost.turn({ post: anExperiment({ version: 2, status: "PAUSED" }), expectVersion: 1 })).toEqual(unknown);
    expect((await tasks.readGate(E1, 0))?.status).toBe(when === "after" ? "PAUSED" : "RUNNING");
  });

  it.each(["before", "after"] as const)("leave every write of the worker store unknown, %s it was applied", async (when) => {
    const { workers } = state;
    const lost = createDynamoWorkerStore(losing(when));
    const unknown = { kind: "unknown" };
    expect(await lost.register({ worker: aWorker(), expectHead: 0 })).toEqual(unknown);
    expect(await workers.readHead(W1.id)).toBe(when === "after" ? 1 : 0);
    if (when === "before") await workers.register({ worker: aWorker(), expectHead: 0 });
    expect(await lost.connect(W1, gatewayId(1), NOW_MS)).toEqual(unknown);
    expect(await lost.heartbeat(W1, { session: when === "after" ? 1 : 0, beat: 1, expiresAtMs: NOW_MS })).toEqual(unknown);
    expect(await lost.drain(W1)).toEqual(unknown);
    expect(await lost.markDead(W1, when === "after" ? 1 : 0)).toEqual(unknown);
    expect((await workers.readWorker(W1))?.state).toBe(when === "after" ? "DEAD" : "READY");
    expect(await lost.removeDead(W1)).toEqual(unknown);
    expect(await lost.putToken({ hash: "f", pool: "p", expiresAtMs: NOW_MS })).toEqual(unknown);
    await expect(lost.useToken("f", 0)).rejects.toMatchObject({ kind: "outcome-unknown" });
    await expect(lost.removeGateway(gatewayId(1))).rejects.toMatchObject({ kind: "outcome-unknown" });
  });

  it("are looked up by the smaller stores, who then know", async () => {
    const lost = losing("after");
    const user = { id: userId(1), name: "ada", disabled: false, era: 0, profile: {}, createdAtMs: NOW_MS, version: 1 };
    expect(await createDynamoAccountStore(lost).createUser(user)).toBe("done");
    expect(await createDynamoAccountStore(lost).createUser({ ...user, id: userId(2) })).toBe("name");
    const input = { sha256: "a", bytes: 1 };
    expect(await createDynamoInputStore(lost).pin(E1, "s", "p", input)).toEqual(input);
    expect(await createDynamoInputStore(lost).pin(E1, "s", "p", { sha256: "b", bytes: 2 })).toEqual(input);
    const laterMs = state.table.clock.now() + 60_000;
    const claim = { user: "ada", key: "k", fingerprint: "f", nonce: "1" };
    expect(await createDynamoIdempotencyStore(lost).begin(claim, laterMs)).toEqual({ kind: "taken", seed: "1" });
    expect(await createDynamoIdempotencyStore(lost).begin({ ...claim, nonce: "2" }, laterMs)).toEqual({ kind: "held", fingerprint: "f" });
  });

  it("are said to be unknown by the smaller stores where nothing is found", async () => {
    const lost = losing("before");
    const user = { id: userId(1), name: "ada", disabled: false, era: 0, profile: {}, createdAtMs: NOW_MS, version: 1 };
    const resource: Resource = {
      id: makeId("resource", 0, new Uint8Array(10)),
      name: "local",
      owner: userId(1),
      createdAtMs: 0,
      kind: "LOCAL",
    };
    const unknown = { kind: "outcome-unknown" };
    await expect(createDynamoAccountStore(lost).createUser(user)).rejects.toMatchObject(unknown);
    await expect(createDynamoInputStore(lost).pin(E1, "s", "p", { sha256: "a", bytes: 1 })).rejects.toMatchObject(unknown);
    const claim = { user: "ada", key: "k", fingerprint: "f", nonce: "1" };
    await expect(createDynamoIdempotencyStore(lost).begin(claim, 1)).rejects.toMatchObject(unknown);
    await expect(createDynamoIdempotencyStore(lost).finish(claim, { status: 1, body: "" }, 1)).rejects.toMatchObject(unknown);
    await expect(createDynamoResourceStore(lost).putResource(resource)).rejects.toMatchObject(unknown);
  });

  it("registers although the old incarnation is removed in the middle", async () => {
    const { workers } = state;
    await workers.register({ worker: aWorker(), expectHead: 0 });
    let removed = false;
    const table = tableWith(async (command, send) => {
      const answer = await send();
      if (command instanceof GetItemCommand && !removed) {
        removed = true;
        await state.client.send(new DeleteItemCommand({ TableName: state.name, Key: keyItem(workerKey(W1)) }));
      }
      return answer;
    });
    const second = aWorker({ key: { ...W1, incarnation: 2 } });
    expect(await createDynamoWorkerStore(table).register({ worker: second, expectHead: 1 })).toEqual({ kind: "done" });
    expect(removed).toBe(true);
    expect(await workers.readWorker(W1)).toBeUndefined();
    expect(await workers.readWorker(second.key)).toEqual(second);
  });

  it("open a table that is there, eight at once, and refuse one of another format", async () => {
    await Promise.all(Array.from({ length: 8 }, () => createTable(state.client, state.name)));
    await Promise.all(Array.from({ length: 8 }, () => createTable(state.client, `${state.name}-new`)));
    const newer = { ...keyItem(FORMAT_KEY), format: number(2) };
    await state.client.send(new PutItemCommand({ TableName: state.name, Item: newer }));
    await expect(createTable(state.client, state.name)).rejects.toMatchObject({ kind: "version-mismatch" });
    expect(await state.table.get(FORMAT_KEY)).toEqual(newer);
  });
});
