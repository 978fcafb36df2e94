/** The whole system on a small disk that gets full while tasks run, and is freed again. */
import { spawnSync } from "node:child_process";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect } from "vitest";
import { freeBytesOf } from "#adapters/system/space.ts";
import { aMachine } from "../support/attempt.ts";
import { realTest } from "../support/real.ts";
import { airavata, doublingFile, pidsOf, startSystem, statusOf, type System, tryKill, until, wrongOutputs } from "../support/system.ts";

const LIMIT_MS = 600_000;
const TASKS = 400;
const MIB = 1024 * 1024;
const RESERVE_MIB = 32;

let folder: string | undefined;
let disk: string | undefined;
let system: System | undefined;

function mountDisk(at: string): string | undefined {
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=128m", "none", at], { encoding: "utf8" });
  if (mounted.status === 0) return undefined;
  return `no small disk can be mounted here (${mounted.stderr.trim() || mounted.error?.message}): run as root`;
}

const probe = await mkdtemp(join(tmpdir(), "disk-probe-"));
const lacking = mountDisk(probe);
if (lacking === undefined) spawnSync("umount", [probe]);
await rm(probe, { recursive: true });

afterEach(async () => {
  await system?.killAll();
  if (disk !== undefined) spawnSync("umount", ["-l", disk]);
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  folder = disk = system = undefined;
});

async function makeDisk(): Promise<string> {
  folder = await mkdtemp(join(tmpdir(), "disk-full-"));
  const at = join(folder, "disk");
  spawnSync("mkdir", [at]);
  expect(mountDisk(at)).toBeUndefined();
  disk = at;
  return at;
}

/** Leaves so many bytes free. */
async function fill(at: string, leave: number): Promise<void> {
  const file = await open(join(at, "ballast"), "a");
  const block = Buffer.alloc(64 * 1024);
  try {
    while ((freeBytesOf(at) as number) > leave)
      await file.write(block, 0, Math.min(block.length, Math.max(4096, (freeBytesOf(at) as number) - leave)));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
  } finally {
    await file.close();
  }
}

realTest(
  "a full disk pauses hand-outs, loses nothing, says so, and work goes on by itself when it is freed",
  lacking,
  LIMIT_MS,
  async () => {
    const at = await makeDisk();
    const context = join(folder as string, "context.json");
    const env = { ...process.env, AIRAVATA_CONTEXT: context, AIRAVATA_DISK_RESERVE_MIB: String(RESERVE_MIB), NO_COLOR: "1" };
    system = await startSystem({ dataDir: join(at, "data"), env, args: ["--slots", "2"] });
    const { url } = system;
    const health = async () => (await (await fetch(`${url}/v1/health`)).json()) as { parts: { disk: string } };
    expect((await health()).parts.disk).toBe("ok");
    await writeFile(join(folder as string, "run.yaml"), doublingFile(TASKS, "0.1"));
    const created = await airavata(env, "experiment", "run", join(folder as string, "run.yaml"), "--detach", "--json");
    const id = /exp_[0-9a-z]{26}/.exec(created.out)?.[0] as string;
    await until(
      () => statusOf(env, id),
      (s) => s.done >= 20,
      60_000,
    );

    await fill(at, 16 * MIB);
    expect((await until(health, (h) => h.parts.disk === "down", 30_000)).parts.disk).toBe("down");
    await until(
      async () => system?.printed() ?? "",
      (out) => out.includes("no new work is handed out"),
      30_000,
    );
    expect(system.printed()).toMatch(/MiB free and 32 MiB are kept/);
    // What had been handed out ends; then nothing moves.
    let last = -1;
    const still = await until(
      () => statusOf(env, id),
      ({ done }) => {
        const isStill = done === last;
        last = done;
        return isStill;
      },
      60_000,
    );
    expect(still).toMatchObject({ status: "RUNNING", failed: 0 });
    expect(still.done).toBeLessThan(TASKS);

    await fill(at, 0);
    // Parts that have to start now can't: they are tried again and not given up.
    for (const part of ["local/gateway-part.ts", "local/authorization-engine.ts"])
      for (const pid of await pidsOf(system.dataDir, part)) tryKill(pid, "SIGKILL");
    await until(
      async () => system?.printed() ?? "",
      (out) => out.includes("starting again in 10 s (the disk has 0 MiB free"),
      90_000,
    );
    expect(system.supervisor.exitCode).toBeNull();
    await rm(join(at, "ballast"));
    const end = await until(
      () => statusOf(env, id),
      (s) => s.status !== "RUNNING" && s.status !== "",
      240_000,
    );
    expect(end).toEqual({ status: "COMPLETED", done: TASKS, failed: 0 });
    expect((await health()).parts.disk).toBe("ok");
    expect(system.printed()).toContain("the disk has room again");
    const to = join(folder as string, "outputs");
    expect((await airavata(env, "experiment", "download", id, "--to", to)).code).toBe(0);
    expect(await wrongOutputs(to, TASKS)).toEqual([]);
  },
);

realTest("a script that fails because its worker's disk is full fails as staging, with the cause", lacking, 60_000, async () => {
  const at = await makeDisk();
  const machine = await aMachine({ workDir: join(at, "work"), cacheDir: join(at, "cache") });
  const script = "#!/bin/sh\nhead -c 300000000 /dev/zero > big || exit 7";
  expect(await machine.run({ script })).toMatchObject({
    outcome: "staging",
    exitCode: 7,
    message: expect.stringMatching(/the disk of this worker is full .*the script exited with code 7/),
  });
  expect(await machine.run({ script: "#!/bin/sh\nexit 7" })).toMatchObject({ outcome: "exit", exitCode: 7 });
  await machine.remove();
});
