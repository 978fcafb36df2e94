/** The whole way with real processes: `npm start`'s supervisor, the command line, real tasks, real files. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const PROJECT = resolve(import.meta.dirname, "../..");
const START_MS = 120_000;
const LIMIT_MS = 300_000;

interface Ran {
  readonly code: number | null;
  readonly out: string;
}

let folder: string;
let env: NodeJS.ProcessEnv;
let system: ChildProcess | undefined;

function run(file: string, ...args: string[]): Promise<Ran> {
  return new Promise((done) => {
    const child = spawn(process.execPath, [join(PROJECT, file), ...args], { env, cwd: folder });
    let out = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (out += chunk.toString()));
    child.once("exit", (code) => done({ code, out }));
  });
}

const airavata = (...args: string[]) => run("cli/main.ts", ...args);

function start(...args: string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, [join(PROJECT, "local/main.ts"), "--data-dir", join(folder, "data"), "--port", "0", ...args], {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  return new Promise((done, fail) => {
    const see = (chunk: Buffer) => {
      out += chunk.toString();
      if (out.includes("\nready: ") && (out.includes("checked against") || !out.includes("running the example"))) done(child);
    };
    child.stdout.on("data", see);
    child.stderr.on("data", see);
    child.once("exit", (code) => fail(new Error(`ended with ${code}: ${out}`)));
    setTimeout(() => fail(new Error(`not ready in time: ${out}`)), START_MS).unref();
  });
}

const stop = (child: ChildProcess): Promise<number | null> =>
  new Promise((done) => {
    child.once("exit", (code) => done(code));
    child.kill("SIGTERM");
  });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "whole-way-"));
  env = { ...process.env, AIRAVATA_CONTEXT: join(folder, "context.json"), NO_COLOR: "1" };
});

afterAll(async () => {
  if (system?.exitCode === null) await stop(system);
  await rm(folder, { recursive: true, force: true });
});

const SWEEP = `name: sweep
parameters: {N: {type: int}}
scripts:
  SQUARE: |
    #!/bin/bash
    echo $((N * N)) > "$OUT"
  ADD: |
    #!/bin/bash
    echo $(( $(cat "$IN") + 1 )) > "$OUT"
tasks:
  square:
    script: SQUARE
    task_inputs: {N: 1..50}
    task_outputs: {OUT: square.txt}
  add:
    script: ADD
    foreach: [square]
    task_inputs: {IN: "\${square.OUT}"}
    task_outputs: {OUT: sum.txt}
resources:
  compute: {cpu: 1, ram_gb: 0.1, time: "0:01:00"}
`;

/** No task ends before `door.start` is there; half of them fail until `door` is; each has a child that is skipped until then. */
const doors = (door: string): string => `
name: doors
retry: {exit: 0}
scripts:
  PASS: |
    until [ -e "$DOOR.start" ]; do sleep 0.05; done
    [ $((N % 2)) -eq 0 ] || [ -e "$DOOR" ]
  AFTER: 'true'
tasks:
  pass:
    script: PASS
    task_inputs: {N: 1..8, DOOR: ["${door}"]}
  after: {script: AFTER, foreach: [pass]}
resources:
  compute: {cpu: 1, ram_gb: 0.1, time: "0:01:00"}
`;

describe("the embedded default", () => {
  test("starts, runs its example with the right result, and ends with 0", { timeout: LIMIT_MS }, async () => {
    const { code, out } = await run("local/main.ts", "--data-dir", join(folder, "data"), "--port", "0", "--exit");
    expect(out).toContain("checked against the data: right");
    expect(code).toBe(0);
  });

  test("keeps its data over a restart, and a second start on the same data refuses politely", { timeout: LIMIT_MS }, async () => {
    system = await start();
    const list = await airavata("experiment", "list", "--json");
    expect(list.out).toContain("seattle-rain");
    const second = await run("local/main.ts", "--data-dir", join(folder, "data"), "--port", "0");
    expect(second.code).toBe(5);
    expect(second.out).toMatch(/in use|another/i);
  });

  test("completes a sweep of 50 with foreach 50, each output right", { timeout: LIMIT_MS }, async () => {
    await writeFile(join(folder, "sweep.yaml"), SWEEP);
    const ran = await airavata("experiment", "run", join(folder, "sweep.yaml"));
    expect(ran.out).toContain("100/100");
    expect(ran.code).toBe(0);
    const id = /exp_[0-9a-z]{26}/.exec(ran.out)?.[0] as string;
    const to = join(folder, "outputs");
    expect((await airavata("experiment", "download", id, "--to", to)).code).toBe(0);
    expect((await readdir(join(to, "add"))).length).toBe(50);
    for (let i = 0; i < 50; i++) {
      expect((await readFile(join(to, "add", String(i), "sum.txt"), "utf8")).trim()).toBe(String((i + 1) ** 2 + 1));
    }
  });

  test("pauses, resumes, and runs failed tasks again", { timeout: LIMIT_MS }, async () => {
    const door = join(folder, "door");
    await writeFile(join(folder, "doors.yaml"), doors(door));
    const made = await airavata("experiment", "run", "--detach", join(folder, "doors.yaml"));
    const id = /exp_[0-9a-z]{26}/.exec(made.out)?.[0] as string;
    expect((await airavata("experiment", "pause", id)).out).toContain("PAUSED");
    expect((await airavata("experiment", "pause", id)).code).toBe(0);
    expect((await airavata("experiment", "resume", id)).out).toContain("RUNNING");
    await writeFile(`${door}.start`, "");
    expect((await airavata("experiment", "watch", id)).code).toBe(1);
    expect((await airavata("experiment", "resume", id)).code).toBe(5);
    await writeFile(door, "");
    expect((await airavata("experiment", "retry", id, "--task", "pass/99")).code).toBe(4);
    expect((await airavata("experiment", "retry", id, "--task", "pass/0")).code).toBe(0);
    expect((await airavata("experiment", "watch", id)).code).toBe(1);
    const done = async () => (JSON.parse((await airavata("experiment", "status", id, "--json")).out) as { sets: { done: number }[] }).sets;
    expect((await done()).map((set) => set.done)).toEqual([5, 5]);
    expect((await airavata("experiment", "retry", id, "--cause", "timeout")).code).toBe(0);
    expect((await airavata("experiment", "watch", id)).code).toBe(1);
    expect((await airavata("experiment", "retry", id, "--cause", "exit", "signal")).code).toBe(0);
    expect((await airavata("experiment", "watch", id)).code).toBe(0);
    const status = JSON.parse((await airavata("experiment", "status", id, "--json")).out) as { sets: { done: number; skipped: number }[] };
    expect(status.sets.map((s) => [s.done, s.skipped])).toEqual([
      [8, 0],
      [8, 0],
    ]);
  });

  test("drains and ends with 0 in seconds at SIGTERM", { timeout: LIMIT_MS }, async () => {
    const code = await stop(system as ChildProcess);
    expect(code).toBe(0);
  });
});
