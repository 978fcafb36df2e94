/** The agent's program as a process: what it does before its first task. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { loadOrJoin } from "../../worker/agent/join.ts";
import { aWorkerId, quiet, startWire, type Wire } from "../support/wire.ts";

const MAIN = resolve(import.meta.dirname, "../../worker/agent/main.ts");

/** A process that says which attempt's directory it is of, as a task's processes do. */
function leaving(dir: string): ChildProcess {
  return spawn("sleep", ["600"], { env: { PATH: process.env["PATH"], AIRAVATA_ATTEMPT_DIR: dir }, stdio: "ignore" });
}

async function isGone(child: ChildProcess): Promise<boolean> {
  for (let tries = 0; tries < 200; tries++) {
    if (child.exitCode !== null || child.signalCode !== null) return true;
    await sleep(10);
  }
  return false;
}

test.runIf(process.platform === "linux")("a start removes what this worker left and nothing of others", { timeout: 60_000 }, async () => {
  await using wire: Wire = await startWire({
    async join({ publicKeySpki }) {
      const workerId = aWorkerId();
      return { workerId, pool: "laptop", certificatePem: await wire.authority.issueClient({ workerId, publicKeySpki }) };
    },
    async serve(_workerId, channel) {
      while ((await channel.receive()) !== undefined);
    },
  });
  const [stateDir, workDir, tokenFile, caFile] = ["state", "work", "token", "ca.pem"].map((name) => join(wire.dir, name)) as [
    string,
    string,
    string,
    string,
  ];
  await writeFile(tokenFile, "token\n");
  await writeFile(caFile, wire.authority.caPem);
  const { workerId } = await loadOrJoin({ address: wire.address, ca: wire.authority.caPem, tokenFile, stateDir, logger: quiet });
  const own = join(workDir, workerId, "lease", "1");
  const others = join(workDir, aWorkerId(), "lease", "1");
  for (const dir of [own, others]) await mkdir(dir, { recursive: true });
  await writeFile(join(workDir, "notes.txt"), "a user's");
  const [mine, foreign] = [leaving(own), leaving(others)];

  const args = [MAIN, "--gateway", wire.address, "--ca", caFile, "--state-dir", stateDir, "--work-dir", workDir, "--cpu", "1"];
  const agent = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "ignore"] });
  try {
    const [line] = (await once(createInterface({ input: agent.stdout }), "line")) as [string];
    expect(JSON.parse(line)).toEqual({ ready: true, worker: workerId });
    expect(await isGone(mine)).toBe(true);
    expect(await readdir(join(workDir, workerId))).toEqual([]);
    expect(existsSync(others)).toBe(true);
    expect(existsSync(join(workDir, "notes.txt"))).toBe(true);
    expect(foreign.exitCode ?? foreign.signalCode).toBeNull();
  } finally {
    for (const child of [mine, foreign, agent]) child.kill("SIGKILL");
    if (agent.exitCode === null && agent.signalCode === null) await once(agent, "exit");
  }
});
