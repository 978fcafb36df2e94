/**
 * The whole way with every adapter of a cloud account: state in DynamoDB, objects in S3, messages in SQS, all on MiniStack.
 * The functions run in the local host, with the event shapes of Lambda.
 */
import { randomBytes } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CreateBucketCommand } from "@aws-sdk/client-s3";
import { expect, it } from "vitest";
import { describeReal, MINISTACK } from "../support/real-component.ts";
import { startSystem } from "../support/running-system.ts";
import { openBucket } from "../support/s3-bucket.ts";
import { openSqs } from "../support/sqs-queues.ts";

const LIMIT_MS = 300_000;
/** What an agent does not send along with its results but puts by a signed URL. */
const LARGE_BYTES = 300_000;

const FILE = `name: cloud
parameters: {N: {type: int}}
scripts:
  MAKE: |
    #!/bin/bash
    head -c $((N == 1 ? ${LARGE_BYTES} : 10)) /dev/zero | tr '\\\\0' "$((N % 10))" > "$OUT"
  COUNT: |
    #!/bin/bash
    wc -c < "$IN" > "$OUT"
tasks:
  make:
    script: MAKE
    task_inputs: {N: 1..50}
    task_outputs: {OUT: made.txt}
  count:
    script: COUNT
    foreach: [make]
    task_inputs: {IN: "\${make.OUT}"}
    task_outputs: {OUT: count.txt}
resources:
  compute: {cpu: 1, ram_gb: 0.1, time: "0:01:00"}
`;

describeReal("the whole way", MINISTACK, (endpoint) => {
  it("creates, submits, runs 50 and 50 tasks and gives their outputs", { timeout: LIMIT_MS }, async () => {
    const name = `whole-${randomBytes(4).toString("hex")}`;
    const { client, store } = openBucket({ endpoint, secret: "test" }, name);
    await client.send(new CreateBucketCommand({ Bucket: name }));
    const prefix = `w${randomBytes(4).toString("hex")}-`;
    await using system = await startSystem({
      AIRAVATA_DYNAMODB_ENDPOINT: endpoint,
      AIRAVATA_TABLE: name,
      AIRAVATA_BUCKET: name,
      AIRAVATA_QUEUE_PREFIX: prefix,
      AWS_ENDPOINT_URL: endpoint,
      AWS_ENDPOINT_URL_S3: endpoint,
      AWS_ENDPOINT_URL_SQS: endpoint,
      AWS_ACCESS_KEY_ID: "test",
      AWS_SECRET_ACCESS_KEY: "test",
      AWS_REGION: "us-east-1",
    });
    await writeFile(join(system.folder, "cloud.yaml"), FILE);
    const ran = await system.airavata("experiment", "run", join(system.folder, "cloud.yaml"));
    expect(ran.out).toContain("100/100");
    expect(ran.code).toBe(0);
    const id = /exp_[0-9a-z]{26}/.exec(ran.out)?.[0] ?? "";
    const to = join(system.folder, "outputs");
    expect(await system.airavata("experiment", "download", id, "--to", to)).toMatchObject({ code: 0 });
    const files = (await readdir(to, { recursive: true })).filter((file) => file.endsWith("count.txt"));
    expect(files).toHaveLength(50);
    const counts = await Promise.all(files.map(async (file) => Number(await readFile(join(to, file), "utf8"))));
    expect(counts.toSorted((a, b) => b - a)).toEqual([LARGE_BYTES, ...Array.from({ length: 49 }, () => 10)]);

    expect(await readdir(system.dataDir)).not.toContain("queue.db");
    expect(await readdir(system.dataDir)).not.toContain("objects");
    const large = await store.list("o/", { limit: 100 });
    expect(large.map((info) => info.bytes)).toContain(LARGE_BYTES);
    expect(await openSqs(endpoint, prefix).queue.depth("schedule-dead")).toBe(0);
  });
});
