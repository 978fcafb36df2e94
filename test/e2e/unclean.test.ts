/** Every process killed at once at random moments, files cut as a power cut cuts them: the next start goes on or says what is broken. */
import { mkdtemp, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  airavata,
  doublingFile,
  pidsOf,
  run,
  startSystem,
  statusOf,
  type System,
  tryKill,
  until,
  wrongOutputs,
} from "../support/system.ts";

const LIMIT_MS = 600_000;
const TASKS = 400;

let folder = "";
let dataDir = "";
let env: NodeJS.ProcessEnv;
let system: System | undefined;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "unclean-"));
  dataDir = join(folder, "data");
  env = { ...process.env, AIRAVATA_CONTEXT: join(folder, "context.json"), NO_COLOR: "1" };
});
afterEach(async () => {
  await system?.killAll();
  system = undefined;
  await rm(folder, { recursive: true, force: true });
});

const start = async (): Promise<System> => {
  system = await startSystem({ dataDir, env, args: ["--slots", "4"] });
  return system;
};

/** What a power cut may do to files that nobody had synced: the queue's log and the files of moments. */
async function cutFiles(): Promise<void> {
  const wal = join(dataDir, "queue.db-wal");
  const { size } = await stat(wal);
  await truncate(wal, Math.floor(size * Math.random()));
  await writeFile(join(dataDir, "run", "parts.json"), '[{"name":"da');
  await writeFile(join(dataDir, "lock"), '{"pid":');
  await writeFile(join(dataDir, "objects", "tmp", "0123456789ab.1.half"), "half an object");
}

test("a run killed as a whole at random moments, with files cut, ends with every output right", { timeout: LIMIT_MS }, async () => {
  await start();
  await writeFile(join(folder, "run.yaml"), doublingFile(TASKS, "0.05"));
  const created = await airavata(env, "experiment", "run", join(folder, "run.yaml"), "--detach", "--json");
  const id = /exp_[0-9a-z]{26}/.exec(created.out)?.[0] as string;
  let done = 0;
  for (let round = 1; round <= 3; round++) {
    const more = (TASKS / 5) * round;
    const seen = await until(
      () => statusOf(env, id),
      (s) => s.done >= more,
      120_000,
    );
    expect(seen).toMatchObject({ status: "RUNNING", failed: 0 });
    expect(seen.done).toBeGreaterThanOrEqual(done); // T4
    done = seen.done;
    await new Promise((next) => setTimeout(next, Math.random() * 500));
    await system?.killAll();
    await cutFiles();
    await start();
  }
  const end = await until(
    () => statusOf(env, id),
    (s) => s.status !== "RUNNING",
    240_000,
  );
  expect(end).toEqual({ status: "COMPLETED", done: TASKS, failed: 0 });
  const to = join(folder, "outputs");
  expect((await airavata(env, "experiment", "download", id, "--to", to)).code).toBe(0);
  expect(await wrongOutputs(to, TASKS)).toEqual([]);
  const state = await airavata(env, "admin", "status", "--data-dir", dataDir, "--json");
  expect(state.code).toBe(0);
});

test("a database that outlived its supervisor is ended before another one opens the file", { timeout: LIMIT_MS }, async () => {
  const first = await start();
  const ofDatabase = await pidsOf(dataDir, "dynoxide");
  const names = await Promise.all(ofDatabase.map(async (pid) => (await readFile(`/proc/${pid}/comm`, "utf8")).trim()));
  const engine = ofDatabase[names.indexOf("dynoxide")] as number;
  expect(engine).toBeDefined();
  for (const [i, name] of names.entries()) if (name === "sh") tryKill(ofDatabase[i] as number, "SIGSTOP"); // or its guard would end it
  first.supervisor.kill("SIGKILL");
  for (const [i, name] of names.entries()) if (name === "sh") tryKill(ofDatabase[i] as number, "SIGKILL");
  await until(
    () => pidsOf(dataDir),
    (pids) => pids.length === 1,
    30_000,
  );
  expect(await pidsOf(dataDir)).toEqual([engine]);
  await truncate(join(dataDir, "worker-1", "worker.json"), 100); // it joins anew
  const second = await start();
  expect(second.printed()).toMatch(/worker-1: ready/);
  expect(second.printed()).toMatch(/ended 1 process that an earlier run had left/);
  expect(await pidsOf(dataDir, "dynoxide")).not.toContain(engine);
});

test("what can't be repaired is named, with what to do", { timeout: LIMIT_MS }, async () => {
  const first = await start();
  const again = await run(env, "local/main.ts", "--data-dir", dataDir, "--port", "0");
  expect(again).toMatchObject({
    code: 5,
    out: expect.stringMatching(/in use by process \d+: stop that process, or choose another folder/),
  });
  await first.stop();
  system = undefined;
  await truncate(join(dataDir, "format.json"), 0);
  const broken = await run(env, "local/main.ts", "--data-dir", dataDir, "--port", "0");
  expect(broken).toMatchObject({ code: 5, out: expect.stringMatching(/format\.json is damaged.*restore the folder from a backup/) });
});

test("a port that is taken is named with the remedy, and nothing is started or made", { timeout: LIMIT_MS }, async () => {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as { port: number };
  const ended = await run(env, "local/main.ts", "--data-dir", dataDir, "--port", String(port));
  expect(ended).toMatchObject({
    code: 5,
    out: expect.stringContaining(`port ${port} is taken by another program; choose another with --port, or 0`),
  });
  server.close();
  expect(await run(env, "local/main.ts", "--port", "70000")).toMatchObject({
    code: 2,
    out: expect.stringMatching(/--port is a whole number from 0 to 65535/),
  });
  expect(await run(env, "local/main.ts", "--prot", "1")).toMatchObject({ code: 2, out: expect.stringMatching(/--prot.*--help/s) });
});
