import { readdir, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openFileObjectStore } from "#adapters/file/object-store.ts";
import { createMemoryObjectStore } from "#adapters/memory/object-store.ts";
import { createSystemClock } from "#adapters/system/clock.ts";
import { SchedulerError } from "#domain/error.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { startPeer } from "../support/peer.ts";
import { serveStore, SIGNING_KEY } from "../support/served-store.ts";
import { makeFolder } from "../support/test-folder.ts";
import { bytesOf, describeObjectStore, describeSharedObjectStore, type SignedAnswer } from "./object-store.contract.ts";

async function fetchSigned(method: "GET" | "PUT", url: string, body?: Uint8Array): Promise<SignedAnswer> {
  const response = await fetch(url, { method, ...(body === undefined ? {} : { body: Buffer.from(body) }) });
  return { status: response.status, body: await response.bytes() };
}

describeObjectStore("memory", async () => {
  const clock = createFakeClock();
  const subject = createMemoryObjectStore({ clock });
  const request = async (method: "GET" | "PUT", url: string, sent: Uint8Array = new Uint8Array()): Promise<SignedAnswer> => {
    try {
      if (method === "PUT") return { status: (await subject.putSigned(url, sent)) === "written" ? 201 : 200, body: new Uint8Array() };
      const body = await subject.getSigned(url);
      return body === undefined ? { status: 404, body: new Uint8Array() } : { status: 200, body };
    } catch (error) {
      return { status: error instanceof SchedulerError && error.kind === "forbidden" ? 403 : 400, body: new Uint8Array() };
    }
  };
  return { subject, dispose: async () => {}, nowMs: clock.now, advance: (ms) => clock.advance(ms), request };
});

describeObjectStore("file", async () => {
  const served = await serveStore();
  const { store: subject, clock } = served;
  return {
    subject,
    dispose: () => served[Symbol.asyncDispose](),
    nowMs: clock.now,
    advance: (ms) => clock.advance(ms),
    request: fetchSigned,
  };
});

describeSharedObjectStore("file", async () => {
  const { folder, [Symbol.asyncDispose]: dispose } = await makeFolder();
  const subject = await openFileObjectStore({ folder, baseUrl: "http://localhost", signingKey: SIGNING_KEY, clock: createSystemClock() });
  return { subject, dispose, address: { kind: "file", folder } };
});

describe("file store", () => {
  const clock = createSystemClock();
  const openAt = (folder: string) => openFileObjectStore({ folder, baseUrl: "http://localhost", signingKey: SIGNING_KEY, clock });

  it("sweeps what a killed process left, and spares what a living one writes", async () => {
    await using made = await makeFolder();
    const temporary = join(made.folder, "tmp");
    await using living = await startPeer("object-peer.ts", { kind: "file", folder: made.folder });
    await using dead = await startPeer("object-peer.ts", { kind: "file", folder: made.folder });
    for (const peer of [living, dead]) await peer.tell({ op: "begin", key: "slow", bytes: 1_000_000 });
    expect(await readdir(temporary)).toHaveLength(2);
    await dead.kill();
    await openAt(made.folder);
    expect(await readdir(temporary)).toHaveLength(1);
  });

  it("sweeps what another machine left only after a day", async () => {
    await using made = await makeFolder();
    await openAt(made.folder);
    const [young, old] = ["000000000000.1.young", "000000000000.1.old"].map((name) => join(made.folder, "tmp", name)) as [string, string];
    await writeFile(young, "");
    await writeFile(old, "");
    const twoDaysAgo = clock.now() / 1_000 - 2 * 86_400;
    await utimes(old, twoDaysAgo, twoDaysAgo);
    await openAt(made.folder);
    expect(await readdir(join(made.folder, "tmp"))).toEqual(["000000000000.1.young"]);
  });

  it("keeps objects over a restart and from other users", async () => {
    await using made = await makeFolder();
    await (await openAt(made.folder)).putIfAbsent("a/b", bytesOf("x"));
    expect(await (await openAt(made.folder)).stat("a/b")).toEqual({ key: "a/b", bytes: 1 });
    expect((await stat(join(made.folder, "objects"))).mode & 0o077).toBe(0);
    expect((await stat(join(made.folder, "objects", "a+", "b"))).mode & 0o077).toBe(0);
  });

  it("refuses a folder of another format", async () => {
    await using made = await makeFolder();
    await writeFile(join(made.folder, "format"), "airavata-objects 99\n");
    await expect(openAt(made.folder)).rejects.toMatchObject({ kind: "version-mismatch" });
  });

  it("says that the store cannot be used when the file system refuses", async () => {
    await using made = await makeFolder();
    await writeFile(join(made.folder, "file"), "");
    await expect(openAt(join(made.folder, "file"))).rejects.toMatchObject({ kind: "unavailable" });
  });

  it("leaves no temporary file behind and no folder that is empty", async () => {
    await using made = await makeFolder();
    const store = await openAt(made.folder);
    await store.putIfAbsent("a/b/c", bytesOf("x"));
    await store.putIfAbsent("a/b/c", bytesOf("y"));
    await store
      .putStream(
        "a/d",
        (async function* () {
          yield bytesOf("z");
        })(),
        { bytes: 2, sha256: "" },
      )
      .catch(() => undefined);
    await store.remove("a/b/c");
    expect(await readdir(join(made.folder, "tmp"))).toEqual([]);
    expect(await readdir(join(made.folder, "objects"))).toEqual([]);
  });

  it("writes through to the disk when told to", async () => {
    await using made = await makeFolder();
    const store = await openFileObjectStore({
      folder: made.folder,
      baseUrl: "http://localhost",
      signingKey: SIGNING_KEY,
      clock,
      syncToDisk: true,
    });
    expect(await store.putIfAbsent("a/b", bytesOf("x"))).toBe("written");
  });

  it("refuses short signing keys and URLs that are valid for more than seven days", async () => {
    await using made = await makeFolder();
    const store = await openAt(made.folder);
    await expect(store.signGet("a", clock.now() + 8 * 86_400_000)).rejects.toMatchObject({ kind: "invalid-input" });
    const weak = await openFileObjectStore({ folder: made.folder, baseUrl: "http://localhost", signingKey: new Uint8Array(31), clock });
    await expect(weak.signGet("a", clock.now() + 1_000)).rejects.toMatchObject({ kind: "invalid-input" });
  });
});
