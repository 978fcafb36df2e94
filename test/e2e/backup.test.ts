/** A backup made in the middle of a run, the end of the machine, and the same run on another folder. */
import { copyFile, mkdir, mkdtemp, open, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { airavata, doublingFile, startSystem, statusOf, type System, until, wrongOutputs } from "../support/system.ts";

const LIMIT_MS = 600_000;
const TASKS = 1_000;

let folder = "";
let system: System | undefined;
let env: NodeJS.ProcessEnv;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "backup-"));
  env = { ...process.env, AIRAVATA_CONTEXT: join(folder, "context.json"), NO_COLOR: "1" };
});
afterEach(async () => {
  await system?.killAll();
  system = undefined;
  await rm(folder, { recursive: true, force: true });
});

/** Done tasks by number, as the API lists them. */
async function doneTasks(id: string): Promise<Set<string>> {
  const { out } = await airavata(env, "experiment", "tasks", id, "--all", "--state", "COMPLETED", "--json");
  return new Set(out.match(/double\/\d+/g) ?? []);
}

test("a run goes on from a backup made in its middle: nothing committed by then is lost, every output is right", {
  timeout: LIMIT_MS,
}, async () => {
  const original = join(folder, "original");
  system = await startSystem({ dataDir: original, env, args: ["--slots", "4"] });
  await writeFile(join(folder, "run.yaml"), doublingFile(TASKS, "0.02"));
  const created = await airavata(env, "experiment", "run", join(folder, "run.yaml"), "--detach", "--json");
  const id = /exp_[0-9a-z]{26}/.exec(created.out)?.[0] as string;
  await until(
    () => statusOf(env, id),
    (s) => s.done >= TASKS / 5,
    120_000,
  );
  const before = await doneTasks(id);
  const tar = join(folder, "backup.tar");
  const made = await airavata(env, "admin", "backup", tar, "--data-dir", original);
  expect(made).toMatchObject({ code: 0, out: expect.stringMatching(/keep it secret/) });
  const during = await statusOf(env, id);
  expect([during.status, during.done < TASKS]).toEqual(["RUNNING", true]); // else nothing was proved
  expect((await stat(tar)).mode & 0o777).toBe(0o600);
  await system.killAll();
  await rm(original, { recursive: true });

  const restored = join(folder, "restored");
  expect(await airavata(env, "admin", "verify", tar)).toMatchObject({ code: 0 });
  expect(await airavata(env, "admin", "restore", tar, "--data-dir", restored)).toMatchObject({ code: 0 });
  system = await startSystem({ dataDir: restored, env, args: ["--slots", "4"] });
  const kept = await doneTasks(id);
  expect(before.size).toBeGreaterThanOrEqual(TASKS / 5);
  expect([...before].filter((task) => !kept.has(task))).toEqual([]);
  const end = await until(
    () => statusOf(env, id),
    (s) => s.status !== "RUNNING",
    300_000,
  );
  expect(end).toEqual({ status: "COMPLETED", done: TASKS, failed: 0 });
  const to = join(folder, "outputs");
  expect((await airavata(env, "experiment", "download", id, "--to", to)).code).toBe(0);
  expect(await wrongOutputs(to, TASKS)).toEqual([]);
});

test("backup and restore refuse what would lose or guess something", { timeout: LIMIT_MS }, async () => {
  const dataDir = join(folder, "data");
  system = await startSystem({ dataDir, env, args: ["--slots", "1"] });
  const tar = join(folder, "backup.tar");
  const admin = (...args: string[]) => airavata(env, "admin", ...args);
  expect(await admin("backup", tar, "--data-dir", dataDir)).toMatchObject({ code: 0 });
  expect(await admin("backup", tar, "--data-dir", dataDir)).toMatchObject({ code: 5, out: expect.stringMatching(/exists: name another/) });
  expect(await admin("backup", join(folder, "b"), "--data-dir", join(folder, "no"))).toMatchObject({ code: 4 });
  expect(await admin("restore", tar, "--data-dir", dataDir)).toMatchObject({ code: 5, out: expect.stringMatching(/in use by process/) });
  await system.stop();
  expect(await admin("restore", tar, "--data-dir", dataDir)).toMatchObject({ code: 5, out: expect.stringMatching(/not empty/) });
  expect(await admin("restore", join(folder, "no"), "--data-dir", join(folder, "new"))).toMatchObject({ code: 4 });
  expect(await admin("backup", join(folder, "at-rest.tar"), "--data-dir", dataDir)).toMatchObject({ code: 0 });
  expect(await admin("verify", join(folder, "at-rest.tar"))).toMatchObject({ code: 0 });

  const bytes = await readFile(tar);
  const damaged = join(folder, "damaged.tar");
  for (const damage of [
    async () => writeFile(damaged, bytes.subarray(0, bytes.length / 2)), // cut
    async () => writeFile(damaged, bytes.subarray(0, bytes.indexOf("MANIFEST") - 1)), // its end is missing
    async () => {
      await copyFile(tar, damaged); // one bit in an object
      const file = await open(damaged, "r+");
      const at = bytes.indexOf("objects/objects/") + 512;
      await file.write(Buffer.of((bytes[at] ?? 0) ^ 1), 0, 1, at);
      await file.close();
    },
    async () => writeFile(damaged, "no backup at all"),
  ]) {
    await damage();
    expect(await admin("verify", damaged)).toMatchObject({ code: 1, out: expect.stringMatching(/no sound backup/) });
    expect(await admin("restore", damaged, "--data-dir", join(folder, "new"))).toMatchObject({ code: 1 });
    expect(await stat(join(folder, "new")).catch(() => "absent")).toBe("absent");
  }
  await mkdir(join(folder, "empty"));
  expect(await admin("restore", tar, "--data-dir", join(folder, "empty"))).toMatchObject({ code: 0 });
});
