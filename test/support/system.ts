/** The whole system as `npm start` runs it, for tests: started, asked, killed. */
import { type ChildProcess, spawn } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";

export const PROJECT = resolve(import.meta.dirname, "../..");

export interface System {
  readonly supervisor: ChildProcess;
  readonly dataDir: string;
  readonly url: string;
  /** All that the supervisor printed. */
  printed(): string;
  /** SIGTERM, and the end. */
  stop(): Promise<void>;
  /** SIGKILL for every process of it at once: supervisor, parts, tasks. */
  killAll(): Promise<void>;
}

export interface SystemOptions {
  readonly dataDir: string;
  readonly env: NodeJS.ProcessEnv;
  readonly args?: readonly string[];
  /** Before the supervisor's program: `faketime` and its like. */
  readonly wrap?: readonly string[];
}

/** Resolves when it is ready (and, at a first start, has run its example). */
export async function startSystem({ dataDir, env, args = [], wrap = [] }: SystemOptions): Promise<System> {
  const isFirst = (await readFile(join(dataDir, "format.json")).catch(() => undefined)) === undefined;
  const [command = "", ...rest] = [
    ...wrap,
    process.execPath,
    join(PROJECT, "local/main.ts"),
    "--data-dir",
    dataDir,
    "--port",
    "0",
    ...args,
  ];
  const supervisor = spawn(command, rest, { env, stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  const ended = new Promise<void>((done) => supervisor.once("exit", () => done()));
  await new Promise<void>((done, fail) => {
    const take = (chunk: Buffer) => {
      out += chunk.toString();
      if (out.includes("\nready: ") && (!isFirst || out.includes("checked against"))) done();
    };
    supervisor.stdout?.on("data", take);
    supervisor.stderr?.on("data", take);
    supervisor.once("exit", (code) => fail(new Error(`the system ended with ${code}: ${out}`)));
  });
  return {
    supervisor,
    dataDir,
    url: /\nready: (\S+)/.exec(out)?.[1] ?? "",
    printed: () => out,
    async stop() {
      supervisor.kill("SIGTERM");
      await ended;
    },
    async killAll() {
      for (const pid of await pidsOf(dataDir)) tryKill(pid, "SIGKILL");
      await ended;
      for (let left = await pidsOf(dataDir); left.length > 0; left = await pidsOf(dataDir)) {
        for (const pid of left) tryKill(pid, "SIGKILL");
        await new Promise((done) => setTimeout(done, 20));
      }
    },
  };
}

export function tryKill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // gone
  }
}

/** Processes whose command line or environment names the data folder; `file` narrows them by their command line. */
export async function pidsOf(dataDir: string, file = ""): Promise<number[]> {
  const pids: number[] = [];
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) continue;
    const [command = "", environment = ""] = await Promise.all(
      ["cmdline", "environ"].map((f) => readFile(`/proc/${entry}/${f}`, "utf8").catch(() => "")),
    );
    const isOurs = command.includes(dataDir) || environment.includes(dataDir);
    if (isOurs && command.includes(file)) pids.push(Number(entry));
  }
  return pids;
}

export interface Ended {
  readonly code: number | null;
  readonly out: string;
}

/** Runs a program of the project to its end. */
export function run(env: NodeJS.ProcessEnv, file: string, ...args: string[]): Promise<Ended> {
  return new Promise((done) => {
    const child = spawn(process.execPath, [join(PROJECT, file), ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (out += chunk.toString()));
    child.once("exit", (code) => done({ code, out }));
  });
}

export const airavata = (env: NodeJS.ProcessEnv, ...args: string[]): Promise<Ended> => run(env, "cli/main.ts", ...args);

export async function statusOf(env: NodeJS.ProcessEnv, id: string): Promise<{ status: string; done: number; failed: number }> {
  const { out } = await airavata(env, "experiment", "status", id, "--json");
  const of = (name: string) => Number(new RegExp(`"${name}":\\s*(\\d+)`).exec(out)?.[1] ?? Number.NaN);
  return { status: /"status":\s*"([A-Z]+)"/.exec(out)?.[1] ?? "", done: of("done"), failed: of("failed") };
}

/** Asks every so often until `accept` holds, at most for `limitMs`; gives the last answer. */
export async function until<T>(ask: () => Promise<T>, accept: (answer: T) => boolean, limitMs: number): Promise<T> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (accept(answer) || performance.now() > deadline) return answer;
    await new Promise((done) => setTimeout(done, 200));
  }
}

/** Tasks 1..count, each writing its number doubled after a while. */
export const doublingFile = (count: number, sleepS: string): string => `name: doubling
parameters: {N: {type: int}}
scripts:
  DOUBLE: |
    #!/bin/sh
    sleep ${sleepS}
    echo $((N * 2)) > "$OUT"
tasks:
  double:
    script: DOUBLE
    task_inputs: {N: 1..${count}}
    task_outputs: {OUT: out.txt}
resources:
  compute: {cpu: 1, ram_gb: 0.1, time: "0:05:00"}
`;

/** Numbers of the tasks whose downloaded output is not what the task must have written. */
export async function wrongOutputs(folder: string, count: number): Promise<number[]> {
  const wrong: number[] = [];
  for (let i = 0; i < count; i++) {
    const text = await readFile(join(folder, "double", String(i), "out.txt"), "utf8").catch(() => "");
    if (text.trim() !== String((i + 1) * 2)) wrong.push(i);
  }
  return wrong;
}
