import { describe, expect, it } from "vitest";
import { createMemoryMessageQueue } from "#adapters/memory/message-queue.ts";
import { createDeadLetters } from "#core/dead-letters/index.ts";
import { SchedulerError } from "#domain/error.ts";
import { createFakeClock } from "../support/fake-clock.ts";

const HOUR_MS = 3_600_000;

/** `dead` messages of the queue `orders` that were given out once and never removed. */
async function withDead(dead: number) {
  const clock = createFakeClock();
  const messages = createMemoryMessageQueue({ clock, receivesMax: 1 });
  for (let i = 0; i < dead; i++) await messages.send("orders", `poison ${i}`);
  const receive = (limit = 10) => messages.receive("orders", { limit, waitMs: 0, visibilityMs: 1_000 });
  for (let given = 0; given < dead; ) given += (await receive()).length;
  await clock.advance(1_000);
  await receive();
  return { clock, messages, letters: createDeadLetters({ messages, queues: async () => ["orders", "others"] }) };
}

describe("dead letters", () => {
  it("are listed by queue with how many there are and some of them, and looking changes nothing", async () => {
    const { letters } = await withDead(12);
    for (let look = 0; look < 3; look++) {
      const [orders, ...others] = await letters.list();
      expect(others).toEqual([]);
      expect(orders).toMatchObject({ queue: "orders", messages: 12 });
      expect(orders?.some).toHaveLength(10);
      expect(orders?.some[0]).toMatchObject({ body: "poison 0" });
    }
    expect(await letters.count()).toBe(12);
  });

  it("are cut when they are long", async () => {
    const { messages, letters } = await withDead(0);
    await messages.send("orders-dead", "x".repeat(10_000));
    expect((await letters.list())[0]?.some[0]?.body).toHaveLength(500);
  });

  it("go back to their queue, at most so many, and live there anew", async () => {
    const { clock, messages, letters } = await withDead(12);
    expect(await letters.redrive("orders", 11)).toEqual({ moved: 11, left: 1 });
    expect(await letters.redrive("orders", 1_000)).toEqual({ moved: 1, left: 0 });
    expect(await letters.redrive("orders", 1_000)).toEqual({ moved: 0, left: 0 });
    expect(await letters.count()).toBe(0);
    expect(await messages.depth("orders")).toBe(12);
    await clock.advance(HOUR_MS);
    const [first] = await messages.receive("orders", { limit: 1, waitMs: 0, visibilityMs: 1_000 });
    expect(first).toMatchObject({ receives: 1 });
  });

  it("stay where they are when the queue does not take them", async () => {
    const { clock, messages } = await withDead(3);
    const refusing = { ...messages, send: () => Promise.reject(new SchedulerError("unavailable", "not now")) };
    const letters = createDeadLetters({ messages: refusing, queues: async () => ["orders"] });
    await expect(letters.redrive("orders", 10)).rejects.toMatchObject({ kind: "unavailable" });
    await clock.advance(HOUR_MS);
    expect(await messages.depth("orders-dead")).toBe(3);
  });

  it("of a queue that is not there are not found; one that was never made has none", async () => {
    const { letters, messages } = await withDead(0);
    await expect(letters.redrive("nobody", 1)).rejects.toMatchObject({ kind: "not-found" });
    const missing = { ...messages, depth: () => Promise.reject(new SchedulerError("not-found", "no such queue")) };
    expect(await createDeadLetters({ messages: missing, queues: async () => ["orders"] }).list()).toEqual([]);
  });
});
