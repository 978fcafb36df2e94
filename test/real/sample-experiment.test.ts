/** The experiment file of the Go proof of concept, which is data beside the checkout (SHARED_DATA), run to its end. */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { airavata, PROJECT, startSystem, type System } from "../support/system.ts";

const LIMIT_MS = 600_000;
const SAMPLE = join(process.env.SHARED_DATA ?? resolve(PROJECT, "../shared/data"), "sample_experiment.yml");
const missing = !existsSync(SAMPLE);
if (missing && process.env.REQUIRE_REAL === "1") throw new Error(`${SAMPLE} is not there: name its folder by SHARED_DATA`);

const WORDS = ["hello", "this", "is", "a", "test"];
const LESS = ["--set", "SLEEP_TIME=0..9", "--set-compute", "cpu=1,ram_gb=0.1", "--without", "conda,pip"];

describe.skipIf(missing)("the sample experiment", () => {
  let folder: string;
  let env: NodeJS.ProcessEnv;
  let system: System;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "sample-"));
    env = { ...process.env, AIRAVATA_CONTEXT: join(folder, "context.json"), NO_COLOR: "1" };
    system = await startSystem({ dataDir: join(folder, "data"), env, args: ["--slots", "16"] });
    const scratch = join(folder, "scratch");
    await mkdir(join(scratch, "datasets/mnist/train"), { recursive: true });
    await mkdir(join(scratch, "assets"));
    await writeFile(join(scratch, "assets/example.txt"), "an example\n");
    await writeFile(join(scratch, "datasets/mnist/train/0"), "a digit\n");
    const { code, out } = await airavata(env, "resource", "register", "global-scratch", "--kind", "POSIX", "--root", scratch);
    expect(out).toContain("global-scratch");
    expect(code).toBe(0);
  }, LIMIT_MS);
  afterAll(async () => {
    await system?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test("is planned as it is: 500 + 500 tasks", async () => {
    const { code, out } = await airavata(env, "experiment", "plan", SAMPLE, "--json");
    expect(code).toBe(0);
    expect((JSON.parse(out) as { sets: { tasks: number }[] }).sets.map((set) => set.tasks)).toEqual([500, 500]);
  });

  test("completes 50 + 50 tasks with less to sleep, to reserve and to install", { timeout: LIMIT_MS }, async () => {
    const { code, out } = await airavata(env, "experiment", "run", SAMPLE, ...LESS, "--json");
    expect(out).toContain("COMPLETED");
    expect(code).toBe(0);
    const id = /exp_[0-9a-z]{26}/.exec(out)?.[0] ?? "";
    const results = join(folder, "results");
    expect((await airavata(env, "experiment", "download", id, "--to", results)).code).toBe(0);
    for (let i = 0; i < 50; i++) {
      expect(await readFile(join(results, `task1/${i}/output.1.txt`), "utf8")).toBe(`${WORDS[Math.floor(i / 10)]}\n`);
      expect(await readFile(join(results, `task2/${i}/output.2.txt`), "utf8")).toContain("read file: ");
    }
  });
});
