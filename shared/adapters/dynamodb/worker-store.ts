/** WorkerStore on DynamoDB. The room a worker has changes in assign and settle of task-store.ts; see keys.ts on `room`. */
import { assert, SchedulerError } from "#domain/error.ts";
import { hasRoom, type WorkerKey } from "#domain/worker.ts";
import type { WriteOutcome } from "#ports/task-store.ts";
import type { BeatOutcome, Register, WorkerStore } from "#ports/worker-store.ts";
import type { DynamoTable, Write } from "./client.ts";
import {
  gatewayFrom,
  gatewayItem,
  type Item,
  keyItem,
  number,
  numberOf,
  phasesValue,
  text,
  textOf,
  workerFrom,
  workerItem,
} from "./codec.ts";
import * as when from "./conditions.ts";
import { readPartition, readThrough } from "./queries.ts";
import { GATEWAY_PARTITION, gatewayKey, headKey, shardsOf, spotAt, tokenKey, workerKey } from "./keys.ts";

/** An old incarnation that is removed between our read and our write makes us read again, so often at most. */
const REGISTER_ROUNDS_MAX = 3;
/** A token is kept after its end for its owner to see that it was refused for that, then swept. */
const TOKEN_KEPT_S = 3_600;

export function createDynamoWorkerStore(table: DynamoTable): WorkerStore {
  const change = async (key: WorkerKey, update: when.Fragment, condition: when.Fragment): Promise<WriteOutcome> => {
    const { kind } = await table.write({ by: "worker", index: 0, kind: "update", key: workerKey(key), update, condition });
    return kind === "refused" ? { kind, by: "worker", index: 0 } : { kind };
  };
  return {
    readHead: async (id) => {
      const item = await table.get(headKey(id));
      return item === undefined ? 0 : numberOf(item, "inc");
    },
    readWorker: async (key) => {
      const item = await table.get(workerKey(key));
      return item === undefined ? undefined : workerFrom(item);
    },
    register: (register) => registerWorker(table, register),
    connect: async (key, gateway, expiresAtMs) =>
      unmarked(
        await beat(table, key, {
          update: {
            expression: "SET #session = #session + :one, #gateway = :gateway, #expires = :expires",
            values: { ":one": number(1), ":gateway": text(gateway), ":expires": number(expiresAtMs) },
          },
          condition: when.isNotDead,
        }),
      ),
    heartbeat: async (key, now) => {
      const outcome = await beat(table, key, {
        update:
          now.phases === undefined || now.phases.size === 0
            ? { expression: "SET #beat = :beat, #expires = :expires REMOVE #phases", values: { ":expires": number(now.expiresAtMs) } }
            : {
                expression: "SET #beat = :beat, #expires = :expires, #phases = :phases",
                values: { ":expires": number(now.expiresAtMs), ":phases": phasesValue(now.phases) },
              },
        condition: when.allOf(when.isNotDead, when.sessionIs(now.session), when.beatBelow(now.beat)),
      });
      if (outcome.kind === "done" && outcome.room && !hasRoom(outcome.worker)) await leaveRoom(table, key);
      return unmarked(outcome);
    },
    drain: (key) =>
      change(key, { expression: "SET #state = :draining REMOVE #room", values: { ":draining": text("DRAINING") } }, when.isReady),
    markDead: (key, seen) => change(key, { expression: "SET #state = :dead REMOVE #room" }, when.allOf(when.isNotDead, when.beatIs(seen))),
    removeDead: async (key) => {
      const condition = when.allOf(when.isDead, when.hasNoLeases);
      const { kind } = await table.write({ by: "worker", index: 0, kind: "delete", key: workerKey(key), condition });
      return kind === "refused" ? { kind, by: "worker", index: 0 } : { kind };
    },
    // From anywhere on: schedulers that run at once see different workers first.
    workersWithRoom: (limit) => {
      const from = spotAt(table.random.next());
      return readThrough(table, { index: "room", shards: shardsOf("R"), limit, from, read: workerFrom, accept: hasRoom });
    },
    liveWorkers: (limit) => readThrough(table, { index: "live", shards: shardsOf("W"), limit, read: workerFrom, accept: () => true }),
    ...tokens(table),
    ...gateways(table),
  };
}

type MarkedBeat = BeatOutcome & { readonly room?: boolean };

/** `room`: the item is in the `room` index. */
async function beat(
  table: DynamoTable,
  key: WorkerKey,
  write: { readonly update: when.Fragment; readonly condition: when.Fragment },
): Promise<MarkedBeat> {
  const outcome = await table.write({ by: "worker", index: 0, kind: "update", key: workerKey(key), ...write });
  if (outcome.kind === "unknown") return outcome;
  const { item } = outcome;
  if (outcome.kind === "refused") return { kind: "refused", worker: item === undefined ? undefined : workerFrom(item) };
  assert(item !== undefined, "an update answers with the item");
  return { kind: "done", worker: workerFrom(item), room: item.room !== undefined };
}

const unmarked = (outcome: MarkedBeat): BeatOutcome => (outcome.kind === "done" ? { kind: "done", worker: outcome.worker } : outcome);

/** A hint's upkeep: its outcome doesn't matter. */
async function leaveRoom(table: DynamoTable, key: WorkerKey): Promise<void> {
  await table.write({
    by: "worker",
    index: 0,
    kind: "update",
    key: workerKey(key),
    update: { expression: "REMOVE #room" },
    condition: when.hasNoRoom,
  });
}

async function registerWorker(table: DynamoTable, { worker, expectHead }: Register): Promise<WriteOutcome> {
  const { id, incarnation } = worker.key;
  assert(incarnation === expectHead + 1, "the new incarnation is head + 1");
  assert(
    worker.leases.size === 0 && worker.state === "READY" && worker.session === 0,
    "a new incarnation is READY, in session 0, without leases",
  );
  const by = { by: "worker", index: 0 } as const;
  const oldKey = workerKey({ id, incarnation: expectHead });
  const head: Write = { ...by, kind: "put", item: headItem(worker.key), condition: when.headIs(expectHead) };
  const put: Write = { ...by, kind: "put", item: workerItem(worker), condition: when.absent };
  const kill: Write = {
    ...by,
    index: 1,
    kind: "update",
    key: oldKey,
    update: { expression: "SET #state = :dead REMOVE #room", values: { ":dead": text("DEAD") } },
    condition: when.present,
  };
  for (let round = 0; round < REGISTER_ROUNDS_MAX; round++) {
    const old = expectHead === 0 ? undefined : await table.get(oldKey);
    const outcome = await table.transact(old === undefined ? [head, put] : [head, put, kill]);
    if (outcome.kind !== "refused" || outcome.index !== kill.index) return outcome;
  }
  return { kind: "unknown" };
}

const headItem = (key: WorkerKey): Item => ({ ...keyItem(headKey(key.id)), inc: number(key.incarnation) });

function tokens(table: DynamoTable): Pick<WorkerStore, "putToken" | "useToken"> {
  return {
    putToken: async ({ hash, pool, expiresAtMs }) => {
      const item: Item = {
        ...keyItem(tokenKey(hash)),
        pool: text(pool),
        expires: number(expiresAtMs),
        ttl: number(Math.ceil(expiresAtMs / 1000) + TOKEN_KEPT_S),
      };
      const { kind } = await table.write({ by: "worker", index: 0, kind: "put", item, condition: when.absent });
      return kind === "refused" ? { kind, by: "worker", index: 0 } : { kind };
    },
    useToken: async (hash, nowMs) => {
      const outcome = await table.write({
        by: "worker",
        index: 0,
        kind: "update",
        key: tokenKey(hash),
        update: { expression: "SET #used = :nowMs" },
        condition: when.isUsableToken(nowMs), // W3
      });
      if (outcome.kind === "unknown")
        throw new SchedulerError("outcome-unknown", "the token may have been used up; register with a new one");
      return outcome.kind === "done" && outcome.item !== undefined ? { pool: textOf(outcome.item, "pool") } : undefined;
    },
  };
}

function gateways(table: DynamoTable): Pick<WorkerStore, "putGateway" | "removeGateway" | "gateways"> {
  const certain = (kind: string): void => {
    if (kind === "unknown")
      throw new SchedulerError("outcome-unknown", "the gateway's item may not have been written; it is written again at the next beat");
  };
  return {
    putGateway: async (gateway) => certain((await table.write({ by: "worker", index: 0, kind: "put", item: gatewayItem(gateway) })).kind),
    removeGateway: async (id) => certain((await table.write({ by: "worker", index: 0, kind: "delete", key: gatewayKey(id) })).kind),
    gateways: async () => (await readPartition(table, GATEWAY_PARTITION)).map(gatewayFrom),
  };
}
