/**
 * End to end: real tasks on the whole embedded system, from the POST until the experiment is COMPLETED.
 *
 * `/bin/true`, as fast as they go, and `sleep 0.1`, where everything beyond the sleeping is overhead. The same tasks run in
 * HyperQueue's local cluster just before and after, when AIRAVATA_BENCH_HYPERQUEUE names a Python that has it.
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { assert } from "#domain/error.ts";
import { report } from "./report.ts";
import { startSystem, type System } from "./system.ts";

const BENCH = "endtoend";
const SLOTS = 8;
const SLEEP_MS = 100;
const LOOK_MS = 100;
const WARM_UP_TASKS = 64;
const LIMIT_MS = 600_000;

const WORKS = [
  { name: "true", script: "#!/bin/true", command: ["/bin/true"], taskMs: 0, share: 1 },
  { name: "sleep-100ms", script: "#!/bin/sh\n    exec sleep 0.1", command: ["/bin/sleep", "0.1"], taskMs: SLEEP_MS, share: 5 },
] as const;

export async function benchEndToEnd({ tasks }: { readonly tasks: number }): Promise<void> {
  const python = process.env.AIRAVATA_BENCH_HYPERQUEUE;
  await using system = await startSystem({ workers: 1, slots: SLOTS });
  for (const work of WORKS) {
    const count = Math.max(SLOTS, Math.floor(tasks / work.share));
    await runSweep(system, work.script, WARM_UP_TASKS);
    const before = await hyperQueueMs(python, work.command, count);
    const tookMs = await runSweep(system, work.script, count);
    const after = await hyperQueueMs(python, work.command, count);
    const facts = { bench: BENCH, work: work.name, tasks: count, slots: SLOTS };
    const idealMs = (Math.ceil(count / SLOTS) * work.taskMs) as number;
    const figures = (name: string, ms: number): void => {
      report({ ...facts, name: `${name}-rate`, value: (count * 1_000) / ms, unit: "tasks/s" });
      if (idealMs > 0) report({ ...facts, name: `${name}-overhead`, value: (100 * (ms - idealMs)) / idealMs, unit: "%" });
    };
    figures("airavata", tookMs);
    if (before === undefined || after === undefined) continue;
    figures("hyperqueue", (before + after) / 2);
    report({ ...facts, name: "ratio", value: (before + after) / 2 / tookMs, unit: "of HyperQueue's rate" });
  }
}

const fileOf = (script: string, tasks: number): Uint8Array =>
  new TextEncoder().encode(`name: endtoend
scripts:
  RUN: |
    ${script}
tasks:
  run:
    script: RUN
    task_inputs: {I: "1..${tasks}"}
resources:
  compute: {cpu: 1, ram_gb: 0.1, time: "0:01:00"}
`);

async function runSweep({ client }: System, script: string, tasks: number): Promise<number> {
  const startMs = performance.now();
  const body = { bytes: fileOf(script, tasks) };
  const { id } = await client.call("createExperiment", { query: { submit: "true" }, body, idempotencyKey: crypto.randomUUID() });
  for (;;) {
    const { status } = await client.call("getExperiment", { params: { id } });
    const tookMs = performance.now() - startMs;
    if (status === "COMPLETED") return tookMs;
    assert(status === "RUNNING" && tookMs < LIMIT_MS, `${id} is ${status} after ${Math.round(tookMs)} ms`);
    await sleep(LOOK_MS);
  }
}

async function hyperQueueMs(python: string | undefined, command: readonly string[], tasks: number): Promise<number | undefined> {
  if (python === undefined) return undefined;
  const args = [join(import.meta.dirname, "run-hyperqueue.py"), String(tasks), String(SLOTS), ...command];
  const { stdout } = await promisify(execFile)(python, args, { timeout: LIMIT_MS });
  // The banner of its server comes first.
  return Number(stdout.trim().split("\n").at(-1)) * 1_000;
}
