/**
 * The machine sleeps, and its clock jumps, while tasks run: real processes and real time, hence minutes.
 *
 * Each attempt leaves a line in a file outside, so that one that ran twice is seen.
 */
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { realTest } from "../support/real.ts";
import { airavata, doublingFile, pidsOf, startSystem, statusOf, type System, tryKill, until, wrongOutputs } from "../support/system.ts";

const LIMIT_MS = 900_000;
const TASKS = 300;
/** Longer than a silent worker is waited for. */
const SLEEP_MS = 150_000;

let folder = "";
let system: System | undefined;

afterEach(async () => {
  if (system !== undefined) for (const pid of await pidsOf(system.dataDir)) tryKill(pid, "SIGCONT");
  await system?.killAll();
  system = undefined;
  await rm(folder, { recursive: true, force: true });
});

/** Starts the tasks; gives what is needed to see how they end. */
async function begin(env: NodeJS.ProcessEnv): Promise<{ id: string; attempts: () => Promise<string[]> }> {
  const trace = join(folder, "attempts");
  const file = doublingFile(TASKS, "0.2").replace("    sleep", `    echo $N >> ${trace}\n    sleep`);
  await writeFile(join(folder, "run.yaml"), file);
  const created = await airavata(env, "experiment", "run", join(folder, "run.yaml"), "--detach", "--json");
  const id = /exp_[0-9a-z]{26}/.exec(created.out)?.[0] as string;
  await until(
    () => statusOf(env, id),
    (s) => s.done >= 20,
    60_000,
  );
  return { id, attempts: async () => (await readFile(trace, "utf8")).trim().split("\n") };
}

async function expectExactlyOnce(env: NodeJS.ProcessEnv, id: string, attempts: () => Promise<string[]>): Promise<void> {
  const end = await until(
    () => statusOf(env, id),
    (s) => s.status !== "RUNNING" && s.status !== "",
    300_000,
  );
  expect(end).toEqual({ status: "COMPLETED", done: TASKS, failed: 0 });
  const ran = await attempts();
  expect(ran.length - new Set(ran).size).toBe(0); // no lease was lost
  expect(ran).toHaveLength(TASKS);
  const to = join(folder, "outputs");
  expect((await airavata(env, "experiment", "download", id, "--to", to)).code).toBe(0);
  expect(await wrongOutputs(to, TASKS)).toEqual([]);
  expect(system?.printed()).not.toMatch(/ended by/); // no part needed a new start
}

test("everything is stopped for minutes and goes on: each task runs and counts once, nobody lends a hand", {
  timeout: LIMIT_MS,
}, async () => {
  folder = await mkdtemp(join(tmpdir(), "sleep-"));
  const env = { ...process.env, AIRAVATA_CONTEXT: join(folder, "context.json"), NO_COLOR: "1" };
  system = await startSystem({ dataDir: join(folder, "data"), env, args: ["--slots", "2"] });
  const { id, attempts } = await begin(env);
  // Not in one moment, as when a lid is closed; what starts meanwhile is met by the second round.
  for (let round = 0; round < 2; round++) for (const pid of await pidsOf(system.dataDir)) tryKill(pid, "SIGSTOP");
  const before = (await attempts()).length;
  await new Promise((done) => setTimeout(done, SLEEP_MS));
  expect((await attempts()).length).toBe(before);
  expect(before).toBeLessThan(TASKS);
  for (const pid of await pidsOf(system.dataDir)) tryKill(pid, "SIGCONT");
  await expectExactlyOnce(env, id, attempts);
});

const GATEWAY_VOUCHES_MS = 125_000;
const faketime = spawnSync("sh", ["-c", "ls /usr/lib/*/faketime/libfaketimeMT.so.1"], { encoding: "utf8" }).stdout.trim();

for (const [name, step] of [
  ["forward", "+3600"],
  ["back", "-3600"],
] as const) {
  realTest(
    `the clock of the whole system jumps an hour ${name}: each task runs and counts once`,
    faketime !== "" ? undefined : "faketime is not installed: apt-get install faketime",
    LIMIT_MS,
    async () => {
      folder = await mkdtemp(join(tmpdir(), "step-"));
      const offset = join(folder, "offset");
      await writeFile(offset, "+0\n");
      const env = { ...process.env, AIRAVATA_CONTEXT: join(folder, "context.json"), NO_COLOR: "1" };
      // The wall clock alone is faked; running time goes on. The offset is read again every second.
      const settings = { FAKETIME_TIMESTAMP_FILE: offset, FAKETIME_DONT_FAKE_MONOTONIC: "1", FAKETIME_CACHE_DURATION: "1" };
      const faked = { ...env, ...settings, LD_PRELOAD: faketime };
      system = await startSystem({ dataDir: join(folder, "data"), env: faked, args: ["--slots", "2"] });
      await new Promise((done) => setTimeout(done, GATEWAY_VOUCHES_MS)); // before that nobody is declared dead anyway
      const { id, attempts } = await begin(faked);
      await writeFile(offset, `${step}\n`);
      await expectExactlyOnce(faked, id, attempts);
    },
  );
}
