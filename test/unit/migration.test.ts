/** The data folder moves from format to format: all or nothing, whatever kills it. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openDataFolder } from "../../local/data-folder.ts";
import { type Migration, migrate } from "../../local/migration.ts";
import { DATA_FORMAT_VERSION, MIGRATIONS } from "../../local/migrations.ts";
import { doubling } from "../support/migrating.ts";

const PROGRAM = fileURLToPath(new URL("../support/migrating.ts", import.meta.url));

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "migration-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
const read = (name: string) => readFileSync(join(folder, name), "utf8");
const run = (...steps: Migration[]) => migrate({ folder, version: 1, steps, print: () => {} });
const modeOf = (name: string) => statSync(join(folder, name)).mode & 0o777;

test("there is a step from every format to the next", () => {
  expect(MIGRATIONS.map((m) => m.from)).toEqual(Array.from({ length: DATA_FORMAT_VERSION - 1 }, (_, i) => i + 1));
});

describe("a step", () => {
  beforeEach(() => {
    write("format.json", '{"version":1}\n');
    write("numbers", "1\n2\n3\n");
  });

  test("changes what it is for, moves the format on and leaves nothing behind", () => {
    run(doubling(() => {}));
    expect([read("numbers"), read("format.json")]).toEqual(["2\n4\n6\n", '{"version":2}\n']);
    expect(readdirSync(folder).sort()).toEqual(["format.json", "log", "numbers"]);
  });

  test("several run in order, from the folder's format on", () => {
    const ran: number[] = [];
    const step = (from: number): Migration => ({ from, what: "", rewrites: [], run: () => void ran.push(from) });
    migrate({ folder, version: 2, steps: [step(1), step(2), step(3)], print: () => {} });
    expect(ran).toEqual([2, 3]);
    expect(read("format.json")).toBe('{"version":4}\n');
  });

  test.each([1, 2, 3])("killed after write %i goes on at the next start, and nothing is changed twice", (dieAfter) => {
    const killed = spawnSync(process.execPath, [PROGRAM, folder, String(dieAfter)]);
    expect(killed.signal).toBe("SIGKILL");
    expect([read("format.json"), read("numbers")]).not.toEqual(['{"version":1}\n', "1\n2\n3\n"]);
    run(doubling(() => {}));
    expect([read("numbers"), read("format.json")]).toEqual(["2\n4\n6\n", '{"version":2}\n']);
  });

  test("killed while its copies are made begins with new copies", () => {
    mkdirSync(join(folder, "migration-1"));
    write("migration-1/numbers", "half");
    run(doubling(() => {}));
    expect(read("numbers")).toBe("2\n4\n6\n");
  });

  test("that fails leaves everything as it was and says what to do", () => {
    const fail = doubling((written) => {
      mkdirSync(join(folder, "more"), { recursive: true });
      write("more/new", "was not there");
      if (written === 2) throw new Error("no such luck");
    });
    expect(() => run(fail)).toThrow(/from data format 1 to 2 \(no such luck\); it is as it was: mend the cause and start again/);
    expect([read("numbers"), read("format.json")]).toEqual(["1\n2\n3\n", '{"version":1}\n']);
    expect(existsSync(join(folder, "more/new"))).toBe(false);
    expect(existsSync(join(folder, "migration-1"))).toBe(false);
  });
});

describe("a folder of format 1", () => {
  /** As release 0.1 left it. */
  const build = () => {
    write("format.json", '{"version":1}\n');
    for (const name of [
      "state.db",
      "relationships.db",
      "queue.db",
      "worker-1.token",
      "worker-12.token",
      "admin-password",
      "worker-1.txt",
    ]) {
      write(name, name);
      chmodSync(join(folder, name), 0o644);
    }
    mkdirSync(join(folder, "worker-1"));
    write("worker-1/worker.json", "{}");
  };

  test("is opened as format 2: no tokens lie about, and databases are its owner's alone", () => {
    build();
    const told: string[] = [];
    const opened = openDataFolder(folder, (line) => told.push(line));
    expect(read("format.json")).toBe('{"version":2}\n');
    expect(readdirSync(folder).filter((name) => name.endsWith(".token"))).toEqual([]);
    expect(["state.db", "relationships.db", "queue.db", "admin-password"].map(modeOf)).toEqual([0o600, 0o600, 0o600, 0o600]);
    expect([read("state.db"), read("worker-1/worker.json"), read("worker-1.txt")]).toEqual(["state.db", "{}", "worker-1.txt"]);
    expect(opened.run).toBe(join(folder, "run"));
    expect(told).toEqual([expect.stringMatching(/from data format 1 to 2: worker tokens leave/)]);
    opened.release();
    openDataFolder(folder, expect.unreachable).release();
  });
});
