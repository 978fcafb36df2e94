/** What the SQS adapter makes of batches of which some entries fail; no server is needed for that. */
import { SQSClient } from "@aws-sdk/client-sqs";
import { beforeEach, describe, expect, it } from "vitest";
import { createSqsMessageQueue } from "#adapters/sqs/message-queue.ts";
import type { Clock } from "#ports/clock.ts";

interface Entry {
  readonly Id: string;
  readonly MessageBody?: string;
}

const clock: Clock = { now: () => 0, sleep: async () => {} };
const random = { next: () => 0, bytes: (n: number) => new Uint8Array(n) };

/** A client whose requests are answered here: `answer` gives the failed entries of a batch. */
function clientOf(answer: (entries: readonly Entry[]) => readonly object[]): SQSClient {
  const client = new SQSClient({ region: "us-east-1", credentials: { accessKeyId: "test", secretAccessKey: "test" } });
  client.middlewareStack.add(
    () => async (args) => {
      const { Entries = [] } = args.input as { readonly Entries?: readonly Entry[] };
      return { response: {}, output: { $metadata: {}, Failed: answer(Entries) } } as never;
    },
    { step: "initialize", priority: "high" },
  );
  return client;
}

describe("SQS batches", () => {
  let sent: string[][];
  beforeEach(() => {
    sent = [];
  });
  const open = (answer: (entries: readonly Entry[]) => readonly object[]) =>
    createSqsMessageQueue({
      client: clientOf((entries) => {
        sent.push(entries.map((entry) => entry.MessageBody ?? entry.Id));
        return answer(entries);
      }),
      clock,
      random,
      prefix: "p-",
      urls: { orders: "https://queue" },
      creates: false,
    });

  it("sends only those again that failed, and all succeed", async () => {
    let tries = 0;
    const queue = open((entries) => {
      const failing = ++tries === 1 ? ["b", "d"] : tries === 2 ? ["d"] : [];
      return entries
        .filter((e) => failing.includes(e.MessageBody ?? ""))
        .map(({ Id }) => ({ Id, Code: "InternalError", SenderFault: false }));
    });
    await Promise.all(["a", "b", "c", "d"].map((body) => queue.send("orders", body)));
    expect(sent).toEqual([["a", "b", "c", "d"], ["b", "d"], ["d"]]);
  });

  it("refuses one send for good without failing its neighbours", async () => {
    const queue = open((entries) =>
      entries
        .filter((e) => e.MessageBody === "b")
        .map(({ Id }) => ({ Id, Code: "InvalidMessageContents", SenderFault: true, Message: "no" })),
    );
    const outcomes = await Promise.allSettled(["a", "b", "c"].map((body) => queue.send("orders", body)));
    expect(outcomes.map((o) => o.status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect(outcomes[1]).toMatchObject({ reason: { kind: "invalid-input", message: expect.stringContaining("no") } });
    expect(sent).toHaveLength(1);
  });

  it("gives up after some tries, and then it is unavailable", async () => {
    const queue = open((entries) => entries.map(({ Id }) => ({ Id, Code: "InternalError", SenderFault: false })));
    await expect(queue.send("orders", "a")).rejects.toMatchObject({ kind: "unavailable" });
    expect(sent).toHaveLength(5);
  });

  it("deletes in batches of ten, again what failed, and ignores receipts that SQS does not know", async () => {
    let tries = 0;
    const queue = open((entries) => {
      if (++tries > 1) return [];
      return entries
        .slice(0, 2)
        .map(({ Id }) => ({ Id, Code: Id === "0" ? "ReceiptHandleIsInvalid" : "InternalError", SenderFault: Id === "0" }));
    });
    await queue.remove(
      "orders",
      Array.from({ length: 12 }, (_, i) => `receipt ${i}`),
    );
    expect(sent.map((batch) => batch.length)).toEqual([10, 1, 2]);
  });

  it("says so when deletes go on failing", async () => {
    const queue = open((entries) => entries.map(({ Id }) => ({ Id, Code: "InternalError", SenderFault: false })));
    await expect(queue.remove("orders", ["receipt"])).rejects.toMatchObject({ kind: "unavailable" });
  });

  it("refuses a prefix with which the longest name would be too long", () => {
    const make = (prefix: string) => createSqsMessageQueue({ client: clientOf(() => []), clock, random, prefix, creates: false });
    expect(() => make("a".repeat(16))).toThrow("at most 15");
    expect(() => make("a.b")).toThrow("at most 15");
    expect(() => make("a".repeat(15))).not.toThrow();
  });
});
