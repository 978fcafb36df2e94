/** ObjectStore on S3 as MiniStack, versitygw and LocalStack have it: the suites of the embedded store, and what only S3 has. */
import { createHash, randomBytes } from "node:crypto";
import { CreateMultipartUploadCommand, PutObjectCommand } from "@aws-sdk/client-s3";
import { beforeEach, afterEach, describe, expect, it } from "vitest";
import { bytesOf, describeObjectStore, describeSharedObjectStore, sha256, type SignedAnswer } from "../contract/object-store.contract.ts";
import { describeReal, LOCALSTACK, MINISTACK, type RealComponent, VERSITYGW } from "../support/real-component.ts";
import { type Bucket, makeBucket, openBucket } from "../support/s3-bucket.ts";

const PART_BYTES = 8 * 1024 * 1024;
const HOUR_MS = 3_600_000;

const base64 = (body: Uint8Array): string => createHash("sha256").update(body).digest("base64");

/** As worker/agent/transfer.ts does it. */
const uploadHeaders = (body: Uint8Array): Record<string, string> => ({ "x-amz-checksum-sha256": base64(body), "if-none-match": "*" });

async function send(method: "GET" | "PUT", url: string, body?: Uint8Array, headers?: Record<string, string>): Promise<SignedAnswer> {
  const sent = body === undefined ? { headers: headers ?? {} } : { body: Buffer.from(body), headers: headers ?? uploadHeaders(body) };
  const response = await fetch(url, { method, ...sent });
  return { status: response.status, body: await response.bytes() };
}

/** versitygw keeps objects as files: a key cannot be another's folder, and a segment is a file name. */
const asFiles = (key: string, held: readonly string[]): boolean =>
  key.split("/").some((segment) => segment.length > 255) ||
  held.some((other) => other.startsWith(`${key}/`) || key.startsWith(`${other}/`));

interface Server {
  readonly component: RealComponent;
  readonly secret: string;
  readonly cannotHold?: typeof asFiles;
}

const SERVERS: readonly Server[] = [
  { component: MINISTACK, secret: "test" },
  { component: VERSITYGW, secret: "testsecret", cannotHold: asFiles },
  { component: LOCALSTACK, secret: "test" },
];

for (const { component, secret, cannotHold } of SERVERS) {
  describeReal("objects", component, (endpoint) => {
    const { name } = component;
    const server = { endpoint, secret };
    describeObjectStore(name, async () => {
      const made = await makeBucket(server);
      const limits = cannotHold === undefined ? {} : { cannotHold };
      return { subject: made.store, dispose: async () => made[Symbol.asyncDispose](), nowMs: Date.now, request: send, ...limits };
    });
    describeSharedObjectStore(name, async () => {
      const made = await makeBucket(server);
      return {
        subject: made.store,
        dispose: async () => made[Symbol.asyncDispose](),
        address: { kind: "s3", server, bucket: made.bucket },
      };
    });
    describe("what only S3 has", () => s3Cases(() => makeBucket(server)));
  });
}

async function* inChunks(body: Uint8Array, chunkBytes = 1_000_003): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < body.length; at += chunkBytes) yield body.subarray(at, at + chunkBytes);
}

function s3Cases(make: () => Promise<Bucket>): void {
  let made: Bucket;
  beforeEach(async () => {
    made = await make();
  });
  afterEach(async () => made[Symbol.asyncDispose]());
  const big = randomBytes(2 * PART_BYTES + 12_345);
  const announced = { bytes: big.length, sha256: sha256(big) };

  it("takes a large object in parts and gives the same bytes back", async () => {
    expect(await made.store.putStream("big", inChunks(big), announced)).toBe("written");
    const hash = createHash("sha256");
    for await (const chunk of (await made.store.getStream("big")) ?? []) hash.update(chunk);
    expect(hash.digest("hex")).toBe(announced.sha256);
    expect(await made.store.putStream("big", inChunks(big), announced)).toBe("exists");
    await expect(made.store.get("big", 1_000)).rejects.toMatchObject({ kind: "too-large" });
    expect(await made.openUploads()).toBe(0);
  });

  it.each([
    ["other bytes", { ...announced, sha256: sha256(bytesOf("other")) }, inChunks],
    ["fewer bytes", { ...announced, bytes: announced.bytes + 1 }, inChunks],
    ["more bytes", { ...announced, bytes: announced.bytes - 1 }, inChunks],
  ] as const)("leaves no parts of a large object with %s", async (_, expected, chunks) => {
    await expect(made.store.putStream("big", chunks(big), expected)).rejects.toMatchObject({ kind: "integrity" });
    expect(await made.store.stat("big")).toBeUndefined();
    expect(await made.openUploads()).toBe(0);
  });

  it("leaves no parts of a large object whose stream breaks", async () => {
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield big.subarray(0, PART_BYTES + 1);
      throw new Error("the line is dead");
    }
    await expect(made.store.putStream("big", broken(), announced)).rejects.toThrow("the line is dead");
    expect(await made.openUploads()).toBe(0);
  });

  it("counts uploads that were left open, so that the cases above can fail", async () => {
    await made.client.send(new CreateMultipartUploadCommand({ Bucket: made.bucket, Key: "left" }));
    expect(await made.openUploads()).toBe(1);
  });

  it("does not replace an object that came while a large one was under way", async () => {
    async function* overtaken(): AsyncGenerator<Uint8Array> {
      yield big.subarray(0, PART_BYTES + 1);
      expect(await made.store.putIfAbsent("big", bytesOf("first"))).toBe("written");
      yield big.subarray(PART_BYTES + 1);
    }
    expect(await made.store.putStream("big", overtaken(), announced)).toBe("exists");
    expect(await made.store.stat("big")).toEqual({ key: "big", bytes: 5 });
    expect(await made.openUploads()).toBe(0);
  });

  it("refuses by the signature alone a signed put with another size, another checksum or without its condition", async () => {
    const body = bytesOf("result");
    const url = await made.store.signPut("r", { bytes: 6, sha256: sha256(body) }, Date.now() + HOUR_MS);
    const right = uploadHeaders(body);
    expect((await send("PUT", url, bytesOf("results"), right)).status).toBe(403);
    expect((await send("PUT", url, bytesOf("resulT"), right)).status).toBe(400); // the body is not what its header says
    expect((await send("PUT", url, bytesOf("resulT"), uploadHeaders(bytesOf("resulT")))).status).toBe(403);
    expect((await send("PUT", url, body, { "x-amz-checksum-sha256": base64(body) })).status).toBe(403);
    expect((await send("PUT", url, body, { "if-none-match": "*" })).status).toBe(403);
    expect(await made.store.stat("r")).toBeUndefined();
    expect((await send("PUT", url, body, right)).status).toBe(200);
    expect((await send("PUT", url, body, right)).status).toBe(412);
  });

  it("refuses a signed put from its expiry on, and one that was signed for the past", async () => {
    const body = bytesOf("late");
    const expect403 = async (expiresAtMs: number, waitMs: number): Promise<void> => {
      const url = await made.store.signPut("late", { bytes: 4, sha256: sha256(body) }, expiresAtMs);
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      expect((await send("PUT", url, body)).status).toBe(403);
    };
    await Promise.all([expect403(Date.now() + 1_500, 3_000), expect403(Date.now() - 60_000, 0)]);
    expect(await made.store.stat("late")).toBeUndefined();
  });

  it("gives a range of a signed object", async () => {
    await made.store.putIfAbsent("a", bytesOf("0123456789"));
    const answer = await send("GET", await made.store.signGet("a", Date.now() + HOUR_MS), undefined, { range: "bytes=2-4" });
    expect([answer.status, Buffer.from(answer.body).toString()]).toEqual([206, "234"]);
  });

  it("lists more than one page of S3", async () => {
    const keys = Array.from({ length: 1_203 }, (_, i) => `p-${String(i).padStart(5, "0")}`);
    for (let i = 0; i < keys.length; i += 50)
      await Promise.all(
        keys.slice(i, i + 50).map((Key) => made.client.send(new PutObjectCommand({ Bucket: made.bucket, Key, Body: "x" }))),
      );
    const found = await made.store.list("p-", { limit: 1_202 });
    expect(found.map((info) => info.key)).toEqual(keys.slice(0, 1_202));
    expect(await made.store.list("p-", { limit: 10_000, after: keys[1_201] as string })).toEqual([{ key: keys[1_202], bytes: 1 }]);
  });
}

describe("an S3 that is not there", () => {
  it("is unavailable, and no endless wait", async () => {
    const { store } = openBucket({ endpoint: "http://127.0.0.1:9", secret: "test" }, "none");
    await expect(store.stat("a")).rejects.toMatchObject({ kind: "unavailable" });
    await expect(store.putIfAbsent("a", bytesOf("x"))).rejects.toMatchObject({ kind: "unavailable" });
  });
});
