/** MessageQueue on SQS as ElasticMQ, MiniStack and LocalStack have it: the suites of the embedded queue, and what only SQS has. */
import { setTimeout as sleep } from "node:timers/promises";
import { SendMessageBatchCommand } from "@aws-sdk/client-sqs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { describeMessageQueue, describeSharedMessageQueue } from "../contract/message-queue.contract.ts";
import { describeReal, ELASTICMQ, LOCALSTACK, MINISTACK } from "../support/real-component.ts";
import { makeQueues, openSqs, type SqsQueues } from "../support/sqs-queues.ts";

/** LocalStack looks only now and then for messages whose visibility or delay is over. */
const LAG_MS = 2_000;
const advance = (ms: number): Promise<void> => sleep(ms < 1_000 ? ms : ms + LAG_MS);

const NOW = { limit: 10, waitMs: 0, visibilityMs: 30_000 };

for (const component of [ELASTICMQ, MINISTACK, LOCALSTACK]) {
  describeReal("messages", component, (endpoint) => {
    describeMessageQueue(component.name, async () => {
      const made = makeQueues(endpoint, { receivesMax: 2 });
      const known = component === LOCALSTACK ? { takesOldReceipts: true as const } : {};
      return { subject: made.queue, dispose: async () => made[Symbol.asyncDispose](), advance, receivesMax: 2, ...known };
    });
    describeSharedMessageQueue(component.name, async () => {
      const made = makeQueues(endpoint);
      const address = { kind: "sqs", endpoint, prefix: made.prefix } as const;
      return { subject: made.queue, dispose: async () => made[Symbol.asyncDispose](), address };
    });
    describe("what only SQS has", () => sqsCases(endpoint));
  });
}

function sqsCases(endpoint: string): void {
  let made: SqsQueues;
  beforeEach(() => {
    made = makeQueues(endpoint);
  });
  afterEach(async () => made[Symbol.asyncDispose]());

  it("sends what one turn has in batches of at most ten, and of at most 256 KiB", async () => {
    const sizes: number[] = [];
    made.client.middlewareStack.add(
      (next, context) => (args) => {
        const { Entries } = args.input as { readonly Entries?: readonly unknown[] };
        if (context.commandName === SendMessageBatchCommand.name) sizes.push(Entries?.length ?? 0);
        return next(args);
      },
      { step: "initialize" },
    );
    await Promise.all(Array.from({ length: 25 }, (_, i) => made.queue.send("orders", `${i}`)));
    expect(sizes).toEqual([10, 10, 5]);
    await Promise.all(Array.from({ length: 3 }, () => made.queue.send("orders", "x".repeat(100 * 1024))));
    expect(sizes.slice(3)).toEqual([2, 1]);
    expect(await made.queue.depth("orders")).toBe(28);
  });

  it("finds a queue again that was deleted under it", async () => {
    await made.queue.send("orders", "a");
    const other = openSqs(endpoint, made.prefix).queue;
    await other.deleteQueue("orders");
    await made.queue.send("orders", "b");
    expect((await made.queue.receive("orders", { ...NOW, waitMs: 2_000 })).map((m) => m.body)).toEqual(["b"]);
  });

  it("says that a queue is missing when it may not make one", async () => {
    const { queue } = openSqs(endpoint, made.prefix, { creates: false });
    await expect(queue.send("orders", "a")).rejects.toMatchObject({ kind: "not-found", message: expect.stringContaining("orders") });
    await expect(queue.receive("orders", NOW)).rejects.toMatchObject({ kind: "not-found" });
  });

  it("takes a name of sixty characters with its dead letters", async () => {
    const name = "q".repeat(60);
    await made.queue.send(name, "a");
    expect(await made.queue.depth(name)).toBe(1);
    expect(await made.queue.depth(`${name}-dead`)).toBe(0);
  });
}

describe("an SQS that is not there", () => {
  it("is unavailable, and no endless wait", async () => {
    const { queue } = openSqs("http://127.0.0.1:9", "none-");
    await expect(queue.send("orders", "a")).rejects.toMatchObject({ kind: "unavailable" });
    await expect(queue.receive("orders", NOW)).rejects.toMatchObject({ kind: "unavailable" });
  });
});
