import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, it } from "vitest";
import { createMemoryMessageQueue } from "#adapters/memory/message-queue.ts";
import { openSqliteMessageQueue } from "#adapters/sqlite/message-queue.ts";
import { createSystemClock } from "#adapters/system/clock.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { startPeer } from "../support/peer.ts";
import { makeFolder, type TestFolder } from "../support/test-folder.ts";
import { describeMessageQueue, describeSharedMessageQueue } from "./message-queue.contract.ts";

const DAY_MS = 24 * 3_600_000;
const NOW = { limit: 10, waitMs: 0, visibilityMs: 30_000 };

async function makeFile(): Promise<TestFolder & { readonly file: string }> {
  const made = await makeFolder();
  return { ...made, file: join(made.folder, "queue.db") };
}

describeMessageQueue("memory", async () => {
  const clock = createFakeClock();
  return {
    subject: createMemoryMessageQueue({ clock, receivesMax: 2 }),
    dispose: async () => {},
    advance: (ms) => clock.advance(ms),
    receivesMax: 2,
  };
});

describeMessageQueue("sqlite", async () => {
  const clock = createFakeClock();
  const folder = await makeFile();
  const subject = await openSqliteMessageQueue({ file: folder.file, clock, receivesMax: 2 });
  const dispose = async (): Promise<void> => {
    await subject.close();
    await folder[Symbol.asyncDispose]();
  };
  return { subject, dispose, advance: (ms) => clock.advance(ms), receivesMax: 2 };
});

describeSharedMessageQueue("sqlite", async () => {
  const folder = await makeFile();
  const subject = await openSqliteMessageQueue({ file: folder.file, clock: createSystemClock() });
  const dispose = async (): Promise<void> => {
    await subject.close();
    await folder[Symbol.asyncDispose]();
  };
  return { subject, dispose, address: { kind: "sqlite", file: folder.file } };
});

describe("memory queue", () => {
  it("gives messages out in the order they were sent, the same way every time", async () => {
    const run = async (): Promise<string[]> => {
      const queue = createMemoryMessageQueue({ clock: createFakeClock() });
      for (const body of ["c", "a", "b"]) await queue.send("orders", body);
      return (await queue.receive("orders", NOW)).map((m) => `${m.id} ${m.receipt} ${m.body}`);
    };
    expect(await run()).toEqual(["1 1.1 c", "2 2.1 a", "3 3.1 b"]);
    expect(await run()).toEqual(await run());
  });

  it("leaves no sleeper behind when a receive has ended", async () => {
    const clock = createFakeClock();
    const queue = createMemoryMessageQueue({ clock });
    await queue.send("orders", "a", { delayMs: 50_000 });
    const received = queue.receive("orders", { ...NOW, waitMs: 60_000 });
    await queue.send("orders", "b");
    expect(await received).toHaveLength(1);
    expect(clock.sleepers()).toBe(0);
  });
});

describe("sqlite queue", () => {
  it("keeps messages over a restart, hidden ones hidden", async () => {
    await using folder = await makeFile();
    const clock = createFakeClock();
    {
      await using queue = await openSqliteMessageQueue({ file: folder.file, clock });
      await queue.send("orders", "hidden");
      await queue.receive("orders", { ...NOW, visibilityMs: 5_000 });
      await queue.send("orders", "waiting");
    }
    await using queue = await openSqliteMessageQueue({ file: folder.file, clock });
    expect((await queue.receive("orders", NOW)).map((m) => m.body)).toEqual(["waiting"]);
    await clock.advance(5_000);
    expect(await queue.receive("orders", NOW)).toMatchObject([{ body: "hidden", receives: 2 }]);
  });

  it("gives a new message out although the clock went back", async () => {
    await using folder = await makeFile();
    const clock = createFakeClock();
    await using queue = await openSqliteMessageQueue({ file: folder.file, clock });
    await queue.send("orders", "a");
    clock.jump(-3_600_000);
    expect(await queue.receive("orders", NOW)).toHaveLength(1);
  });

  it("finds messages of another process although no watch tells of them", async () => {
    await using made = await makeFile();
    await using queue = await openSqliteMessageQueue({ file: made.file, clock: createSystemClock() });
    await rm(`${made.file}-bell`); // the other process makes a new one, which this one does not watch
    await using peer = await startPeer("queue-peer.ts", { kind: "sqlite", file: made.file });
    const received = queue.receive("orders", { ...NOW, waitMs: 10_000 });
    await peer.tell({ op: "send", queue: "orders", bodies: ["a"] });
    const fromMs = performance.now();
    expect(await received).toHaveLength(1);
    expect(performance.now() - fromMs).toBeLessThan(2_000);
  });

  it("stays whole when a process is killed while it sends", async () => {
    await using made = await makeFile();
    await using queue = await openSqliteMessageQueue({ file: made.file, clock: createSystemClock() });
    await using peer = await startPeer("queue-peer.ts", { kind: "sqlite", file: made.file });
    const bodies = Array.from({ length: 20_000 }, (_, i) => `${i}`);
    const sending = peer.tell({ op: "send", queue: "orders", bodies });
    await expect.poll(() => queue.depth("orders"), { interval: 1, timeout: 20_000 }).toBeGreaterThan(0);
    await peer.kill();
    await Promise.allSettled([sending]);
    const kept = await queue.depth("orders");
    await queue.send("orders", "after");
    expect(await queue.depth("orders")).toBe(kept + 1);
    const file = new DatabaseSync(made.file);
    expect(file.prepare("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
    file.close();
  });

  it("drops what nobody took for four days", async () => {
    await using made = await makeFile();
    const clock = createFakeClock();
    await using queue = await openSqliteMessageQueue({ file: made.file, clock });
    await queue.send("nobody", "old");
    await clock.advance(3 * DAY_MS);
    await queue.send("nobody", "young");
    expect(await queue.depth("nobody")).toBe(2);
    await clock.advance(2 * DAY_MS);
    await queue.send("orders", "x");
    expect((await queue.receive("nobody", NOW)).map((m) => m.body)).toEqual(["young"]);
  });

  it("lets a hundred receives wait at once", async () => {
    await using made = await makeFile();
    const clock = createFakeClock();
    const warnings: string[] = [];
    const note = (warning: Error): unknown => warnings.push(warning.message);
    process.on("warning", note);
    const queue = await openSqliteMessageQueue({ file: made.file, clock });
    const all = Array.from({ length: 100 }, () => queue.receive("orders", { ...NOW, waitMs: 60_000 }));
    await clock.advance(1);
    await queue.close();
    expect((await Promise.all(all)).flat()).toEqual([]);
    process.off("warning", note);
    expect(warnings).toEqual([]);
  });

  it("refuses a file of another format and leaves it alone", async () => {
    await using folder = await makeFile();
    const other = new DatabaseSync(folder.file);
    other.exec("PRAGMA user_version = 99");
    other.close();
    await expect(openSqliteMessageQueue({ file: folder.file, clock: createFakeClock() })).rejects.toMatchObject({
      kind: "version-mismatch",
    });
  });

  it("opens one new file from eight places at once", async () => {
    await using folder = await makeFile();
    const clock = createSystemClock();
    const queues = await Promise.all(Array.from({ length: 8 }, () => openSqliteMessageQueue({ file: folder.file, clock })));
    await Promise.all(queues.map((queue, i) => queue.send("orders", `${i}`)));
    expect(await queues[0]?.depth("orders")).toBe(8);
    await Promise.all(queues.map((queue) => queue.close()));
  });

  it("keeps its file from other users", async () => {
    await using folder = await makeFile();
    await using queue = await openSqliteMessageQueue({ file: folder.file, clock: createFakeClock() });
    await queue.send("orders", "a");
    for (const suffix of ["", "-wal", "-shm", "-bell"]) expect((await stat(folder.file + suffix)).mode & 0o077).toBe(0);
  });

  it("ends waiting receives when it is closed and refuses later calls", async () => {
    await using folder = await makeFile();
    const clock = createFakeClock();
    const queue = await openSqliteMessageQueue({ file: folder.file, clock });
    const received = queue.receive("orders", { ...NOW, waitMs: 60_000 });
    await clock.advance(1);
    await queue.close();
    expect(await received).toEqual([]);
    expect(clock.sleepers()).toBe(0);
    await expect(queue.send("orders", "a")).rejects.toMatchObject({ kind: "unavailable" });
  });
});
