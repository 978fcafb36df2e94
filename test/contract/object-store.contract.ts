/** What every ObjectStore must do; run against the memory model and each real adapter. */
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ObjectStore } from "#ports/object-store.ts";
import type { ObjectAddress } from "../support/object-peer.ts";
import { startPeer } from "../support/peer.ts";

export interface SignedAnswer {
  readonly status: number;
  readonly body: Uint8Array;
}

export interface ObjectStoreSubject {
  readonly subject: ObjectStore;
  readonly dispose: () => Promise<void>;
  /** The time the subject goes by. */
  readonly nowMs: () => number;
  /** Lets time pass; really waits unless the subject has a clock to move. */
  readonly advance?: (ms: number) => Promise<void>;
  /** Keys that this store cannot hold, told from all others; it must refuse them and keep nothing. */
  readonly cannotHold?: (key: string, held: readonly string[]) => boolean;
  /** Uses a signed URL as a stranger would: by HTTP, or by the memory store's own resolver. */
  readonly request: (method: "GET" | "PUT", url: string, body?: Uint8Array) => Promise<SignedAnswer>;
}

export interface SharedObjectStoreSubject {
  readonly subject: ObjectStore;
  readonly dispose: () => Promise<void>;
  /** How a second process reaches the same objects. */
  readonly address: ObjectAddress;
}

const BYTES_MAX = 1_000_000;
const HOUR_MS = 3_600_000;

export function describeObjectStore(name: string, make: () => Promise<ObjectStoreSubject>): void {
  describe(`ObjectStore: ${name}`, () => {
    let made: ObjectStoreSubject;
    beforeEach(async () => {
      made = await make();
    });
    afterEach(() => made.dispose());
    const store = (): ObjectStore => made.subject;
    describe("whole objects", () => wholeCases(store));
    describe("streams", () => streamCases(store));
    describe("keys", () => keyCases(store, (key, held) => made.cannotHold?.(key, held) ?? false));
    describe("lists", () => listCases(store, (key, held) => made.cannotHold?.(key, held) ?? false));
    describe("signed URLs", () => signedCases(() => made));
  });
}

/** What holds between processes. */
export function describeSharedObjectStore(name: string, make: () => Promise<SharedObjectStoreSubject>): void {
  describe(`ObjectStore in two processes: ${name}`, () => {
    let made: SharedObjectStoreSubject;
    beforeEach(async () => {
      made = await make();
    });
    afterEach(() => made.dispose());
    processCases(() => made);
  });
}

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
export const sha256 = (body: Uint8Array): string => createHash("sha256").update(body).digest("hex");
const announced = (body: Uint8Array) => ({ bytes: body.length, sha256: sha256(body) });

async function* inChunks(body: Uint8Array, chunkBytes = 3): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < body.length; at += chunkBytes) yield body.subarray(at, at + chunkBytes);
}

async function textOf(body: AsyncIterable<Uint8Array> | undefined): Promise<string | undefined> {
  if (body === undefined) return undefined;
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function textAt(store: ObjectStore, key: string): Promise<string | undefined> {
  const body = await store.get(key, BYTES_MAX);
  return body === undefined ? undefined : Buffer.from(body).toString();
}

function wholeCases(store: () => ObjectStore): void {
  it("gives back what was put", async () => {
    expect(await store().putIfAbsent("a/b", bytesOf("héllo\0"))).toBe("written");
    expect(await textAt(store(), "a/b")).toBe("héllo\0");
    expect(await textOf(await store().getStream("a/b"))).toBe("héllo\0");
    expect(await store().stat("a/b")).toEqual({ key: "a/b", bytes: 7 });
  });

  it("keeps an empty object apart from none", async () => {
    await store().putIfAbsent("empty", new Uint8Array());
    expect(await store().get("empty", 0)).toHaveLength(0);
    expect(await textOf(await store().getStream("empty"))).toBe("");
    expect(await store().stat("empty")).toEqual({ key: "empty", bytes: 0 });
    expect(await store().get("none", 0)).toBeUndefined();
    expect(await store().getStream("none")).toBeUndefined();
    expect(await store().stat("none")).toBeUndefined();
  });

  it("never overwrites", async () => {
    await store().putIfAbsent("a", bytesOf("first"));
    expect(await store().putIfAbsent("a", bytesOf("second"))).toBe("exists");
    expect(await textAt(store(), "a")).toBe("first");
  });

  it("lets exactly one of twenty racing puts win, and keeps the winner's bytes", async () => {
    const outcomes = await Promise.all(Array.from({ length: 20 }, (_, i) => store().putIfAbsent("race", bytesOf(`writer ${i}`))));
    expect(outcomes.filter((outcome) => outcome === "written")).toHaveLength(1);
    expect(await textAt(store(), "race")).toBe(`writer ${outcomes.indexOf("written")}`);
  });

  it("refuses to give more bytes than are taken", async () => {
    await store().putIfAbsent("a", bytesOf("12345"));
    await expect(store().get("a", 4)).rejects.toMatchObject({ kind: "too-large" });
    expect(await store().get("a", 5)).toHaveLength(5);
  });

  it("does not share memory with its callers", async () => {
    const body = bytesOf("abc");
    await store().putIfAbsent("a", body);
    body.fill(0);
    (await store().get("a", BYTES_MAX))?.fill(0);
    expect(await textAt(store(), "a")).toBe("abc");
  });

  it("forgets what was removed, and takes it again", async () => {
    await store().putIfAbsent("a/b/c", bytesOf("x"));
    await store().remove("a/b/c");
    await store().remove("a/b/c");
    expect(await store().stat("a/b/c")).toBeUndefined();
    expect(await store().list("", { limit: 10 })).toEqual([]);
    expect(await store().putIfAbsent("a/b/c", bytesOf("y"))).toBe("written");
  });

  it("takes puts and removes of neighbours at the same time", async () => {
    const turn = async (i: number): Promise<void> => {
      for (let round = 0; round < 10; round++) {
        await store().putIfAbsent(`deep/er/${i}`, bytesOf("x"));
        await store().remove(`deep/er/${i}`);
      }
    };
    await Promise.all(Array.from({ length: 8 }, (_, i) => turn(i)));
    expect(await store().list("", { limit: 10 })).toEqual([]);
  });
}

function streamCases(store: () => ObjectStore): void {
  it("takes a stream of the announced size and checksum", async () => {
    const body = bytesOf("a stream of bytes");
    expect(await store().putStream("s", inChunks(body), announced(body))).toBe("written");
    expect(await textAt(store(), "s")).toBe("a stream of bytes");
    expect(await store().putStream("s", inChunks(body), announced(body))).toBe("exists");
  });

  it("takes an empty stream", async () => {
    const body = new Uint8Array();
    expect(await store().putStream("s", inChunks(body), announced(body))).toBe("written");
    expect(await store().stat("s")).toEqual({ key: "s", bytes: 0 });
  });

  it.each([
    ["a byte short", "abc", { bytes: 4, sha256: sha256(bytesOf("abc")) }],
    ["a byte long", "abcd", { bytes: 3, sha256: sha256(bytesOf("abcd")) }],
    ["of another checksum", "abc", { bytes: 3, sha256: sha256(bytesOf("abd")) }],
  ])("refuses a stream that is %s, leaving nothing", async (_, text, expected) => {
    await expect(store().putStream("s", inChunks(bytesOf(text), 2), expected)).rejects.toMatchObject({ kind: "integrity" });
    expect(await store().stat("s")).toBeUndefined();
    expect(await store().putIfAbsent("s", bytesOf("ok"))).toBe("written");
  });

  it("stops reading a stream that does not end", async () => {
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) yield new Uint8Array(100);
    }
    await expect(store().putStream("s", endless(), { bytes: 1_000, sha256: sha256(new Uint8Array(1_000)) })).rejects.toMatchObject({
      kind: "integrity",
    });
  });

  it("leaves nothing of a stream that breaks, and passes its error on", async () => {
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield bytesOf("ab");
      throw new Error("the line is dead");
    }
    await expect(store().putStream("s", broken(), announced(bytesOf("abc")))).rejects.toThrow("the line is dead");
    expect(await store().stat("s")).toBeUndefined();
  });

  it("shows nothing of an object while it is written", async () => {
    const body = bytesOf("half and half");
    const { promise: halfway, resolve: reached } = Promise.withResolvers<void>();
    const { promise: go, resolve: release } = Promise.withResolvers<void>();
    async function* gated(): AsyncGenerator<Uint8Array> {
      yield body.subarray(0, 5);
      reached();
      await go;
      yield body.subarray(5);
    }
    const put = store().putStream("s", gated(), announced(body));
    await halfway;
    expect(await store().stat("s")).toBeUndefined();
    expect(await store().list("", { limit: 10 })).toEqual([]);
    release();
    expect(await put).toBe("written");
  });

  it("lets one of two streams win that were both under way", async () => {
    const bodies = ["one!", "two!"].map(bytesOf);
    const outcomes = await Promise.all(bodies.map((body) => store().putStream("s", inChunks(body, 1), announced(body))));
    expect(outcomes.toSorted()).toEqual(["exists", "written"]);
    expect(await textAt(store(), "s")).toBe(Buffer.from(bodies[outcomes.indexOf("written")] ?? "").toString());
  });
}

const BAD_KEYS = [
  "",
  "/",
  "/a",
  "a/",
  "a//b",
  ".",
  "..",
  "a/./b",
  "../a",
  "a/../b",
  "a/..",
  "a b",
  "a\0b",
  "a\nb",
  "ä",
  "a%2e",
  "a\\b",
  "a+",
  "a~",
  "a=",
  "x".repeat(513),
];

type CannotHold = (key: string, held: readonly string[]) => boolean;

function keyCases(store: () => ObjectStore, cannotHold: CannotHold): void {
  it.each(BAD_KEYS)("refuses the key %j", async (key) => {
    const refused = { kind: "invalid-input" };
    await expect(store().putIfAbsent(key, bytesOf("x"))).rejects.toMatchObject(refused);
    await expect(store().putStream(key, inChunks(bytesOf("x")), announced(bytesOf("x")))).rejects.toMatchObject(refused);
    await expect(store().get(key, 1)).rejects.toMatchObject(refused);
    await expect(store().getStream(key)).rejects.toMatchObject(refused);
    await expect(store().stat(key)).rejects.toMatchObject(refused);
    await expect(store().remove(key)).rejects.toMatchObject(refused);
    await expect(store().signGet(key, 1)).rejects.toMatchObject(refused);
    await expect(store().signPut(key, announced(bytesOf("x")), 1)).rejects.toMatchObject(refused);
  });

  it.each([
    "a",
    "A.b_c-9",
    "...",
    ".a",
    "a.",
    "-",
    "x".repeat(512),
    `${"x/".repeat(255)}y`,
    `${"y".repeat(250)}/${"z".repeat(261)}`,
    `${"x".repeat(200)}..`,
    `${"x".repeat(400)}/..a`,
  ])("takes the key %j", async (key) => {
    if (cannotHold(key, [])) {
      await expect(store().putIfAbsent(key, bytesOf("x"))).rejects.toThrow();
      expect(await store().list("", { limit: 10 })).toEqual([]);
      return;
    }
    expect(await store().putIfAbsent(key, bytesOf("x"))).toBe("written");
    expect(await store().list("", { limit: 10 })).toEqual([{ key, bytes: 1 }]);
    await store().remove(key);
    expect(await store().list("", { limit: 10 })).toEqual([]);
  });

  it("keeps a key that is the folder of another", async () => {
    if (cannotHold("a", ["a/b/c"])) {
      expect(await store().putIfAbsent("a/b/c", bytesOf("deep"))).toBe("written");
      await expect(store().putIfAbsent("a", bytesOf("x"))).rejects.toThrow();
      expect(await store().list("", { limit: 10 })).toEqual([{ key: "a/b/c", bytes: 4 }]);
      return;
    }
    for (const key of ["a/b/c", "a", "a/b"]) expect(await store().putIfAbsent(key, bytesOf(key))).toBe("written");
    expect((await store().list("", { limit: 10 })).map((info) => info.key)).toEqual(["a", "a/b", "a/b/c"]);
    await store().remove("a");
    expect(await textAt(store(), "a/b")).toBe("a/b");
  });
}

/** Short texts over few characters, so that keys share beginnings; some long enough to pass a file name's limit. */
const segment = fc
  .oneof(
    { weight: 9, arbitrary: fc.stringMatching(/^[a0.\-_A]{1,3}$/) },
    { weight: 1, arbitrary: fc.stringMatching(/^[a-]{0,2}$/).map((end) => "a".repeat(199) + end) },
  )
  .filter((text) => text !== "." && text !== "..");
const keys = fc.uniqueArray(
  fc
    .array(segment, { minLength: 1, maxLength: 3 })
    .map((segments) => segments.join("/"))
    .filter((key) => key.length <= 512),
  { maxLength: 12 },
);

/** Leaves out what the store cannot hold beside the keys before it. */
function holdable(wanted: readonly string[], cannotHold: CannotHold): string[] {
  const held: string[] = [];
  for (const key of wanted) if (!cannotHold(key, held)) held.push(key);
  return held;
}

function listCases(store: () => ObjectStore, cannotHold: CannotHold): void {
  it("gives keys in ascending order, whatever stands between their segments", async () => {
    const all = ["a", "a-b", "a.b", "a/0", "a/b", "a/b-", "a/b/c", "a0", "aB", "a_"];
    const sorted = holdable(all.toReversed(), cannotHold).toReversed();
    for (const key of sorted.toReversed()) await store().putIfAbsent(key, bytesOf(key));
    const starting = (prefix: string) => sorted.filter((key) => key.startsWith(prefix));
    expect((await store().list("", { limit: 100 })).map((info) => info.key)).toEqual(sorted);
    expect((await store().list("a/", { limit: 100 })).map((info) => info.key)).toEqual(starting("a/"));
    expect((await store().list("a/b", { limit: 100 })).map((info) => info.key)).toEqual(starting("a/b"));
    expect(await store().list("b", { limit: 100 })).toEqual([]);
    expect(await store().list("a/b/c/d", { limit: 100 })).toEqual([]);
  });

  it("pages through any keys in order, from any key on and for any prefix", async () => {
    await fc.assert(
      fc.asyncProperty(keys, fc.integer({ min: 1, max: 4 }), fc.nat(), fc.nat(), async (generated, limit, pick, cut) => {
        const wanted = holdable(generated, cannotHold);
        for (const key of wanted) await store().putIfAbsent(key, bytesOf("x"));
        const prefix = (wanted[pick % Math.max(1, wanted.length)] ?? "").slice(0, cut % 6);
        const paged: string[] = [];
        for (;;) {
          const page = await store().list(prefix, { limit, ...(paged.length === 0 ? {} : { after: paged.at(-1) as string }) });
          if (page.length === 0) break;
          expect(page.length).toBeLessThanOrEqual(limit);
          paged.push(...page.map((info) => info.key));
        }
        expect(paged).toEqual(wanted.filter((key) => key.startsWith(prefix)).sort());
        for (const key of wanted) await store().remove(key);
      }),
      { numRuns: 60 },
    );
  });

  it("starts behind a key that is not there", async () => {
    for (const key of ["a/1", "a/3", "b/1"]) await store().putIfAbsent(key, bytesOf("x"));
    expect((await store().list("", { limit: 10, after: "a/2" })).map((info) => info.key)).toEqual(["a/3", "b/1"]);
    expect(await store().list("a/", { limit: 10, after: "zzz" })).toEqual([]);
    expect((await store().list("b/", { limit: 10, after: "a" })).map((info) => info.key)).toEqual(["b/1"]);
  });

  it.each(["/", "../", "a/../", "a//", "a b", "%"])("refuses the prefix %j", async (prefix) => {
    await expect(store().list(prefix, { limit: 1 })).rejects.toMatchObject({ kind: "invalid-input" });
  });

  it.each([0, -1, 1.5, Number.NaN, 10_001])("refuses the limit %j", async (limit) => {
    await expect(store().list("", { limit })).rejects.toMatchObject({ kind: "invalid-input" });
  });
}

function signedCases(made: () => ObjectStoreSubject): void {
  it("reads by a signed URL, and nothing else by it", async () => {
    const { subject, request, nowMs } = made();
    await subject.putIfAbsent("a/b", bytesOf("hello"));
    await subject.putIfAbsent("a/c", bytesOf("other"));
    const url = await subject.signGet("a/b", nowMs() + HOUR_MS);
    const answer = await request("GET", url);
    expect([answer.status, Buffer.from(answer.body).toString()]).toEqual([200, "hello"]);
    expect((await request("GET", url.replace("a/b", "a/c"))).status).toBe(403);
    expect((await request("PUT", url, bytesOf("x"))).status).toBe(403);
  });

  it("answers 404 for an object that is not there", async () => {
    const { subject, request, nowMs } = made();
    expect((await request("GET", await subject.signGet("none", nowMs() + HOUR_MS))).status).toBe(404);
  });

  it("writes once by a signed URL; again changes nothing and is no error", async () => {
    const { subject, request, nowMs } = made();
    const body = bytesOf("result");
    const url = await subject.signPut("r", announced(body), nowMs() + HOUR_MS);
    expect((await request("PUT", url, body)).status).toBeLessThan(300);
    expect([200, 204, 412]).toContain((await request("PUT", url, body)).status); // 412: it is there already
    expect(await textAt(subject, "r")).toBe("result");
    expect((await request("GET", url)).status).toBe(403);
  });

  it.each(["resulT", "resul", "result!", ""])("refuses the body %j for another that was signed", async (text) => {
    const { subject, request, nowMs } = made();
    const url = await subject.signPut("r", announced(bytesOf("result")), nowMs() + HOUR_MS);
    const { status } = await request("PUT", url, bytesOf(text));
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(500);
    expect(await subject.stat("r")).toBeUndefined();
  });

  it("refuses a URL from its expiry on", async () => {
    const { subject, request, nowMs, advance = sleep } = made();
    await subject.putIfAbsent("a", bytesOf("hello"));
    const url = await subject.signGet("a", nowMs() + 2_000);
    expect((await request("GET", url)).status).toBe(200);
    await advance(2_000);
    expect((await request("GET", url)).status).toBe(403);
  });
}

function processCases(made: () => SharedObjectStoreSubject): void {
  it("lets one of two processes win each of 200 racing puts", async () => {
    const { subject, address } = made();
    await using peer = await startPeer("object-peer.ts", address);
    const raced = Array.from({ length: 200 }, (_, i) => `race/${i}`);
    const theirs = peer.tell({ op: "put", keys: raced, text: "theirs" }) as Promise<string[]>;
    const ours = await Promise.all(raced.map((key) => subject.putIfAbsent(key, bytesOf("ours"))));
    const outcomes = await theirs;
    for (const [i, key] of raced.entries()) {
      expect([ours[i], outcomes[i]].toSorted()).toEqual(["exists", "written"]);
      expect(await textAt(subject, key)).toBe(ours[i] === "written" ? "ours" : "theirs");
    }
  });

  it("keeps what a process had put when it was killed", async () => {
    const { subject, address } = made();
    await using peer = await startPeer("object-peer.ts", address);
    await peer.tell({ op: "put", keys: ["kept/a", "kept/b"], text: "precious" });
    await peer.kill();
    expect(await textAt(subject, "kept/a")).toBe("precious");
    expect(await textAt(subject, "kept/b")).toBe("precious");
  });

  it("shows nothing of an object whose writer was killed in the middle, and takes it afterwards", async () => {
    const { subject, address } = made();
    await using peer = await startPeer("object-peer.ts", address);
    expect(await peer.tell({ op: "begin", key: "half", bytes: 1_000_000 })).toBe("begun");
    await peer.kill();
    expect(await subject.stat("half")).toBeUndefined();
    expect(await subject.list("", { limit: 10 })).toEqual([]);
    expect(await subject.putIfAbsent("half", bytesOf("whole"))).toBe("written");
  });
}
