/** What every MessageQueue must do; run against the memory model and each real adapter. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { MessageQueue } from "#ports/message-queue.ts";
import { startPeer } from "../support/peer.ts";
import { type QueueAddress, work } from "../support/queue-peer.ts";

export interface MessageQueueSubject {
  readonly subject: MessageQueue;
  readonly dispose: () => Promise<void>;
  /** Lets time pass for the queue; really waits unless the subject has a clock to move. */
  readonly advance?: (ms: number) => Promise<void>;
  /** It deletes by a receipt of an earlier receive, which AWS does not. */
  readonly takesOldReceipts?: true;
  /** How often a message is given out before it is dead; must be 2 here to keep the suite short. */
  readonly receivesMax: 2;
}

export interface SharedMessageQueueSubject {
  readonly subject: MessageQueue;
  readonly dispose: () => Promise<void>;
  /** How a second process reaches the same queues. */
  readonly address: QueueAddress;
}

const KIB = 1024;
const NOW = { limit: 10, waitMs: 0, visibilityMs: 30_000 };

export function describeMessageQueue(name: string, make: () => Promise<MessageQueueSubject>): void {
  describe(`MessageQueue: ${name}`, () => {
    let made: MessageQueueSubject;
    let queue: MessageQueue;
    let advance: (ms: number) => Promise<void>;
    beforeEach(async () => {
      made = await make();
      queue = made.subject;
      advance = made.advance ?? ((ms) => sleep(ms));
    });
    afterEach(() => made.dispose());

    const receiveNow = (from = "orders", visibilityMs = NOW.visibilityMs) => queue.receive(from, { ...NOW, visibilityMs });

    describe("messages", () => messageCases(() => queue, receiveNow));
    describe("visibility", () =>
      visibilityCases(() => queue, receiveNow, { advance: (ms) => advance(ms), takesOldReceipts: () => made.takesOldReceipts === true }));
    describe("waiting", () =>
      waitingCases(
        () => queue,
        (ms) => advance(ms),
      ));
    describe("limits", () => limitCases(() => queue));
  });
}

/** What holds between processes; really waits a few seconds. */
export function describeSharedMessageQueue(name: string, make: () => Promise<SharedMessageQueueSubject>): void {
  describe(`MessageQueue in two processes: ${name}`, () => {
    let made: SharedMessageQueueSubject;
    beforeEach(async () => {
      made = await make();
    });
    afterEach(() => made.dispose());
    processCases(() => made);
  });
}

type ReceiveNow = (from?: string, visibilityMs?: number) => ReturnType<MessageQueue["receive"]>;

function messageCases(queue: () => MessageQueue, receiveNow: ReceiveNow): void {
  it("gives out what was sent, unchanged", async () => {
    const body = 'línea\n"zwei" \u{1F680}\t{}';
    await queue().send("orders", body);
    const [message, ...others] = await receiveNow();
    expect(message).toMatchObject({ body, receives: 1 });
    expect(others).toEqual([]);
  });

  it("keeps queues apart", async () => {
    await queue().send("orders", "a");
    expect(await receiveNow("others")).toEqual([]);
    expect((await receiveNow("orders")).map((m) => m.body)).toEqual(["a"]);
  });

  it("gives nothing from a queue never sent to", async () => {
    expect(await receiveNow("nobody")).toEqual([]);
    expect(await queue().depth("nobody")).toBe(0);
  });

  it("gives at most `limit` messages, all of them in the end", async () => {
    await Promise.all(Array.from({ length: 25 }, (_, i) => queue().send("orders", `${i}`)));
    const seen = new Set<string>();
    for (let tries = 0; tries < 20 && seen.size < 25; tries++) {
      const got = await queue().receive("orders", { ...NOW, limit: 7 });
      expect(got.length).toBeLessThanOrEqual(7);
      for (const message of got) seen.add(message.body);
    }
    expect(seen.size).toBe(25);
  });

  it("counts messages waiting or hidden until they are removed", async () => {
    await queue().send("orders", "a");
    await queue().send("orders", "b");
    const [message] = await queue().receive("orders", { ...NOW, limit: 1 });
    expect(await queue().depth("orders")).toBe(2);
    await queue().remove("orders", [message?.receipt ?? ""]);
    expect(await queue().depth("orders")).toBe(1);
  });

  it("ignores receipts it does not know", async () => {
    await queue().send("orders", "a");
    await queue().remove("orders", ["", "nonsense", "1", "1.0", "999999.1", "-1.1", "1e3.1"]);
    await queue().remove("orders", []);
    expect(await queue().depth("orders")).toBe(1);
  });
}

interface Surroundings {
  readonly advance: (ms: number) => Promise<void>;
  readonly takesOldReceipts: () => boolean;
}

function visibilityCases(queue: () => MessageQueue, receiveNow: ReceiveNow, { advance, takesOldReceipts }: Surroundings): void {
  it("hides a received message for its visibility, then gives it out again", async () => {
    await queue().send("orders", "a");
    const [first] = await receiveNow("orders", 2_000);
    expect(await receiveNow()).toEqual([]);
    await advance(2_100);
    const [second] = await receiveNow();
    expect(second).toMatchObject({ id: first?.id, body: "a", receives: 2 });
    expect(second?.receipt).not.toBe(first?.receipt);
  });

  it("removes by a receipt whose visibility ran out, as long as nobody received the message since", async () => {
    await queue().send("orders", "a");
    const [message] = await receiveNow("orders", 1_000);
    await advance(1_100);
    await queue().remove("orders", [message?.receipt ?? ""]);
    expect(await receiveNow()).toEqual([]);
  });

  it("keeps a message that was received again from the receipt before", async () => {
    await queue().send("orders", "a");
    const [first] = await receiveNow("orders", 1_000);
    await advance(1_100);
    const [second] = await receiveNow("orders", 2_000);
    await queue().remove("orders", [first?.receipt ?? ""]);
    expect(await queue().depth("orders")).toBe(takesOldReceipts() ? 0 : 1);
    await queue().remove("orders", [second?.receipt ?? ""]);
    expect(await queue().depth("orders")).toBe(0);
  });

  it("moves a message that was given out too often to the dead-letter queue", async () => {
    await queue().send("orders", "poison");
    for (const receives of [1, 2]) {
      expect(await receiveNow("orders", 1_000)).toMatchObject([{ receives }]);
      await advance(1_100);
    }
    expect(await receiveNow()).toEqual([]);
    expect(await queue().depth("orders")).toBe(0);
    expect((await receiveNow("orders-dead", 1_000)).map((m) => m.body)).toEqual(["poison"]);
  });

  it("gives out the living behind the dead", async () => {
    for (let i = 0; i < 12; i++) await queue().send("orders", `poison ${i}`);
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 3; i++) await receiveNow("orders", 1_000);
      await advance(1_100);
    }
    await queue().send("orders", "alive");
    const alive = [...(await receiveNow()), ...(await receiveNow())].map((m) => m.body);
    expect(alive).toContain("alive");
  });

  it("gives a delayed message out when its delay is over", async () => {
    await queue().send("orders", "later", { delayMs: 2_000 });
    expect(await receiveNow()).toEqual([]);
    expect(await queue().depth("orders")).toBe(1);
    await advance(2_100);
    expect((await receiveNow()).map((m) => m.body)).toEqual(["later"]);
  });
}

function waitingCases(queue: () => MessageQueue, advance: (ms: number) => Promise<void>): void {
  const waiting = { limit: 10, waitMs: 5_000, visibilityMs: 30_000 };

  it("ends a waiting receive at the next send", async () => {
    const received = queue().receive("orders", waiting);
    await advance(10);
    await queue().send("orders", "a");
    expect((await received).map((m) => m.body)).toEqual(["a"]);
  });

  it("ends a waiting receive with none when the wait is over", async () => {
    const received = queue().receive("orders", { ...waiting, waitMs: 1_000 });
    await advance(1_100);
    expect(await received).toEqual([]);
  });

  it("ends a waiting receive when a hidden message shows again", async () => {
    await queue().send("orders", "a");
    await queue().receive("orders", { ...waiting, visibilityMs: 1_000 });
    const received = queue().receive("orders", waiting);
    await advance(1_500);
    expect(await received).toMatchObject([{ body: "a", receives: 2 }]);
  });

  it("ends a waiting receive when a delay is over", async () => {
    const received = queue().receive("orders", waiting);
    await queue().send("orders", "a", { delayMs: 1_000 });
    await advance(1_500);
    expect((await received).map((m) => m.body)).toEqual(["a"]);
  });

  it("ends early with none when the signal aborts, before and while it waits, and loses no message by that", async () => {
    expect(await queue().receive("orders", { ...waiting, signal: AbortSignal.abort() })).toEqual([]);
    const stop = new AbortController();
    const received = queue().receive("orders", { ...waiting, signal: stop.signal });
    await advance(10);
    stop.abort();
    expect(await received).toEqual([]);
    await queue().send("orders", "a");
    expect((await queue().receive("orders", waiting)).map((m) => m.body)).toEqual(["a"]);
  });

  it("gives one message to one of several that wait", async () => {
    const stop = new AbortController();
    const all = Array.from({ length: 5 }, () => queue().receive("orders", { ...waiting, signal: stop.signal }));
    await advance(10);
    await queue().send("orders", "a");
    await Promise.any(all.map(async (one) => expect(await one).toHaveLength(1)));
    stop.abort();
    expect((await Promise.all(all)).flat()).toHaveLength(1);
  });

  it("gives each of 200 messages to exactly one of eight receivers", async () => {
    const subject = queue();
    for (let i = 0; i < 200; i++) await subject.send("orders", `${i}`);
    const seen: string[] = [];
    const receiver = async (): Promise<void> => {
      for (;;) {
        const got = await subject.receive("orders", { ...NOW, limit: 3 });
        if (got.length === 0) return;
        seen.push(...got.map((m) => m.body));
        await subject.remove(
          "orders",
          got.map((m) => m.receipt),
        );
      }
    };
    await Promise.all(Array.from({ length: 8 }, receiver));
    expect(seen.length).toBe(200);
    expect(new Set(seen).size).toBe(200);
  });
}

function limitCases(queue: () => MessageQueue): void {
  it("takes a body of 256 KiB and not one byte more, counted as UTF-8", async () => {
    await queue().send("orders", "x".repeat(256 * KIB));
    await expect(queue().send("orders", "x".repeat(256 * KIB + 1))).rejects.toMatchObject({ kind: "too-large" });
    await expect(queue().send("orders", "é".repeat(128 * KIB + 1))).rejects.toMatchObject({ kind: "too-large" });
    expect(await queue().depth("orders")).toBe(1);
  });

  it.each(["", "Orders", "a_b", "a/b", "../a", "a.b", "a".repeat(61), "a\n", "ä", "a'; DROP TABLE messages; --"])(
    "refuses the queue name %j",
    async (name) => {
      const refused = { kind: "invalid-input" };
      await expect(queue().send(name, "x")).rejects.toMatchObject(refused);
      await expect(queue().receive(name, NOW)).rejects.toMatchObject(refused);
      await expect(queue().remove(name, ["1.1"])).rejects.toMatchObject(refused);
      await expect(queue().depth(name)).rejects.toMatchObject(refused);
    },
  );

  it.each([{ delayMs: -1 }, { delayMs: 900_001 }, { delayMs: 0.5 }, { delayMs: Number.NaN }])("refuses the delay %j", async (options) => {
    await expect(queue().send("orders", "x", options)).rejects.toMatchObject({ kind: "invalid-input" });
  });

  it.each([{ limit: 0 }, { limit: 11 }, { limit: 1.5 }, { waitMs: -1 }, { visibilityMs: -1 }])(
    "refuses to receive with %j",
    async (options) => {
      await expect(queue().receive("orders", { ...NOW, ...options })).rejects.toMatchObject({ kind: "invalid-input" });
    },
  );
}

function processCases(made: () => SharedMessageQueueSubject): void {
  it("lets eight receivers in two processes never hold one message at once", async () => {
    const { subject, address } = made();
    await using peer = await startPeer("queue-peer.ts", address);
    const workload = { queue: "orders", receivers: 4, holdMs: 2, idleMs: 1_000 };
    const theirs = peer.tell({ op: "work", ...workload }) as Promise<string[]>;
    const ours = work(subject, workload);
    for (let i = 0; i < 300; i++) await subject.send("orders", `${i}`);
    const held = [...(await ours), ...(await theirs)];
    expect(held.length).toBe(300);
    expect(new Set(held).size).toBe(300);
    expect((await theirs).length).toBeGreaterThan(0);
    expect((await ours).length).toBeGreaterThan(0);
  });

  it("gives a message again whose receiver was killed before it removed it", async () => {
    const { subject, address } = made();
    await using peer = await startPeer("queue-peer.ts", address);
    await subject.send("orders", "precious");
    expect(await peer.tell({ op: "hold", queue: "orders", visibilityMs: 1_000 })).toMatchObject([{ body: "precious", receives: 1 }]);
    await peer.kill();
    expect(await subject.receive("orders", NOW)).toEqual([]);
    expect(await subject.receive("orders", { ...NOW, waitMs: 5_000 })).toMatchObject([{ body: "precious", receives: 2 }]);
  });

  it("keeps what a process had sent when it was killed", async () => {
    const { subject, address } = made();
    await using peer = await startPeer("queue-peer.ts", address);
    expect(await peer.tell({ op: "send", queue: "orders", bodies: ["a", "b", "c"] })).toBe(3);
    await peer.kill();
    expect((await subject.receive("orders", NOW)).map((m) => m.body).sort()).toEqual(["a", "b", "c"]);
  });

  it("wakes a receive that waits in another process", async () => {
    const { subject, address } = made();
    await using peer = await startPeer("queue-peer.ts", address);
    const answer = peer.tell({ op: "hold", queue: "orders", visibilityMs: 1_000 });
    await sleep(100);
    await subject.send("orders", "wake up");
    expect(await answer).toMatchObject([{ body: "wake up" }]);
  });
}
