/**
 * Latency: from sending the POST that creates and submits an experiment until its first task runs.
 *
 * The whole embedded system as real processes, warm: HTTP, scheduler, queue, gateway, stream, agent and a Bash that writes the
 * time at which it runs into the task's output. One clock: all of it is one machine. Beside each submit the limit of this machine
 * is measured: one Bash started directly, then one transaction of the state table's size against a dynoxide of its own.
 */
import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { assert } from "#domain/error.ts";
import type { ExperimentId } from "#domain/id.ts";
import { type Engine, openEngine, openRooms, submitSweep } from "./engine.ts";
import { median, quantile, report } from "./report.ts";
import { startSystem, type System } from "./system.ts";

const BENCH = "latency";
const WARM_UPS = 10;
const LOOK_MS = 20;
const LIMIT_MS = 30_000;

const FILE = new TextEncoder().encode(`name: latency
scripts:
  NOW: |
    #!/bin/bash
    echo "$EPOCHREALTIME" > "$OUT"
tasks:
  now:
    script: NOW
    task_outputs: {OUT: now.txt}
resources:
  compute: {cpu: 1, ram_gb: 0.1, time: "0:01:00"}
`);

export async function benchLatency({ runs }: { readonly runs: number }): Promise<void> {
  await using system = await startSystem({ workers: 1, slots: 2 });
  await using engine = await openEngine();
  const rooms = openRooms(engine);
  for (let i = 0; i < WARM_UPS; i++) {
    await firstTaskMs(system);
    await limitMs(engine, rooms);
  }
  const times: number[] = [];
  const limits: number[] = [];
  for (let i = 0; i < runs; i++) {
    times.push(await firstTaskMs(system));
    limits.push(await limitMs(engine, rooms));
  }
  for (const [name, values] of [["submit-to-running", times] as const, ["spawn-and-transaction", limits] as const]) {
    report({ bench: BENCH, name: `${name}-p50`, value: median(values), unit: "ms", runs });
    report({ bench: BENCH, name: `${name}-p95`, value: quantile(values, 0.95), unit: "ms", runs });
  }
  report({ bench: BENCH, name: "ratio", value: median(times) / median(limits), unit: "1", runs });
}

async function firstTaskMs({ client }: System): Promise<number> {
  const sentMs = performance.timeOrigin + performance.now();
  const { id } = await client.call("createExperiment", {
    query: { submit: "true" },
    body: { bytes: FILE },
    idempotencyKey: crypto.randomUUID(),
  });
  const ranMs = await timeWritten(client, id);
  return ranMs - sentMs;
}

/** Waits for the end first: looking must not take from what is measured. */
async function timeWritten(client: System["client"], id: ExperimentId): Promise<number> {
  const untilMs = performance.now() + LIMIT_MS;
  await sleep(LOOK_MS * 10);
  for (;;) {
    const { status } = await client.call("getExperiment", { params: { id } });
    if (status === "COMPLETED") break;
    assert(status === "RUNNING" && performance.now() < untilMs, `${id} is ${status}`);
    await sleep(LOOK_MS);
  }
  const output = await client.open("getOutput", { params: { id, set: "now", number: 0, name: "OUT" } });
  return Number((await output.text()).trim().replace(",", ".")) * 1_000;
}

/** What none of it can be faster than: a program is started, and one experiment is written. */
async function limitMs(engine: Engine, rooms: ReturnType<typeof openRooms>): Promise<number> {
  const startMs = performance.now();
  await submitSweep(engine, rooms, 1);
  await new Promise<void>((done, fail) =>
    spawn("bash", ["-c", ":"], { stdio: "ignore" })
      .once("error", fail)
      .once("exit", () => done()),
  );
  return performance.now() - startMs;
}
