/** What the handler of signed object URLs gives and, above all, refuses. */
import { connect, type Socket } from "node:net";
import { createHash } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseRange } from "#adapters/file/signed-http.ts";
import { openGrant, signGrant } from "#adapters/file/signed-url.ts";
import { type ServedStore, serveStore, SIGNING_KEY } from "../support/served-store.ts";

const HOUR_MS = 3_600_000;
const TEXT = "0123456789";
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

let served: ServedStore;
let getUrl: string;
beforeAll(async () => {
  served = await serveStore();
  await served.store.putIfAbsent("runs/r1", Buffer.from(TEXT));
  await served.store.putIfAbsent("runs/r2", Buffer.from("another"));
  await served.store.putIfAbsent("empty", new Uint8Array());
  getUrl = await served.store.signGet("runs/r1", served.clock.now() + HOUR_MS);
});
afterAll(() => served[Symbol.asyncDispose]());

/** Sends bytes as they are and gives what comes back until the other side closes. */
async function sendRaw(port: number, text: string): Promise<string> {
  const socket: Socket = connect(port, "127.0.0.1");
  socket.write(text);
  let answer = "";
  for await (const chunk of socket) answer += String(chunk);
  return answer;
}

const rawGet = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;

describe("a signed URL", () => {
  const get = { method: "GET", key: "a/b", expiresAtMs: 1_800_000_000_000 } as const;
  const put = { ...get, method: "PUT", expect: { bytes: 1_234, sha256: sha256("x") } } as const;

  it("grants what was signed until its expiry", () => {
    for (const grant of [get, put]) {
      const target = signGrant(SIGNING_KEY, grant);
      expect(openGrant(SIGNING_KEY, target, grant.expiresAtMs - 1)).toEqual(grant);
      expect(openGrant(SIGNING_KEY, target, grant.expiresAtMs)).toBeUndefined();
      expect(openGrant(new Uint8Array(32), target, 0)).toBeUndefined();
    }
  });

  it("grants nothing after any change of any byte", () => {
    for (const target of [get, put].map((grant) => signGrant(SIGNING_KEY, grant))) {
      const granted: string[] = [];
      for (let at = 0; at < target.length; at++) {
        const bytes = ["", ...Array.from({ length: 256 }, (__, code) => String.fromCharCode(code))].filter((byte) => byte !== target[at]);
        const changed = bytes.map((byte) => target.slice(0, at) + byte + target.slice(at + 1));
        granted.push(...changed.filter((text) => openGrant(SIGNING_KEY, text, 0) !== undefined));
      }
      expect(granted).toEqual([]);
    }
  });

  it("grants nothing after any insertion, repetition or cut", () => {
    const target = signGrant(SIGNING_KEY, put);
    fc.assert(
      fc.property(fc.nat(target.length), fc.nat(target.length), fc.string({ maxLength: 5 }), (from, to, text) => {
        const changed = target.slice(0, from) + text + target.slice(to);
        expect(openGrant(SIGNING_KEY, changed, 0) !== undefined).toBe(changed === target);
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([
    ["the same parameters in another order", (t: string) => t.replace(/(expires=\d+)&(method=GET)/, "$2&$1")],
    ["an escaped letter", (t: string) => t.replace("/a/", "/%61/")],
    ["an upper-case signature", (t: string) => t.replace(/[0-9a-f]{64}$/, (hex) => hex.toUpperCase())],
    ["a leading zero", (t: string) => t.replace("expires=", "expires=0")],
    ["a parameter twice", (t: string) => `${t}&method=PUT`],
    ["a fragment", (t: string) => `${t}#`],
    ["a way round", (t: string) => t.replace("/a/", "/x/../a/")],
  ])("grants nothing for %s", (_, change) => {
    const target = signGrant(SIGNING_KEY, get);
    expect(change(target)).not.toBe(target);
    expect(openGrant(SIGNING_KEY, change(target), 0)).toBeUndefined();
  });
});

describe("GET and HEAD", () => {
  it("give the object with headers that let no browser run it", async () => {
    const response = await fetch(getUrl);
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "content-type": "application/octet-stream",
      "content-length": "10",
      "accept-ranges": "bytes",
      "x-content-type-options": "nosniff",
      "content-disposition": "attachment",
      "cache-control": "private, no-store",
      "referrer-policy": "no-referrer",
    });
    expect(await response.text()).toBe(TEXT);
    const head = await fetch(getUrl, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length"), await head.text()]).toEqual([200, "10", ""]);
    expect((await fetch(await served.store.signGet("empty", served.clock.now() + HOUR_MS))).status).toBe(200);
  });

  it.each([
    ["bytes=0-0", 206, "0", "bytes 0-0/10"],
    ["bytes=3-5", 206, "345", "bytes 3-5/10"],
    ["bytes=7-", 206, "789", "bytes 7-9/10"],
    ["bytes=-2", 206, "89", "bytes 8-9/10"],
    ["bytes=-99", 206, TEXT, "bytes 0-9/10"],
    ["bytes=8-99", 206, "89", "bytes 8-9/10"],
    ["bytes=5-3", 200, TEXT, null],
    ["bytes=0-1,3-4", 200, TEXT, null],
    ["lines=1-2", 200, TEXT, null],
    ["bytes=10-", 416, undefined, "bytes */10"],
    ["bytes=-0", 416, undefined, "bytes */10"],
  ])("answer the range %j", async (range, status, text, contentRange) => {
    const response = await fetch(getUrl, { headers: { range } });
    expect([response.status, response.headers.get("content-range")]).toEqual([status, contentRange]);
    const body = await response.text();
    if (text !== undefined) expect(body).toBe(text);
  });

  it("never name bytes outside of the object, whatever the range", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^bytes=\d{0,3}-\d{0,3}$/)), fc.nat(200), (header, bytes) => {
        const range = parseRange(header, bytes);
        if (typeof range === "string") return;
        expect(range.first).toBeGreaterThanOrEqual(0);
        expect(range.last).toBeGreaterThanOrEqual(range.first);
        expect(range.last).toBeLessThan(bytes);
      }),
    );
  });
});

describe("refusals", () => {
  it.each([
    "/",
    "/objects",
    "/objects/",
    "/objects/runs",
    "/objects/runs/",
    "/objects/runs/r1",
    "/objects/../format",
    "/objects/%2e%2e/format",
    "//objects/runs/r1",
    "*",
    "http://x/objects/runs/r1",
    "/favicon.ico",
  ])("know nothing of %s", async (target) => {
    const answer = await sendRaw(served.port, rawGet(target));
    expect(answer).toMatch(/^HTTP\/1\.1 403 /);
    expect(answer).toContain("application/problem+json");
  });

  it("are the same for objects that exist and that do not", async () => {
    const [here, nowhere] = await Promise.all(
      ["runs/r2", "runs/none"].map(async (key) => (await fetch(getUrl.replace("runs/r1", key))).text()),
    );
    expect(here).toBe(nowhere);
  });

  it.each(["DELETE", "POST", "PATCH", "OPTIONS"])("answer %s with 405", async (method) => {
    const response = await fetch(getUrl, { method });
    expect([response.status, response.headers.get("allow")]).toEqual([405, "GET, HEAD, PUT"]);
  });

  it("are problems of fixed text, without paths or reasons", async () => {
    const response = await fetch(getUrl.replace("signature=", "signature=0"));
    expect(response.headers.get("content-type")).toBe("application/problem+json");
    expect(await response.json()).toEqual({ type: "about:blank", title: "This URL does not allow that, or no longer.", status: 403 });
  });
});

describe("PUT", () => {
  const announce = (text: string) => ({ bytes: text.length, sha256: sha256(text) });
  const sign = (key: string, text: string) => served.store.signPut(key, announce(text), served.clock.now() + HOUR_MS);
  const put = async (url: string, body: string | ReadableStream, headers: Record<string, string> = {}): Promise<number> =>
    (await fetch(url, { method: "PUT", body, headers, duplex: "half" } as RequestInit)).status;

  it("answers 201 for a new object and 200, unwritten, for one that exists", async () => {
    const url = await sign("put/new", "abc");
    expect(await put(url, "abc")).toBe(201);
    expect(await put(url, "abc")).toBe(200);
    expect(await put(url, "abd")).toBe(200);
    expect(Buffer.from((await served.store.get("put/new", 10)) ?? []).toString()).toBe("abc");
  });

  it("takes a body of unknown length, up to the signed size", async () => {
    expect(await put(await sign("put/chunked", "abc"), new Blob(["abc"]).stream())).toBe(201);
    expect(await put(await sign("put/long", "abc"), new Blob(["abcd"]).stream())).toBe(400);
    expect(await served.store.stat("put/long")).toBeUndefined();
  });

  it("refuses another size, another content and an encoding, leaving nothing", async () => {
    expect(await put(await sign("put/bad", "abc"), "abcd")).toBe(413);
    expect(await put(await sign("put/bad", "abc"), "ab")).toBe(400);
    expect(await put(await sign("put/bad", "abc"), "abd")).toBe(400);
    expect(await put(await sign("put/bad", "abc"), "abc", { "content-encoding": "gzip" })).toBe(415);
    expect(await put(getUrl, "abc")).toBe(403);
    expect(await served.store.stat("put/bad")).toBeUndefined();
    expect(await readdir(join(served.folder, "tmp"))).toEqual([]);
  });

  it("does not read a body without end", async () => {
    const target = new URL(await sign("put/endless", "abc"));
    const answer = await sendRaw(
      served.port,
      `PUT ${target.pathname}${target.search} HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\nabc`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
  });

  it("leaves nothing when the client goes away in the middle", async () => {
    const target = new URL(await sign("put/gone", "abcdef"));
    const socket = connect(served.port, "127.0.0.1");
    await new Promise<void>((sent) =>
      socket.write(`PUT ${target.pathname}${target.search} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc`, () => sent()),
    );
    await expect.poll(() => readdir(join(served.folder, "tmp"))).toHaveLength(1);
    socket.destroy();
    await expect.poll(() => readdir(join(served.folder, "tmp"))).toEqual([]);
    expect(await served.store.stat("put/gone")).toBeUndefined();
  });
});

describe("patience", () => {
  it("ends with a client that sends nothing for the idle time", async () => {
    await using impatient = await serveStore({ requestsMax: 10, idleMs: 100, bytesPerSecondMin: 1_000_000 });
    const target = new URL(await impatient.store.signPut("slow", { bytes: 6, sha256: sha256("abcdef") }, impatient.clock.now() + HOUR_MS));
    expect(
      await sendRaw(impatient.port, `PUT ${target.pathname}${target.search} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc`),
    ).toBe("");
    await expect.poll(() => readdir(join(impatient.folder, "tmp"))).toEqual([]);
  });

  it("ends with a client that trickles beyond the deadline of its size", async () => {
    await using impatient = await serveStore({ requestsMax: 10, idleMs: 5_000, bytesPerSecondMin: 1_000 });
    const target = new URL(await impatient.store.signPut("slow", { bytes: 1_000, sha256: sha256("") }, impatient.clock.now() + HOUR_MS));
    const socket = connect(impatient.port, "127.0.0.1");
    const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    socket.on("error", () => undefined);
    socket.write(`PUT ${target.pathname}${target.search} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc`);
    await expect.poll(() => impatient.clock.sleepers()).toBe(1);
    await impatient.clock.advance(5_999);
    expect(socket.closed).toBe(false);
    await impatient.clock.advance(1);
    await closed;
  });

  it("has a limit of requests at once, and says so", async () => {
    await using narrow = await serveStore({ requestsMax: 1, idleMs: 5_000, bytesPerSecondMin: 1_000 });
    await narrow.store.putIfAbsent("a", Buffer.from("x"));
    const url = await narrow.store.signGet("a", narrow.clock.now() + HOUR_MS);
    const target = new URL(await narrow.store.signPut("slow", { bytes: 6, sha256: sha256("abcdef") }, narrow.clock.now() + HOUR_MS));
    const socket = connect(narrow.port, "127.0.0.1");
    socket.write(`PUT ${target.pathname}${target.search} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc`);
    await expect.poll(() => narrow.clock.sleepers()).toBe(1);
    const response = await fetch(url);
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "1"]);
    socket.destroy();
    await expect.poll(async () => (await fetch(url)).status).toBe(200);
  });
});
