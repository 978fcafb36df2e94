/** The meter of a process: who pays, when it is written, and that nothing counts twice. */
import { describe, expect, test } from "vitest";
import { createMemoryCostStore } from "#adapters/memory/cost-store.ts";
import { createMeteredMessageQueue } from "#adapters/metered/message-queue.ts";
import { createMeteredObjectStore } from "#adapters/metered/object-store.ts";
import { createMemoryMessageQueue } from "#adapters/memory/message-queue.ts";
import { createMemoryObjectStore } from "#adapters/memory/object-store.ts";
import { createAsyncScope } from "#adapters/system/scope.ts";
import { costOf, createMeter, type Setting } from "#core/costs/index.ts";
import { amountOf, METERED_KINDS, PRICES, shares } from "#domain/cost.ts";
import type { CostStore } from "#ports/cost-store.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { experimentId } from "../support/state.ts";

const [first, second, third] = [experimentId(1), experimentId(2), experimentId(3)];

function aMeter(store: CostStore = createMemoryCostStore()) {
  const clock = createFakeClock();
  let made = 0;
  const random = { next: () => 0, bytes: (n: number) => new Uint8Array(n).fill(++made) };
  const nothing = (): void => undefined;
  const logger = { debug: nothing, info: nothing, warn: nothing, error: nothing, child: () => logger };
  const meter = createMeter({ store, scope: createAsyncScope<Setting>(), clock, random, logger });
  return { meter, store, clock };
}

describe("prices", () => {
  test("make amounts in whole nano-dollars", () => {
    expect(amountOf("write-units", 1_000_000)).toBe(625);
    expect(amountOf("read-units", 500_000)).toBe(62);
    expect(amountOf("write-units", 1_000_000 * 1_000_000)).toBe(625_000_000);
    expect(amountOf("function-gb-seconds", 1_000_000)).toBe(16_666);
    for (const kind of METERED_KINDS) expect(PRICES[kind].source).toMatch(/^https:\/\/aws\.amazon\.com\//);
  });

  test("sum up to what the lines say", () => {
    const cost = costOf({ "write-units": 1_600_000, "message-requests": 3_000_000 });
    expect(cost.lines.map(({ kind, count, nanoUsd }) => [kind, count, nanoUsd])).toEqual([
      ["write-units", 1.6, 1_000],
      ["message-requests", 3, 1_200],
    ]);
    expect(cost.nanoUsd).toBe(2_200);
  });

  test("divided, lose nothing", () => {
    expect(shares(1_000_000, 3)).toEqual([333_334, 333_333, 333_333]);
    expect(shares(2, 3)).toEqual([1, 1, 0]);
  });
});

describe("who pays", () => {
  test("are the experiments that a request names, else those that the work is for, else the deployment", async () => {
    const { meter, store } = aMeter();
    meter.add("read-units", 3, [first, second, third]);
    await meter.charging([second, second], async () => {
      await Promise.resolve();
      meter.add("read-units", 10);
      meter.add("read-units", 5, [first]);
    });
    meter.add("read-units", 7);
    await meter.save(true);
    expect(await store.read(first)).toMatchObject({ "read-units": 6_000_000 });
    expect(await store.read(second)).toMatchObject({ "read-units": 11_000_000 });
    expect(await store.read("deployment")).toMatchObject({ "read-units": 7_000_000 });
  });

  test("of a function's time are all that were named in it", async () => {
    const { meter, store, clock } = aMeter();
    await meter.invocation({ memoryMib: 512, http: true }, () =>
      meter.charging([first], () => meter.charging([second], () => clock.advance(200))),
    );
    await meter.invocation({ memoryMib: 1_024 }, async () => undefined);
    await meter.save(true);
    const half = { "function-requests": 500_000, "function-gb-seconds": 50_000, "http-requests": 500_000 };
    expect(await store.read(first)).toMatchObject(half);
    expect(await store.read(second)).toMatchObject(half);
    expect(await store.read("deployment")).toMatchObject({ "function-requests": 1_000_000, "function-gb-seconds": 1_000 });
  });

  test("of messages and objects stand in their bodies and keys", async () => {
    const { meter, store, clock } = aMeter();
    const queue = createMeteredMessageQueue(createMemoryMessageQueue({ clock }), meter);
    await queue.send("schedule", JSON.stringify({ experiment: first }));
    await queue.send("schedule", `${second}/0/0/1`);
    const messages = await queue.receive("schedule", { limit: 10, waitMs: 0, visibilityMs: 1_000 });
    await queue.remove(
      "schedule",
      messages.map((m) => m.receipt),
    );
    const objects = createMeteredObjectStore(createMemoryObjectStore({ clock }), meter);
    await objects.putIfAbsent(`r/${first}/0/0/1/x`, new Uint8Array(1));
    await objects.get("p/plan", 1);
    await meter.save(true);
    // A send each, half of the receive and half of the delete.
    expect(await store.read(first)).toMatchObject({ "message-requests": 2_000_000, "object-puts": 1_000_000 });
    expect(await store.read(second)).toMatchObject({ "message-requests": 2_000_000 });
    expect(await store.read("deployment")).toMatchObject({ "object-gets": 1_000_000 });
  });
});

describe("saving", () => {
  test("waits ten seconds between two writes of an experiment, and its own write is counted", async () => {
    const { meter, store, clock } = aMeter();
    meter.add("read-units", 1, [first]);
    await clock.advance(9_000);
    await meter.save();
    expect(await store.read(first)).toEqual({});
    await clock.advance(1_000);
    await meter.save();
    expect(await store.read(first)).toEqual({ "read-units": 1_000_000, "write-units": 1_000_000 });
    await clock.advance(60_000);
    await meter.save();
    expect(await store.read(first), "nothing changed, nothing is written").toEqual({ "read-units": 1_000_000, "write-units": 1_000_000 });
  });

  test("goes on under another writer's name after a rest, and forgets nothing", async () => {
    const { meter, store, clock } = aMeter();
    for (let i = 0; i < 2; i++) {
      meter.add("read-units", 1, [first]);
      await meter.save(true);
      await clock.advance(900_000);
      await meter.save();
    }
    expect(await store.read(first)).toEqual({ "read-units": 2_000_000, "write-units": 2_000_000 });
  });

  test("counts once what was written without an answer, and keeps what could not be written", async () => {
    const memory = createMemoryCostStore();
    const trouble = ["lost", "refused"];
    const store: CostStore = {
      read: memory.read,
      save: async (entry) => {
        const kind = trouble.shift();
        if (kind === "refused") throw new Error("no network");
        const outcome = await memory.save(entry);
        return kind === "lost" ? "unknown" : outcome;
      },
    };
    const { meter } = aMeter(store);
    meter.add("read-units", 1, [first]);
    for (let i = 0; i < 3; i++) await meter.save(true);
    expect(await store.read(first)).toEqual({ "read-units": 1_000_000, "write-units": 3_000_000 });
    expect(meter.total()).toEqual({ "read-units": 1_000_000, "write-units": 3_000_000 });
  });
});
