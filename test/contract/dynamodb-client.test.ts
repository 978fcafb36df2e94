/** What the DynamoDB client makes of lost answers, contention and throttling: it never claims what it can't know. */
import { createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import {
  ConditionalCheckFailedException,
  type DynamoDBClient,
  InternalServerError,
  ProvisionedThroughputExceededException,
  TransactionCanceledException,
  TransactionConflictException,
} from "@aws-sdk/client-dynamodb";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDynamoClient, createDynamoTable, meaningOf, type Used, type Write } from "#adapters/dynamodb/client.ts";
import { keyItem, number, text } from "#adapters/dynamodb/codec.ts";
import { absent, present } from "#adapters/dynamodb/conditions.ts";
import type { Clock } from "#ports/clock.ts";
import { type DynamoState, openDynamoState } from "../support/dynamo-state.ts";
import { type Emulator, hasDynoxide, startDynoxide } from "../support/emulators/dynoxide.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { anAssign, anExperiment, anUnbornSegment, aSet, aSettle, aWorker, NOW_MS, range } from "../support/state.ts";

const metadata = { $metadata: {}, message: "planted" };
const KEY = { pk: "A", sk: "A" };
const PUT: Write = { by: "segment", index: 3, kind: "put", item: { ...keyItem(KEY), n: number(1) }, condition: absent };
const CHECK: Write = { by: "gate", index: 0, kind: "check", key: { pk: "B", sk: "B" }, condition: present };

interface Sent {
  readonly name: string;
  readonly input: { readonly ClientRequestToken?: string };
}

/** A client that meets `faults` one after the other, then answers `answer`. */
function faulty(faults: readonly unknown[], answer: object = {}) {
  const sent: Sent[] = [];
  const slept: number[] = [];
  const client = {
    send: async (command: { constructor: { name: string }; input: Sent["input"] }) => {
      sent.push({ name: command.constructor.name, input: command.input });
      const fault = faults[sent.length - 1];
      if (fault !== undefined) throw fault;
      return answer;
    },
  } as unknown as DynamoDBClient;
  const clock: Clock = { now: () => NOW_MS, sleep: async (ms) => void slept.push(ms) };
  let draws = 0;
  const random = { next: () => 0.5, bytes: (n: number) => new Uint8Array(n).fill(++draws) };
  return { table: createDynamoTable({ client, table: "t", clock, random }), sent, slept };
}

const canceled = (...codes: string[]) =>
  new TransactionCanceledException({ ...metadata, CancellationReasons: codes.map((Code) => ({ Code })) });
const conflict = canceled("None", "TransactionConflict");
const timeout = Object.assign(new Error("planted"), { name: "TimeoutError" });
const reset = Object.assign(new Error("planted"), { code: "ECONNRESET" });
const crash = new InternalServerError(metadata);

describe("transactions", () => {
  it("names the first item that refuses", async () => {
    const { table } = faulty([canceled("None", "ConditionalCheckFailed", "ConditionalCheckFailed")]);
    expect(await table.transact([CHECK, PUT, { ...PUT, by: "lease", index: 4 }])).toEqual({ kind: "refused", by: "segment", index: 3 });
  });

  it("is refused although another item is contended", async () => {
    const { table, sent } = faulty([canceled("ConditionalCheckFailed", "TransactionConflict")]);
    expect(await table.transact([CHECK, PUT])).toEqual({ kind: "refused", by: "gate", index: 0 });
    expect(sent).toHaveLength(1);
  });

  it("tries again after contention, with full jitter and a new token each time", async () => {
    const throttled = canceled("ThrottlingError", "None");
    const { table, sent, slept } = faulty([conflict, throttled, conflict]);
    expect(await table.transact([CHECK, PUT])).toEqual({ kind: "done" });
    expect(slept).toEqual([10, 20, 40]);
    expect(new Set(sent.map((s) => s.input.ClientRequestToken)).size).toBe(4);
  });

  it("is unknown after six tries more", async () => {
    const { table, sent, slept } = faulty(Array.from({ length: 9 }, () => conflict));
    expect(await table.transact([CHECK, PUT])).toEqual({ kind: "unknown" });
    expect(sent).toHaveLength(7);
    expect(slept).toEqual([10, 20, 40, 80, 160, 320]);
  });

  it.each([
    ["timeout", timeout],
    ["reset", reset],
    ["crash", crash],
  ])("sends the same bytes under the same token once more after a %s", async (_, fault) => {
    const { table, sent } = faulty([fault]);
    expect(await table.transact([CHECK, PUT])).toEqual({ kind: "done" });
    expect(sent[0]).toEqual(sent[1]);
  });

  it("does not believe a refusal that follows a lost answer: the first may have been applied", async () => {
    for (const second of [canceled("ConditionalCheckFailed", "None"), conflict, timeout, reset]) {
      const { table, sent } = faulty([timeout, second]);
      expect(await table.transact([CHECK, PUT])).toEqual({ kind: "unknown" });
      expect(sent).toHaveLength(2);
    }
  });

  it("throws what is our own mistake", async () => {
    const { table } = faulty([canceled("ValidationError", "None")]);
    await expect(table.transact([CHECK, PUT])).rejects.toBeInstanceOf(TransactionCanceledException);
  });
});

describe("single writes", () => {
  it("gives the item that refused", async () => {
    const { table } = faulty([new ConditionalCheckFailedException({ ...metadata, Item: { n: number(2) } })]);
    expect(await table.write(PUT)).toEqual({ kind: "refused", item: { n: number(2) } });
  });

  it("tries again after contention and throttling", async () => {
    const { table, slept } = faulty([new TransactionConflictException(metadata), new ProvisionedThroughputExceededException(metadata)]);
    expect(await table.write(PUT)).toEqual({ kind: "done" });
    expect(slept).toEqual([10, 20]);
  });

  it("is unknown at once after a lost answer: there is no token", async () => {
    for (const fault of [timeout, reset, crash]) {
      const { table, sent } = faulty([fault]);
      expect(await table.write(PUT)).toEqual({ kind: "unknown" });
      expect(sent).toHaveLength(1);
    }
  });

  it("tries again when nobody listens: nothing was sent", async () => {
    const refused = Object.assign(new Error("planted"), { code: "ECONNREFUSED" });
    expect(meaningOf(refused)).toBe("again");
    const { table } = faulty([refused]);
    expect(await table.write(PUT)).toEqual({ kind: "done" });
  });
});

describe("reads", () => {
  it("are tried again after anything, then say unavailable", async () => {
    expect(await faulty([timeout, crash, reset], { Item: { n: number(1) } }).table.get(KEY)).toEqual({ n: number(1) });
    await expect(faulty(Array.from({ length: 9 }, () => timeout)).table.get(KEY)).rejects.toMatchObject({ kind: "unavailable" });
  });

  it("reads again what a batch left over, and gives up in the end", async () => {
    const left = { Responses: {}, UnprocessedKeys: { t: { Keys: [keyItem(KEY)] } } };
    await expect(faulty([], left).table.getAll([KEY])).rejects.toMatchObject({ kind: "unavailable" });
  });
});

describe("connections", () => {
  const listening = async (server: {
    listen(port: number, host: string, up: () => void): unknown;
    address(): AddressInfo | string | null;
  }) => {
    await new Promise<void>((up) => server.listen(0, "127.0.0.1", up));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  const tableAt = (endpoint: string) => {
    const client = createDynamoClient({ endpoint, credentials: { accessKeyId: "a", secretAccessKey: "b" }, requestTimeoutMs: 100 });
    const random = { next: () => 0, bytes: (n: number) => new Uint8Array(n) };
    return createDynamoTable({ client, table: "t", clock: { now: () => 0, sleep: async () => {} }, random });
  };

  it("is unknown when the server takes the request and says nothing", async () => {
    const server = createTcpServer(() => {});
    const table = tableAt(await listening(server));
    const startedMs = performance.now();
    expect(await table.write(PUT)).toEqual({ kind: "unknown" });
    expect(performance.now() - startedMs).toBeLessThan(5_000);
    server.close();
  });

  it("is unknown when the server hangs up or answers 500", async () => {
    const rude = createTcpServer((socket) => socket.once("data", () => socket.destroy()));
    expect(await tableAt(await listening(rude)).write(PUT)).toEqual({ kind: "unknown" });
    rude.close();
    const broken = createServer((_, response) => response.writeHead(503).end("sorry"));
    expect(await tableAt(await listening(broken)).write(PUT)).toEqual({ kind: "unknown" });
    broken.close();
  });
});

describe.runIf(hasDynoxide)("on dynoxide", () => {
  let dynoxide: Emulator;
  let state: DynamoState;
  const used: Used[] = [];
  beforeAll(async () => {
    dynoxide = await startDynoxide();
    state = await openDynamoState({ endpoint: dynoxide.endpoint, clock: createFakeClock(), onCapacity: (u) => used.push(u) });
  });
  afterAll(async () => {
    await state[Symbol.asyncDispose]();
    await dynoxide[Symbol.asyncDispose]();
  });

  it("applies a transaction once although its answer is lost", async () => {
    let lost = 0;
    const client = {
      send: async (command: Parameters<DynamoDBClient["send"]>[0]) => {
        const answer = await state.client.send(command);
        if (lost++ === 0) throw timeout;
        return answer;
      },
    } as unknown as DynamoDBClient;
    const table = createDynamoTable({ client, table: state.name, clock: state.table.clock, random: state.table.random });
    const key = { pk: "count", sk: "count" };
    await state.table.write({ by: "set", index: 0, kind: "put", item: { ...keyItem(key), n: number(0) } });
    const add: Write = {
      by: "set",
      index: 0,
      kind: "update",
      key,
      update: { expression: "ADD #n :one", values: { ":one": number(1) } },
      condition: present,
    };
    const outcome = await table.transact([add]);
    const stored = (await state.table.get(key))?.n;
    // An endpoint that keeps tokens answers the repetition with success; one that does not would add twice, so it must be the former.
    expect({ outcome, stored }).toEqual({ outcome: { kind: "done" }, stored: number(1) });
  });

  it("counts the units of an assignment and of a settlement", async () => {
    const { tasks, workers } = state;
    await tasks.createExperiment(anExperiment(), [aSet()]);
    await workers.register({ worker: aWorker(), expectHead: 0 });
    const spent = async (act: () => Promise<unknown>): Promise<number> => {
      used.length = 0;
      expect(await act()).toEqual({ kind: "done" });
      return used.reduce((sum, u) => sum + u.writeUnits, 0);
    };
    const born = anAssign({ segment: anUnbornSegment(), born: false }, [{ worker: aWorker().key, hold: range(0, 64) }]);
    const units = { birth: await spent(() => tasks.assign(born)), assign: 0, settle: 0 };
    const more = anAssign({ segment: born.segment.post, born: true }, [{ worker: aWorker().key, hold: range(64, 128) }]);
    units.assign = await spent(() => tasks.assign(more));
    units.settle = await spent(() => tasks.settle(aSettle(more.segment.post, [...more.leases], { give: range(64, 128) })));
    expect(used.map((u) => u.payers)).toEqual([[anExperiment().id]]);
    used.length = 0;
    expect(await tasks.assign(more), "the segment has another version by now").toMatchObject({ kind: "refused" });
    expect(used, "a refused transaction costs two units an item").toEqual([{ readUnits: 0, writeUnits: 8, payers: [anExperiment().id] }]);
    console.log(`write units: ${JSON.stringify(units)}`);
    expect(units.assign).toBeLessThanOrEqual(10);
    expect(units.birth).toBeLessThanOrEqual(12);
    expect(units.settle).toBeLessThanOrEqual(8);
  });

  it("knows nothing of a table that is not there", async () => {
    const table = createDynamoTable({ client: state.client, table: "nowhere", clock: state.table.clock, random: state.table.random });
    await expect(table.get({ pk: "a", sk: "b" })).rejects.toMatchObject({ name: "ResourceNotFoundException" });
    await expect(table.write({ ...PUT, item: { ...keyItem(KEY), s: text("x") } })).rejects.toMatchObject({
      name: "ResourceNotFoundException",
    });
  });
});
