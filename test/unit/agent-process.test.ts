/** Attempts as real processes: how they end, what they cannot do, and that nothing of them stays. */
import { existsSync } from "node:fs";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clearWorkDir } from "../../worker/agent/sandbox.ts";
import { aMachine, contentOf, type Machine, processesWith } from "../support/attempt.ts";

const linux = process.platform === "linux";
let machine: Machine;
beforeAll(async () => {
  machine = await aMachine();
});
afterAll(() => machine.remove());

let marks = 0;
/** A duration for sleep(1) that no other process has. */
const aSleep = (): string => `${2000 + (process.pid % 1000)}.${++marks}77`;
async function untilPresent(path: string): Promise<void> {
  while (!existsSync(path)) await sleep(5);
}

describe("an attempt that ends by itself", () => {
  test("is done when its script exits with 0", async () => {
    const result = await machine.run({ script: "echo out; echo err >&2" });
    expect(result).toMatchObject({ outcome: "done", exitCode: 0, stdout: "out\n", stderr: "err\n", outputs: [], inputs: [] });
    expect(result.endedAtMs).toBeGreaterThanOrEqual(result.startedAtMs);
    expect(await machine.leftovers()).toEqual([]);
  });

  test("gives its exit code", async () => {
    expect(await machine.run({ script: "exit 3" })).toMatchObject({ outcome: "exit", exitCode: 3 });
  });

  test("gives the signal it was killed by", async () => {
    expect(await machine.run({ script: "kill -SEGV $$" })).toMatchObject({ outcome: "signal", signal: "SIGSEGV" });
  });

  test("runs by its shebang", async () => {
    const result = await machine.run({ script: '#!/bin/bash -e\n[[ $BASH_VERSION ]] && echo "$0"' });
    expect(result.stdout).toMatch(/script\n$/);
  });

  test("has failed with a reason when its interpreter does not exist", async () => {
    const result = await machine.run({ script: "#!/no/such/python\n" });
    expect(result.outcome).toBe("exit");
    expect(result.message).toContain("/no/such/python does not exist");
  });

  test("has failed with a reason when its parameters do not fit a process", async () => {
    const result = await machine.run({ script: "true", task: { parameters: [{ name: "X", value: "x".repeat(4_000_000) }] } });
    expect(result).toMatchObject({ outcome: "exit", message: expect.stringContaining("too long") });
  });

  test("gives outputs with their digests", async () => {
    const outputs = [{ name: "OUT", path: "./a//b.txt" }];
    const result = await machine.run({ script: 'printf hello >"$OUT"; echo "$OUT"', task: { outputs } });
    expect(result.stdout).toBe("a/b.txt\n");
    expect(contentOf(result, "OUT")).toBe("hello");
    expect(result.outputs[0]?.sha256).toBe("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
  });

  test("has failed when a declared output is missing, by name", async () => {
    const result = await machine.run({ script: "true", task: { outputs: [{ name: "OUT", path: "x.txt" }] } });
    expect(result).toMatchObject({ outcome: "exit", exitCode: 0, message: expect.stringContaining("OUT") });
  });
});

describe("the environment of an attempt", () => {
  test("keeps $(…) in a parameter as text", async () => {
    const value = "$(touch broken) `touch broken` \"; touch broken; '";
    const result = await machine.run({ script: 'printf %s "$P"; ls', task: { parameters: [{ name: "P", value }] } });
    expect(result.stdout).toBe(value);
  });

  test("holds nothing of the worker's but what is listed", async () => {
    const poor = await aMachine({
      environment: { PATH: process.env["PATH"], HOME: "/h", AIRAVATA_TOKEN: "secret", GITHUB_TOKEN: "secret" },
    });
    const result = await poor.run({ script: "env", assignment: { environment: [{ name: "T", value: "${HOME}/$AIRAVATA_TOKEN" }] } });
    expect(result.stdout).not.toContain("secret");
    expect(result.stdout).toContain("\nT=/h/\n");
    const names = (result.stdout ?? "").split("\n").map((line) => line.split("=")[0]);
    expect(names).toEqual(expect.arrayContaining(["AIRAVATA_TASK", "AIRAVATA_LEASE", "AIRAVATA_ATTEMPT_DIR", "TMPDIR"]));
    await poor.remove();
  });

  test("has a directory of its own for the task and for temporary files", async () => {
    const result = await machine.run({ script: 'pwd -P; stat -c %a . ; test -d "$TMPDIR" && echo "$TMPDIR"' });
    const [dir, mode, temporary] = (result.stdout ?? "").split("\n");
    expect(mode).toBe("700");
    expect(temporary?.startsWith(`${dir}/`)).toBe(true);
    expect(existsSync(dir ?? "/")).toBe(false);
  });
});

describe("limits", () => {
  test("the time limit ends the group, after a chance to tidy up", async () => {
    const script = "trap 'echo tidied; exit 0' TERM; sleep 60 & wait";
    const result = await machine.run({ script, assignment: { timeLimitMs: 1_000 } });
    expect(result).toMatchObject({ outcome: "timeout", stdout: "tidied\n" });
  });

  test("a script that ignores SIGTERM is killed", async () => {
    const result = await machine.run({ script: "trap '' TERM; while :; do sleep 1; done", assignment: { timeLimitMs: 500 } });
    expect(result.outcome).toBe("timeout");
  });

  test.runIf(linux)("the memory limit ends the attempt with its own cause", { timeout: 60_000 }, async () => {
    // tail keeps the whole of a line without end.
    const script = "head -c 400000000 /dev/zero | tail -n 1 | sleep 30";
    const result = await machine.run({ script, assignment: { need: { cpuMilli: 1000, memoryMib: 60, gpu: 0 } } });
    expect(result).toMatchObject({ outcome: "out-of-memory", message: expect.stringContaining("60 MiB") });
    expect(result.usage.memoryPeakBytes).toBeGreaterThan(60 * 1024 ** 2);
  });

  test("the disk limit ends the attempt", { timeout: 60_000 }, async () => {
    const script = "head -c 8000000 /dev/zero >big; sleep 60";
    const result = await machine.run({ script, assignment: { diskLimitMib: 2 } });
    expect(result).toMatchObject({ outcome: "staging", message: expect.stringContaining("disk limit of 2 MiB") });
  });

  test("a flood of output is read and not kept", { timeout: 60_000 }, async () => {
    const before = process.memoryUsage().rss;
    const result = await machine.run({ script: "yes | head -c 200000000; echo; echo end; yes error | head -c 20000 >&2" });
    expect(result.outcome).toBe("done");
    expect(result.stdout?.length).toBe(8192);
    expect(result.stdout?.endsWith("y\n\nend\n")).toBe(true);
    expect(result.stderr?.length).toBe(8192);
    expect(process.memoryUsage().rss - before).toBeLessThan(100_000_000);
  });

  test.runIf(linux)("CPU time is charged to the attempt that used it", { timeout: 60_000 }, async () => {
    const result = await machine.run({ script: "sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'" });
    expect(result.usage.cpuMs).toBeGreaterThan(50);
    expect(result.usage.cpuMs).toBeLessThanOrEqual(result.usage.wallMs * 2 + 50);
  });
});

describe.runIf(linux)("nothing is left alive", { timeout: 60_000 }, () => {
  test("of background children after a normal exit", async () => {
    const time = aSleep();
    const result = await machine.run({ script: `sleep ${time} & sleep ${time} & exit 0` });
    expect(result.outcome).toBe("done");
    expect(await processesWith(time)).toEqual([]);
  });

  test("of a grandchild with a session of its own", async () => {
    const time = aSleep();
    const result = await machine.run({ script: `setsid sh -c 'setsid sleep ${time} & sleep ${time}' >/dev/null 2>&1 & sleep 0.2` });
    expect(result.outcome).toBe("done");
    expect(await processesWith(time)).toEqual([]);
  });

  test("of one that left before its parent in the group was killed", async () => {
    const time = aSleep();
    await machine.run({ script: `(setsid sleep ${time} & sleep ${time}) & sleep 0.1` });
    expect(await processesWith(time)).toEqual([]);
  });

  test("of a daemon without the environment that a sample has seen", async () => {
    const time = aSleep();
    await machine.run({ script: `setsid env -i sleep ${time} >/dev/null 2>&1 & sleep 1.5` });
    expect(await processesWith(time)).toEqual([]);
  });

  test("of an aborted attempt, nor its directory", async () => {
    const time = aSleep();
    const abort = new AbortController();
    const ready = join(machine.dir, `ready-${time}`);
    const running = machine.runAny({ script: `setsid sleep ${time} & sleep ${time} & touch '${ready}'; sleep ${time}` }, abort.signal);
    await untilPresent(ready);
    abort.abort();
    await running;
    expect(await processesWith(time)).toEqual([]);
    expect(await machine.leftovers()).toEqual([]);
  });

  test("of an earlier life, once its directory is cleared", async () => {
    const earlier = await aMachine();
    const time = aSleep();
    const ready = join(earlier.dir, "ready");
    const lost = earlier.runAny({ script: `setsid sleep ${time} & touch '${ready}'; sleep ${time}` });
    await untilPresent(ready);
    await clearWorkDir(join(earlier.dir, "work"));
    await lost;
    expect(await processesWith(time)).toEqual([]);
    expect(await earlier.leftovers()).toEqual([]);
    await earlier.remove();
  });

  test("and others' attempts go on", async () => {
    const slow = machine.run({ script: "sleep 1; echo still here" });
    for (let i = 0; i < 5; i++) await machine.run({ script: "setsid sleep 100 >/dev/null 2>&1 &" });
    expect(await slow).toMatchObject({ outcome: "done", stdout: "still here\n" });
  });
});

describe("the directory of an attempt", () => {
  test("goes even when the task takes its own permissions away", async () => {
    const result = await machine.run({ script: "mkdir -p a/b; touch a/b/c; chmod 0 a/b a" });
    expect(result.outcome).toBe("done");
    expect(await machine.leftovers()).toEqual([]);
  });

  test("does not hold what an earlier life left there", async () => {
    const other = await aMachine();
    await mkdir(join(other.dir, "work", "l", "7"), { recursive: true });
    await writeFile(join(other.dir, "work", "l", "7", "old"), "");
    const result = await other.run({ script: "ls", assignment: { lease: "l" }, task: { index: 7 } });
    expect(result).toMatchObject({ outcome: "done", index: 7 });
    expect(result.stdout).toBeUndefined();
    await other.remove();
  });

  test("stays for a look when failed ones are kept", async () => {
    const keeping = await aMachine({ keepFailed: true });
    await keeping.run({ script: "echo x >clue; exit 1", task: { index: 7 } });
    await keeping.run({ script: "exit 0", task: { index: 8 } });
    const [lease = ""] = await keeping.leftovers();
    expect(await readdir(join(keeping.dir, "work", lease))).toEqual(["7"]);
    expect(await readdir(join(keeping.dir, "work", lease, "7"))).toContain("clue");
    await keeping.remove();
  });

  test("that cannot be made is the worker's fault", async () => {
    const broken = await aMachine();
    await writeFile(join(broken.dir, "work"), "a file");
    expect(await broken.runAny({ script: "true" })).toMatchObject({ outcome: "worker-fault" });
    await broken.remove();
  });
});

describe.each(["auto", "off"] as const)("with starters %s", (starters) => {
  let subject: Machine;
  beforeAll(async () => {
    subject = await aMachine({ starters });
  });
  afterAll(() => subject.remove());

  test("an exit code like a shell's for a signal is an exit code", async () => {
    expect(await subject.run({ script: "exit 137" })).toMatchObject({ outcome: "exit", exitCode: 137 });
  });

  test("a signal is a signal", async () => {
    expect(await subject.run({ script: "kill -KILL $$" })).toMatchObject({ outcome: "signal", signal: "SIGKILL" });
  });

  test("a missing interpreter is named", async () => {
    expect(await subject.run({ script: "#!/no/such\n" })).toMatchObject({ outcome: "exit", message: expect.stringContaining("/no/such") });
  });

  test("outputs of many attempts are not mixed up", { timeout: 60_000 }, async () => {
    const numbers = Array.from({ length: 60 }, (_, i) => i);
    const scripts = numbers.map((i) => `printf 'out ${i}'; printf 'err ${i}' >&2; ${i % 7 === 0 ? "sleep 100 &" : ":"}`);
    const results: { stdout?: string; stderr?: string }[] = [];
    for (let i = 0; i < 60; i += 6) results.push(...(await Promise.all(scripts.slice(i, i + 6).map((script) => subject.run({ script })))));
    expect(results.map(({ stdout, stderr }) => [stdout, stderr])).toEqual(numbers.map((i) => [`out ${i}`, `err ${i}`]));
  });

  test("the process is in a session and a group of its own", async () => {
    const result = await subject.run({ script: "cut -d' ' -f1,5,6 /proc/$$/stat; echo $$" });
    const [first = "", pid = ""] = (result.stdout ?? "").trim().split("\n");
    expect(first).toBe(`${pid} ${pid} ${pid}`);
  });

  test("nothing but the environment given arrives", async () => {
    const values = ["two\nlines", "a=b", "é \u0001", ""];
    const parameters = values.map((value, i) => ({ name: `V${i}`, value }));
    const result = await subject.run({ script: "#!/usr/bin/env -S cat /proc/self/environ\n", task: { parameters } });
    const entries = (result.stdout ?? "").split("\0");
    for (const [i, value] of values.entries()) expect(entries).toContain(`V${i}=${value}`);
    expect(entries.filter((entry) => entry.startsWith("LC_ALL=C"))).toEqual([]);
  });
});

test.runIf(linux)("an attempt whose starter is killed is the worker's fault, and nothing of it lives on", async () => {
  const time = aSleep();
  const result = await machine.runAny({ script: `sleep ${time} & kill -KILL $PPID; sleep ${time}` });
  expect(result.outcome).toBe("worker-fault");
  expect(await processesWith(time)).toEqual([]);
  expect((await machine.run({ script: "true" })).outcome).toBe("done");
});
