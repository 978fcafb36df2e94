/** kill -9 of the worker, the gateway and the functions host at random moments while 2,000 tasks run (T1-T4 end to end). */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, expect, test } from "vitest";

const PROJECT = resolve(import.meta.dirname, "../..");
const LIMIT_MS = 900_000;
const TASKS = 2_000;
const KILLS = ["worker/agent/main.ts", "local/gateway-part.ts", "local/functions-part.ts"];

const FILE = `name: kill
parameters: {N: {type: int}}
scripts:
  DOUBLE: |
    #!/bin/sh
    echo $((N * 2)) > "$OUT"
tasks:
  double:
    script: DOUBLE
    task_inputs: {N: 1..${TASKS}}
    task_outputs: {OUT: out.txt}
resources:
  compute: {cpu: 1, ram_gb: 0.1, time: "0:01:00"}
`;

let system: ChildProcess | undefined;
let folder = "";

afterAll(async () => {
  if (system !== undefined && system.exitCode === null) {
    const ended = new Promise((done) => system?.once("exit", done));
    system.kill("SIGTERM");
    await ended;
  }
  if (folder !== "") await rm(folder, { recursive: true, force: true });
});

/** Processes below the supervisor whose command line names the file. */
async function pidsOf(file: string, dataDir: string): Promise<number[]> {
  const pids: number[] = [];
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const [command, environment] = await Promise.all(
      ["cmdline", "environ"].map((f) => readFile(`/proc/${entry}/${f}`, "utf8").catch(() => "")),
    );
    if (command?.includes(file) && (command.includes(dataDir) || environment?.includes(dataDir))) pids.push(Number(entry));
  }
  return pids;
}

function airavata(env: NodeJS.ProcessEnv, ...args: string[]): Promise<{ code: number | null; out: string }> {
  return new Promise((done) => {
    const child = spawn(process.execPath, [join(PROJECT, "cli/main.ts"), ...args], { env });
    let out = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (out += chunk.toString()));
    child.once("exit", (code) => done({ code, out }));
  });
}

async function startSystem(env: NodeJS.ProcessEnv, dataDir: string): Promise<void> {
  system = spawn(process.execPath, [join(PROJECT, "local/main.ts"), "--data-dir", dataDir, "--port", "0", "--slots", "4"], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise<void>((done, fail) => {
    let out = "";
    system?.stdout?.on("data", (chunk: Buffer) => {
      out += chunk.toString();
      if (out.includes("checked against")) done();
    });
    system?.once("exit", (code) => fail(new Error(`ended with ${code}: ${out}`)));
  });
}

test("2,000 tasks are committed exactly once each, their outputs right, whatever is killed", { timeout: LIMIT_MS }, async () => {
  folder = await mkdtemp(join(tmpdir(), "kill-"));
  const dataDir = join(folder, "data");
  const env = { ...process.env, AIRAVATA_CONTEXT: join(folder, "context.json"), NO_COLOR: "1" };
  await startSystem(env, dataDir);
  await writeFile(join(folder, "kill.yaml"), FILE);
  const created = await airavata(env, "experiment", "run", join(folder, "kill.yaml"), "--detach", "--json");
  const id = /exp_[0-9a-z]{26}/.exec(created.out)?.[0] as string;
  expect(id).toBeDefined();

  let kills = 0;
  let status = "";
  const deadline = Date.now() + LIMIT_MS - 30_000;
  while (Date.now() < deadline) {
    await new Promise((done) => setTimeout(done, 500 + Math.random() * 2_000));
    const seen = await airavata(env, "experiment", "status", id, "--json");
    status = /"status":\s*"([A-Z]+)"/.exec(seen.out)?.[1] ?? status;
    if (status === "COMPLETED" || status === "FAILED") break;
    if (kills >= 6) continue;
    for (const pid of await pidsOf(KILLS[kills % KILLS.length] as string, dataDir)) process.kill(pid, "SIGKILL");
    kills++;
  }
  expect(status).toBe("COMPLETED");
  expect(kills).toBeGreaterThanOrEqual(3);

  const to = join(folder, "outputs");
  expect((await airavata(env, "experiment", "download", id, "--to", to)).code).toBe(0);
  const wrong: number[] = [];
  for (let i = 0; i < TASKS; i++) {
    const text = await readFile(join(to, "double", String(i), "out.txt"), "utf8").catch(() => "");
    if (text.trim() !== String((i + 1) * 2)) wrong.push(i);
  }
  expect(wrong).toEqual([]);
  const shown = await airavata(env, "experiment", "status", id, "--json");
  expect(shown.out.replaceAll(/\s/g, "")).toMatch(/"done":2000,"failed":0/);
});
