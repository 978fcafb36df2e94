import type { SQSEvent } from "aws-lambda";
import { describe, expect, it } from "vitest";
import { createBatchHandler, parseRecord } from "../../functions/queue/batch.ts";

const event = (...bodies: string[]): SQSEvent => ({
  Records: bodies.map((body, i) => ({
    messageId: `m${i}`,
    receiptHandle: `r${i}`,
    body,
    attributes: { ApproximateReceiveCount: "2", SentTimestamp: "1", SenderId: "x", ApproximateFirstReceiveTimestamp: "1" },
    messageAttributes: {},
    md5OfBody: "",
    eventSource: "aws:sqs",
    eventSourceARN: "arn:aws:sqs:local:000000000000:q",
    awsRegion: "local",
  })),
});

describe("a batch", () => {
  it("reports the record that failed, and only that", async () => {
    const done: string[] = [];
    const handler = createBatchHandler(async (record) => {
      if (record.body === "bad") throw new Error("no");
      done.push(record.body);
    });
    expect(await handler(event("a", "bad", "b"))).toEqual({ batchItemFailures: [{ itemIdentifier: "m1" }] });
    expect(done).toEqual(["a", "b"]);
  });

  it("reports a handler that throws at once like one that rejects", async () => {
    const handler = createBatchHandler(() => {
      throw new Error("no");
    });
    expect((await handler(event("a", "b"))).batchItemFailures).toHaveLength(2);
  });

  it("reports a body that is not JSON, so that it ends in the dead letter queue, and logs why without the body", async () => {
    const logged: string[] = [];
    const handler = createBatchHandler(async (record) => void parseRecord(record), {
      warn: (_, facts) => void logged.push(JSON.stringify(facts)),
    });
    expect(await handler(event("{}", "{secret"))).toEqual({ batchItemFailures: [{ itemIdentifier: "m1" }] });
    expect(logged).toHaveLength(1);
    expect(logged[0]).toContain('"kind":"invalid-input"');
    expect(logged[0]).not.toContain("secret");
  });

  it("of nothing succeeds", async () => {
    expect(await createBatchHandler(async () => undefined)({ Records: [] })).toEqual({ batchItemFailures: [] });
  });
});
