/** The sparse indexes hold no more than they must: what is in them costs a read, what changes in them costs a write. */
import { QueryCommand } from "@aws-sdk/client-dynamodb";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { INDEXES, type IndexName, shardsOf } from "#adapters/dynamodb/keys.ts";
import type { Lease } from "#domain/lease.ts";
import { type DynamoState, openDynamoState } from "../support/dynamo-state.ts";
import { type Emulator, hasDynoxide, startDynoxide } from "../support/emulators/dynoxide.ts";
import { anAssign, anExperiment, anUnbornSegment, aSet, aSettle, aWorker, experimentId, NOW_MS, range, SLOT } from "../support/state.ts";

const W1 = aWorker().key;
const FULL = { ...SLOT, cpuMilli: aWorker().free.cpuMilli };

describe.runIf(hasDynoxide)("sparse indexes", () => {
  let dynoxide: Emulator;
  let state: DynamoState;
  beforeAll(async () => {
    dynoxide = await startDynoxide();
  });
  afterAll(() => dynoxide[Symbol.asyncDispose]());
  beforeEach(async () => {
    state = await openDynamoState({ endpoint: dynoxide.endpoint });
    await state.tasks.createExperiment(anExperiment(), [aSet()]);
    await state.workers.register({ worker: aWorker(), expectHead: 0 });
    return () => state[Symbol.asyncDispose]();
  });

  /** How many items an index names. */
  const sizeOf = async (index: IndexName, shards: readonly string[]): Promise<number> => {
    const ask = (shard: string) =>
      state.client.send(
        new QueryCommand({
          TableName: state.name,
          IndexName: index,
          KeyConditionExpression: "#hash = :shard",
          ExpressionAttributeNames: { "#hash": INDEXES[index].hash },
          ExpressionAttributeValues: { ":shard": { S: shard } },
        }),
      );
    return (await Promise.all(shards.map(ask))).reduce((sum, page) => sum + (page.Count ?? 0), 0);
  };
  const room = () => sizeOf("room", shardsOf("R"));
  const beat = (n: number) => state.workers.heartbeat(W1, { session: 0, beat: n, expiresAtMs: NOW_MS });
  const fill = async (): Promise<Lease> => {
    const change = anAssign({ segment: anUnbornSegment(), born: false }, [{ worker: W1, hold: range(0, 1), reserved: FULL }]);
    expect(await state.tasks.assign(change)).toEqual({ kind: "done" });
    return change.leases[0] as Lease;
  };
  const give = async (lease: Lease) => {
    const segment = await state.tasks.readSegment(lease.key);
    if (segment === undefined) throw new Error("no segment");
    expect(await state.tasks.settle(aSettle(segment, [lease], { give: lease.hold }))).toEqual({ kind: "done" });
  };

  it("names a full worker until its next beat, and again from the moment it has room", async () => {
    const lease = await fill();
    expect(await room()).toBe(1);
    await beat(1);
    expect(await room()).toBe(0);
    await give(lease);
    expect(await room()).toBe(1);
    await beat(2);
    expect(await room()).toBe(1);
  });

  it("names no worker that drains or is dead, but for one that a settlement put back until it beats", async () => {
    const lease = await fill();
    await state.workers.drain(W1);
    expect(await room()).toBe(0);
    await give(lease);
    expect(await room()).toBe(1);
    expect(await state.workers.workersWithRoom(5)).toEqual([]);
    await beat(1);
    expect(await room()).toBe(0);
    await state.workers.markDead(W1, 1);
    expect(await room()).toBe(0);
    expect(await sizeOf("live", shardsOf("W"))).toBe(1);
    await state.workers.removeDead(W1);
    expect(await sizeOf("live", shardsOf("W"))).toBe(0);
  });

  it("does not name a worker whose old incarnation was replaced", async () => {
    await state.workers.register({ worker: aWorker({ key: { ...W1, incarnation: 2 } }), expectHead: 1 });
    expect(await room()).toBe(1);
    await state.workers.markDead({ ...W1, incarnation: 2 }, 0);
    expect(await room()).toBe(0);
  });

  it("name live experiments and open segments only", async () => {
    const open = () => sizeOf("open", [experimentId(1)]);
    expect(await open()).toBe(0);
    const all = anAssign({ segment: anUnbornSegment(), born: false }, [{ worker: W1, hold: range(0, 4096) }]);
    await state.tasks.assign(all);
    expect(await open()).toBe(0);
    await give(all.leases[0] as Lease);
    expect(await open()).toBe(1);
    expect(await sizeOf("live", shardsOf("X"))).toBe(1);
    await state.tasks.turn({ post: anExperiment({ version: 2, status: "CANCELED", live: false }), expectVersion: 1 });
    expect(await sizeOf("live", shardsOf("X"))).toBe(0);
  });
});
