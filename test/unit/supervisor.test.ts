import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parseReadyLine } from "../../local/child.ts";
import { openDataFolder, startOf } from "../../local/data-folder.ts";
import { dynoxidePart, findDynoxide, parseDynoxideReady, startDynoxide } from "../../local/dynoxide.ts";
import { openLogFile } from "../../local/log-file.ts";
import { decideRestart, RESTART_POLICY } from "../../local/restart-policy.ts";
import type { PartState } from "../../local/part-states.ts";
import { createSupervisor, type Known, type Part, type Supervisor } from "../../local/supervisor.ts";

const PART = fileURLToPath(new URL("../support/part.ts", import.meta.url));
const SUPERVISED = fileURLToPath(new URL("../support/supervised.ts", import.meta.url));
const QUICK = { firstDelayMs: 5, delayMsMax: 20, stableMs: 60_000, fastCrashesMax: 3 };

let folder: string;
let events: string;
let printed: string[];
let supervisor: Supervisor | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "supervisor-"));
  events = join(folder, "events");
  printed = [];
});

afterEach(async () => {
  await supervisor?.stop();
  supervisor = undefined;
  rmSync(folder, { recursive: true, force: true });
});

const supervise = (...parts: Part[]): Supervisor => {
  supervisor = createSupervisor({ parts, logFolder: folder, print: (line) => printed.push(line), policy: QUICK });
  return supervisor;
};

const aPart = (name: string, args: readonly string[] = [], more: Partial<Part> = {}): Part => ({
  name,
  command: () => ({ command: process.execPath, args: [PART, "--name", name, "--events", events, ...args] }),
  ...more,
});

/** The part, and what its command was told. */
const asked = (part: Part, hear: (known: Known) => void): Part => ({
  ...part,
  command: (known) => {
    hear(known);
    return part.command(known);
  },
});

const happened = (): string[] => readFileSync(events, "utf8").trim().split("\n");
const pidOf = (name: string, what = "started"): number =>
  Number(
    happened()
      .findLast((e) => e.startsWith(`${name} ${what} `))
      ?.split(" ")[2],
  );
const isAlive = (pid: number): boolean => startOf(pid) !== undefined;
const gone = (pid: number) => expect.poll(() => isAlive(pid), { timeout: 5_000 }).toBe(false);

describe("the supervisor", () => {
  test("starts parts after those they depend on, hands over what these announced, and stops in reverse", async () => {
    const heard: unknown[] = [];
    const c: Part = { ...aPart("c"), after: ["b", "a"] };
    const facts = await supervise(
      asked(c, (known) => heard.push(Object.fromEntries(known.ready))),
      aPart("b", ["--port", "2"], { after: ["a"] }),
      aPart("a", ["--port", "1"]),
    ).start();
    expect([...(facts ?? [])].map(([name]) => name).sort()).toEqual(["a", "b", "c"]);
    expect(heard).toEqual([{ a: { port: 1 }, b: { port: 2 } }]);
    await supervisor?.stop();
    expect(await supervisor?.ended).toBeUndefined();
    const order = happened().map((e) => e.replace(/ \d+$/, ""));
    expect(order.slice(0, 3)).toEqual(["a started", "b started", "c started"]);
    expect(order.slice(3)).toEqual(["c asked to stop", "c stopped", "b asked to stop", "b stopped", "a asked to stop", "a stopped"]);
    expect(printed).toEqual(["a: ready (port 1)", "b: ready (port 2)", expect.stringMatching(/^c: ready/)]);
  });

  test("starts a killed part again, tells why, and leaves the others alone", async () => {
    const previous: unknown[] = [];
    const a = aPart("a", ["--complaint", "something is odd"]);
    await supervise(
      asked(a, (known) => previous.push(known.previous)),
      aPart("b", [], { after: ["a"] }),
    ).start();
    const [first, other] = [pidOf("a"), pidOf("b")];
    process.kill(first, "SIGKILL");
    await expect.poll(() => printed.filter((line) => line.startsWith("a: ready")).length, { timeout: 5_000 }).toBe(2);
    expect(pidOf("a")).not.toBe(first);
    expect(pidOf("b")).toBe(other);
    expect(printed).toContain("a: ended by signal SIGKILL, starting again in 0.005 s. Its last lines:\n    something is odd");
    expect(previous).toEqual([undefined, { port: first }]);
  });

  test("gives a part up that crashes fast again and again, stops the rest and says why", async () => {
    const started = supervise(aPart("a"), aPart("b", ["--exit", "3", "--complaint", "no disk"], { after: ["a"] })).start();
    expect(await supervisor?.ended).toBe("b ended 4 times in a row, last by exit code 3. Its last lines:\n    no disk");
    await started;
    expect(printed.at(-1)).toMatch(/^giving up: b ended 4 times/);
    expect(happened()).toContain("a stopped");
    expect(happened().filter((e) => e.startsWith("b started"))).toHaveLength(4);
  });

  test("holds on to a crashing part while there is a reason to, with the longest pause, and tells where each part is", async () => {
    let told: readonly PartState[] = [];
    let full = true;
    supervisor = createSupervisor({
      parts: [aPart("a"), aPart("b", ["--exit", "3", "--complaint", "no room"], { after: ["a"] })],
      logFolder: folder,
      print: (line) => printed.push(line),
      policy: QUICK,
      tell: (states) => (told = states),
      holdOn: () => (full ? "the disk is full" : undefined),
    });
    void supervisor.start();
    await expect
      .poll(() => printed.filter((line) => line.includes("again in 0.02 s (the disk is full)")).length, { timeout: 8_000 })
      .toBeGreaterThan(1);
    expect(told.map((p) => [p.name, p.restarts > 4, p.reason])).toEqual([
      ["a", false, undefined],
      ["b", true, "exit code 3: no room"],
    ]);
    expect(told[0]).toMatchObject({ state: "ready", pid: pidOf("a"), facts: { port: pidOf("a") } });
    full = false;
    expect(await supervisor.ended).toMatch(/^b ended 4 times in a row/);
  });

  test("kills a part that does not stop when asked", async () => {
    await supervise(aPart("a", ["--ignore-term"], { graceMs: 100 })).start();
    await supervisor?.stop();
    expect(happened().at(-1)).toBe("a asked to stop");
    expect(isAlive(pidOf("a"))).toBe(false);
  });

  test("kills at once when told twice", async () => {
    await supervise(
      aPart("a", ["--ignore-term"], { graceMs: 60_000 }),
      aPart("b", ["--ignore-term"], { after: ["a"], graceMs: 60_000 }),
    ).start();
    void supervisor?.stop();
    supervisor?.kill();
    await supervisor?.ended;
    expect(isAlive(pidOf("a")) || isAlive(pidOf("b"))).toBe(false);
  });

  test("a part that does not get ready in time is killed and counts as crashed", async () => {
    await supervise(aPart("a", ["--never-ready"], { readyWithinMs: 300 })).start();
    expect(await supervisor?.ended).toMatch(/^a ended 4 times in a row, last by not ready within 0.3 s \(signal SIGKILL\)/);
  });

  test("a program that does not exist is named", async () => {
    await supervise({ name: "a", command: () => ({ command: "/does/not/exist", args: [] }) }).start();
    expect(await supervisor?.ended).toMatch(/\/does\/not\/exist ENOENT/);
  });

  test("a command that can't be made ends everything with its message", async () => {
    const fail = () => {
      throw new Error("no such package");
    };
    expect(await supervise(aPart("a"), { name: "b", after: ["a"], command: fail }).start()).toBeUndefined();
    expect(await supervisor?.ended).toBe("b can't be started: no such package");
  });

  test("what an ended part left running is killed before its next start", async () => {
    await supervise(aPart("a", ["--stray"])).start();
    const [first, stray] = [pidOf("a"), pidOf("a", "stray")];
    process.kill(first, "SIGKILL");
    await gone(stray);
    await expect.poll(() => pidOf("a"), { timeout: 5_000 }).not.toBe(first);
  });

  test("stopping while parts still start leaves none behind", async () => {
    const started = supervise(aPart("a"), aPart("b", [], { after: ["a"] })).start();
    await supervisor?.stop();
    expect(await started).toBeUndefined();
    expect(await supervisor?.ended).toBeUndefined();
  });

  test("parts that wait for each other, for nobody or under one name are our own mistake", async () => {
    await expect(supervise(aPart("a", [], { after: ["b"] }), aPart("b", [], { after: ["a"] })).start()).rejects.toThrow(
      /does not come after itself/,
    );
    expect(() => supervise(aPart("a", [], { after: ["b"] }))).toThrow(/comes after b, which exists/);
    expect(() => supervise(aPart("a"), aPart("a"))).toThrow(/names of their own/);
  });

  test("everything a part prints lies in its log file", async () => {
    await supervise(aPart("a", ["--complaint", "hear me"])).start();
    await supervisor?.stop();
    expect(readFileSync(join(folder, "a.log"), "utf8")).toMatch(/hear me/);
  });
});

describe("a supervisor process", () => {
  const launch = async () => {
    const child = spawn(process.execPath, [SUPERVISED, join(folder, "data"), events], { stdio: ["ignore", "pipe", "inherit"] });
    const lines: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      lines.push(line);
      if (line === "all ready") break;
    }
    return { child, lines };
  };

  test("killed by kill -9 leaves no part behind, and its lock is taken over", async () => {
    const { child } = await launch();
    const pids = [pidOf("ours"), pidOf("foreign")];
    expect(pids.map(isAlive)).toEqual([true, true]);
    expect(() => openDataFolder(join(folder, "data"))).toThrow(new RegExp(`in use by process ${child.pid}: .*--data-dir`));
    child.kill("SIGKILL");
    await once(child, "exit");
    for (const pid of pids) await gone(pid);
    openDataFolder(join(folder, "data")).release();
  });

  test.each(["SIGTERM", "SIGINT"] as const)("stops all parts at %s and ends well", async (signal) => {
    const { child } = await launch();
    const pids = [pidOf("ours"), pidOf("foreign")];
    const ended = once(child, "exit");
    child.kill(signal);
    expect(await ended).toEqual([0, null]);
    expect(pids.map(isAlive)).toEqual([false, false]);
    expect(readdirSync(join(folder, "data"))).not.toContain("lock");
  });
});

describe("the restart policy", () => {
  test("pauses grow to their limit, and a stable run starts the count anew", () => {
    const lived = (crashes: number, livedMs: number) => decideRestart(crashes, livedMs, RESTART_POLICY);
    expect([0, 1, 2, 3, 4].map((n) => lived(n, 0))).toEqual(
      [200, 400, 800, 1600, 3200].map((delayMs, n) => ({ kind: "restart", crashes: n + 1, delayMs })),
    );
    expect(lived(5, 29_999)).toEqual({ kind: "give-up", crashes: 6 });
    expect(lived(5, 30_000)).toEqual({ kind: "restart", crashes: 1, delayMs: 200 });
  });

  test("no pause is longer than the limit", () => {
    fc.assert(
      fc.property(fc.nat(100), fc.nat(100_000), (crashes, livedMs) => {
        const decision = decideRestart(crashes, livedMs, { ...RESTART_POLICY, fastCrashesMax: 1_000 });
        return decision.kind === "restart" && decision.delayMs > 0 && decision.delayMs <= RESTART_POLICY.delayMsMax;
      }),
    );
  });
});

describe("the data folder", () => {
  const open = () => openDataFolder(join(folder, "data"));
  const put = (name: string, text: string) => writeFileSync(join(folder, "data", name), text);

  test("is made, locked, released and opened again", () => {
    const first = open();
    expect(open).toThrow(new RegExp(`in use by process ${process.pid}: stop that process, or choose another folder with --data-dir`));
    first.release();
    open().release();
    expect(readFileSync(join(folder, "data", "format.json"), "utf8")).toBe('{"version":2}\n');
  });

  test("a lock whose process is gone, or is another one under the same id, is taken over", () => {
    open().release();
    const host = hostname();
    for (const text of [
      JSON.stringify({ pid: 4_194_303, started: "x", host }),
      JSON.stringify({ pid: process.pid, started: "earlier", host }),
      "{half a lo",
      "",
    ]) {
      put("lock", text);
      open().release();
    }
  });

  test("a lock of another machine is respected", () => {
    open().release();
    put("lock", JSON.stringify({ pid: 1, started: "x", host: "elsewhere.example" }));
    expect(open).toThrow(/process 1 on elsewhere\.example \(if that machine is gone, delete the file named lock in it\)/);
  });

  test("a release leaves another's lock in place", () => {
    const first = open();
    put("lock", "not ours");
    first.release();
    expect(readdirSync(join(folder, "data"))).toContain("lock");
  });

  test.each([
    ['{"version":3}', /written by a newer release \(data format 3, this one reads up to 2\): install that release/],
    ['{"version":0}', /damaged.*restore the folder from a backup/],
    ['{"version":1.5}', /damaged/],
    ['{"version":"1"}', /damaged/],
    ["{}", /damaged/],
    ["rubbish", /damaged/],
    ["", /damaged/],
  ])("the format %j is refused and the lock given back", (text, why) => {
    open().release();
    put("format.json", text);
    expect(open).toThrow(why);
    expect(readdirSync(join(folder, "data"))).not.toContain("lock");
  });

  test("a folder with other things in it is refused", () => {
    writeFileSync(events, "");
    expect(() => openDataFolder(folder)).toThrow(/no data folder of ours/);
  });
});

describe("a log file", () => {
  test("is rotated by size and bounded in number", () => {
    const path = join(folder, "a.log");
    const log = openLogFile({ path, report: expect.unreachable, bytesMax: 100, filesKept: 2 });
    for (let i = 0; i < 50; i++) log.write(Buffer.from(`line ${String(i).padStart(4, "0")}\n`));
    log.close();
    expect(readdirSync(folder).sort()).toEqual(["a.log", "a.log.1", "a.log.2"]);
    for (const name of readdirSync(folder)) expect(statSync(join(folder, name)).size).toBeLessThanOrEqual(100);
    const text = ["a.log.2", "a.log.1", "a.log"].map((name) => readFileSync(join(folder, name), "utf8")).join("");
    expect(text.trim().split("\n").at(-1)).toBe("line 0049");
    expect(text.trim().split("\n")).toHaveLength(30);
  });

  test("continues an earlier one, and is silent once closed", () => {
    const path = join(folder, "a.log");
    for (const text of ["one\n", "two\n"]) {
      const log = openLogFile({ path, report: expect.unreachable });
      log.write(Buffer.from(text));
      log.close();
      log.write(Buffer.from("late\n"));
    }
    expect(readFileSync(path, "utf8")).toBe("one\ntwo\n");
  });

  test.skipIf(process.platform !== "linux")("a full disk is reported once and stops nothing", () => {
    const reports: string[] = [];
    const log = openLogFile({ path: "/dev/full", report: (m) => reports.push(m) });
    log.write(Buffer.from("one\n"));
    log.write(Buffer.from("two\n"));
    log.close();
    expect(reports).toEqual([expect.stringMatching(/ENOSPC.*lines are lost/)]);
  });
});

describe("readiness lines", () => {
  test.each([
    ['{"ready":true,"port":1234}', { port: 1234 }],
    ['{"ready":true}', {}],
    ['{"ready":true', undefined],
    ['{"ready":false,"port":1}', undefined],
    ["hello", undefined],
  ])("%s", (line, facts) => expect(parseReadyLine(line)).toEqual(facts));
});

describe("the local database", () => {
  const hasDynoxide = (() => {
    try {
      return findDynoxide() !== "";
    } catch {
      return false;
    }
  })();
  const ask = (endpoint: string, action: string, body: object) =>
    fetch(endpoint, {
      method: "POST",
      headers: {
        "x-amz-target": `DynamoDB_20120810.${action}`,
        "content-type": "application/x-amz-json-1.0",
        "x-amz-date": "20260101T000000Z",
        authorization: "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=x",
      },
      body: JSON.stringify(body),
    }).then((r) => r.json());
  const TABLE = {
    TableName: "things",
    AttributeDefinitions: [{ AttributeName: "pk", AttributeType: "S" }],
    KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }],
    BillingMode: "PAY_PER_REQUEST",
  };

  test("a platform without it is told which package is missing and what to do", () => {
    expect(() => findDynoxide("plan9", "mips")).toThrow(/@dynoxide\/plan9-mips, which is not installed: run "npm install"/);
  });

  test.skipIf(!hasDynoxide)("starts on a free port, keeps its data over a restart and frees the port", async () => {
    const dbPath = join(folder, "state.db");
    const first = await startDynoxide({ dbPath });
    await ask(first.endpoint, "CreateTable", TABLE);
    await first.stop();
    await using second = await startDynoxide({ dbPath, port: first.port });
    expect(await ask(second.endpoint, "ListTables", {})).toEqual({ TableNames: ["things"] });
    await expect(startDynoxide({ dbPath: join(folder, "other.db"), port: first.port })).rejects.toThrow(
      /did not start: exit code 1; .*already in use/,
    );
  });

  test.skipIf(!hasDynoxide)("as a part comes back on its port with its data", async () => {
    const facts = await supervise(await dynoxidePart({ dbPath: join(folder, "state.db"), port: 0 })).start();
    const endpoint = String(facts?.get("database")?.endpoint);
    await ask(endpoint, "CreateTable", TABLE);
    const shell = Number(readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, "utf8").trim().split(" ").at(-1));
    process.kill(shell, "SIGKILL");
    await expect.poll(() => printed.filter((line) => line.startsWith("database: ready")).length, { timeout: 5_000 }).toBe(2);
    expect(await ask(endpoint, "ListTables", {})).toEqual({ TableNames: ["things"] });
  });

  test("its line of readiness is understood", () => {
    expect(parseDynoxideReady("Dynoxide listening on http://127.0.0.1:8000")).toEqual({ endpoint: "http://127.0.0.1:8000", port: 8000 });
    expect(parseDynoxideReady("Shutting down...")).toBeUndefined();
  });
});
