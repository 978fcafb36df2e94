/** Backups of a folder that is written without pause: what the state names is there. */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { pack } from "tar-stream";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openFileObjectStore } from "#adapters/file/object-store.ts";
import { holdRemovals } from "#adapters/file/removal-hold.ts";
import { makeBackup } from "../../local/backup.ts";
import { restoreBackup, verifyBackup } from "../../local/restore.ts";
import { createFakeClock } from "../support/fake-clock.ts";

const WRITER = fileURLToPath(new URL("../support/backup-writer.ts", import.meta.url));
const LIMIT_MS = 60_000;

let base: string;
let writer: ChildProcess | undefined;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "backup-"));
});
afterEach(async () => {
  if (writer !== undefined) await end(writer);
  writer = undefined;
  rmSync(base, { recursive: true, force: true });
});

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((done) => child.once("exit", done));
  child.kill("SIGKILL");
  await ended;
}

/** Resolves when so many rows are written; the writer goes on. */
async function startWriter(folder: string, rows: number): Promise<void> {
  writer = spawn(process.execPath, [WRITER, folder], { stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface({ input: writer.stdout as NodeJS.ReadableStream })) if (Number(line) >= rows) break;
  writer.stdout?.resume();
}

const rowsOf = (folder: string, name: string): number[] => {
  const db = new DatabaseSync(join(folder, name));
  const rows = db
    .prepare("SELECT n FROM rows ORDER BY n")
    .all()
    .map((row) => Number(row.n));
  db.close();
  return rows;
};

test("of a folder under writes: whatever a row names is there, and what was written before is in it", { timeout: LIMIT_MS }, async () => {
  const folder = join(base, "data");
  await startWriter(folder, 200);
  for (let round = 1; round <= 3; round++) {
    const before = rowsOf(folder, "state.db").length;
    const tar = join(base, `${round}.tar`);
    await makeBackup(folder, tar);
    expect(statSync(tar).mode & 0o777).toBe(0o600);
    const restored = join(base, `restored-${round}`);
    await restoreBackup(tar, restored);
    const rows = rowsOf(restored, "state.db");
    expect(rows.length).toBeGreaterThanOrEqual(before);
    expect(rows.filter((n) => !existsSync(join(restored, "objects", "objects", "r+", String(n))))).toEqual([]);
    // Written before the state's row, and read after it; the queue's are hints and come last.
    expect(rowsOf(restored, "relationships.db").length).toBeGreaterThanOrEqual(rows.length);
    expect(statSync(join(restored, "secret.key")).mode & 0o777).toBe(0o600);
  }
  expect(readdirSync(base).filter((name) => name.startsWith("."))).toEqual([]);
});

test("objects are not removed while one is made, and a hold of a process that is gone holds nothing", async () => {
  const folder = join(base, "objects");
  const store = await openFileObjectStore({
    folder,
    baseUrl: "http://127.0.0.1:1",
    signingKey: new Uint8Array(32),
    clock: createFakeClock(),
  });
  await store.putIfAbsent("r/1", Buffer.from("x"));
  const release = holdRemovals(folder);
  await expect(store.remove("r/1")).rejects.toMatchObject({
    kind: "unavailable",
    message: expect.stringMatching(/a backup is being made/),
  });
  release();
  writeFileSync(join(folder, "holds", "4194303"), "");
  await store.remove("r/1");
  expect(await store.stat("r/1")).toBeUndefined();
});

describe("a file that is no sound backup", () => {
  type Entry = readonly [name: string, text: string, type?: "file" | "symlink"];
  async function tarOf(...entries: Entry[]): Promise<string> {
    const tar = pack();
    for (const [name, text, type = "file"] of entries) {
      if (type === "symlink") tar.entry({ name, type, linkname: text });
      else tar.entry({ name, mode: 0o777 }, text);
    }
    tar.finalize();
    const chunks: Buffer[] = [];
    for await (const chunk of tar) chunks.push(chunk as Buffer);
    const file = join(base, "made.tar");
    writeFileSync(file, Buffer.concat(chunks));
    return file;
  }
  const about = (more: object = {}): Entry => [
    "backup.json",
    JSON.stringify({ formatVersion: 1, dataFormat: 2, release: "x", madeAt: "y", ...more }),
  ];
  const NOISE = "no database ".repeat(100);
  const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");
  const listed = (name: string): Entry => [
    "MANIFEST",
    `${sha256("a")} 1 ${name}
`,
  ];

  test.each<[string, RegExp, Entry[]]>([
    ["leads out of the folder", /holds "\.\.\/evil"/, [about(), ["../evil", "a"], listed("../evil")]],
    ["names an absolute place", /holds "\/tmp\/evil"/, [about(), ["/tmp/evil", "a"], listed("/tmp/evil")]],
    ["holds a link", /\(symlink\)/, [about(), ["link", "/etc/passwd", "symlink"]]],
    ["lacks a file of its list", /gone is missing/, [about(), listed("gone")]],
    ["has a file that its list does not name", /does not name/, [about(), ["more", "a"], ["MANIFEST", ""]]],
    ["has another content", /a has another checksum/, [about(), ["a", "b"], listed("a")]],
    ["has a file twice", /a stands in it twice/, [about(), ["a", "a"], ["a", "a"], listed("a")]],
    ["goes on behind its list", /stands behind the list/, [about(), listed("a"), ["a", "a"]]],
    ["does not begin like one", /does not begin like one/, [["a", "a"]]],
    ["has no end", /its end is missing/, [about(), ["a", "a"]]],
    [
      "has a database that is none",
      /the database a\.db is not sound/,
      [about(), ["a.db", NOISE], ["MANIFEST", `${sha256(NOISE)} ${NOISE.length} a.db\n`]],
    ],
  ])("because it %s is refused, and nothing is left", async (_, why, entries) => {
    const file = await tarOf(...entries);
    await expect(restoreBackup(file, join(base, "new"))).rejects.toMatchObject({ kind: "integrity", message: expect.stringMatching(why) });
    await expect(verifyBackup(file)).rejects.toMatchObject({ kind: "integrity" });
    expect(readdirSync(base)).toEqual(["made.tar"]);
  });

  test.each([{ formatVersion: 2 }, { dataFormat: 3 }])("of a newer release (%j) is refused with advice", async (more) => {
    const file = await tarOf(about(more), ["a", "a"], listed("a"));
    await expect(restoreBackup(file, join(base, "new"))).rejects.toMatchObject({
      kind: "version-mismatch",
      message: expect.stringMatching(/newer release/),
    });
  });

  test("a sound one goes into a new or an empty folder and no other", async () => {
    const file = await tarOf(about(), ["a", "a"], listed("a"));
    mkdirSync(join(base, "empty"));
    chmodSync(join(base, "empty"), 0o755);
    await restoreBackup(file, join(base, "empty"));
    expect(readFileSync(join(base, "empty", "a"), "utf8")).toBe("a");
    await expect(restoreBackup(file, join(base, "empty"))).rejects.toMatchObject({
      kind: "conflict",
      message: expect.stringMatching(/not empty/),
    });
  });
});
