/** Workflows in WfFormat with real processes: simulated work, commands with arguments, files by name. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ExperimentId } from "#domain/id.ts";
import { instancePath } from "../support/instances.ts";
import { type RunningSystem, startSystem } from "../support/running-system.ts";
import { bytesOf, instanceOf } from "../support/workflow.ts";
import { chainInstance, forkJoinInstance, splitInstance } from "../support/workflow-shapes.ts";
import { checkWorkflow, clientOf } from "../support/workflow-check.ts";

const LIMIT_MS = 600_000;
let system: RunningSystem;

beforeAll(async () => {
  system = await startSystem();
}, LIMIT_MS);
afterAll(() => system?.[Symbol.asyncDispose](), LIMIT_MS);

const idIn = (text: string): ExperimentId => /exp_[0-9a-z]{26}/.exec(text)?.[0] as ExperimentId;

describe("a workflow", () => {
  const cases: readonly (readonly [name: string, made: object, edges: number])[] = [
    ["chain-5", chainInstance(5), 4],
    ["forkjoin-10", forkJoinInstance(10), 16],
    ["blast-small", splitInstance(40), 120],
  ];
  test.each(cases)(
    "completes as simulated work, every edge in order, every output in its size: %s",
    { timeout: LIMIT_MS },
    async (name, made, edges) => {
      const path = instancePath(`${name}.json`) ?? join(system.folder, `${name}.json`);
      if (path.startsWith(system.folder)) await writeFile(path, bytesOf(made));
      const ran = await system.airavata("experiment", "run", path, "--simulate-work", "0.001");
      expect(ran.out).toContain("COMPLETED");
      expect(ran.code).toBe(0);
      const instance = JSON.parse(await readFile(path, "utf8")) as object;
      expect(await checkWorkflow(clientOf(system), idIn(ran.out), instance, 0.001)).toBe(edges);
    },
  );

  test("gives its outputs as files with bytes of their own", { timeout: LIMIT_MS }, async () => {
    const path = join(system.folder, "two.json");
    const tasks = [
      { id: "a", name: "a", outputFiles: ["deep/x", "y"] },
      { id: "b", name: "b", inputFiles: ["deep/x", "start/z"], outputFiles: ["w"] },
    ];
    await writeFile(path, bytesOf(instanceOf(tasks, 300_000)));
    const ran = await system.airavata("experiment", "run", path, "--simulate-work", "1", "--set-compute", "cpu=0.5");
    expect(ran.code).toBe(0);
    const to = join(system.folder, "two");
    expect((await system.airavata("experiment", "download", idIn(ran.out), "--to", to)).code).toBe(0);
    const [x, y, w] = await Promise.all(["a/0/deep/x", "a/0/y", "b/0/w"].map((file) => readFile(join(to, file), "latin1")));
    expect([x?.length, y?.length, w?.length]).toEqual([300_000, 300_000, 300_000]);
    expect([x, y, w].map((text) => text?.slice(0, text.indexOf("\n")))).toEqual(["a deep/x", "a y", "b w"]);
    expect(x?.slice(20)).not.toContain("\0");
  });

  test("runs its commands, whose arguments no shell reads, on files by name", { timeout: LIMIT_MS }, async () => {
    await mkdir(join(system.folder, "inputs"), { recursive: true });
    await writeFile(join(system.folder, "inputs/words.txt"), "to be\n");
    await writeFile(join(system.folder, "inputs/tool"), '#!/bin/sh\nprintf "%s|" "$@" > "out 1.txt"; cat words.txt >> "out 1.txt"\n');
    const registered = await system.airavata("resource", "register", "words", "--kind", "POSIX", "--root", system.folder);
    expect(registered.out, registered.out).toContain("words");
    const sly = "$(touch /tmp/never) * 'x' \"y\"\\\nz";
    const tasks = [
      { id: "a", program: "./tool", arguments: ["", sly, "-n", ""], inputFiles: ["tool", "words.txt"], outputFiles: ["out 1.txt"] },
      { id: "b", program: "cp", arguments: ["--", "out 1.txt", "sub/copy"], inputFiles: ["out 1.txt"], outputFiles: ["sub/copy"] },
    ];
    const path = join(system.folder, "real.json");
    await writeFile(path, bytesOf(instanceOf(tasks)));
    const ran = await system.airavata("experiment", "run", path, "--workflow-inputs", "words:/inputs");
    expect(ran.code, ran.out).toBe(0);
    const to = join(system.folder, "real");
    expect((await system.airavata("experiment", "download", idIn(ran.out), "--to", to)).code).toBe(0);
    expect(await readFile(join(to, "cp/0/sub/copy"), "utf8")).toBe(`|${sly}|-n||to be\n`);
  });

  test("fails where a program leaves an output unmade, and says which", { timeout: LIMIT_MS }, async () => {
    const path = join(system.folder, "none.json");
    await writeFile(path, bytesOf(instanceOf([{ id: "a", program: "true", outputFiles: ["x"] }])));
    const ran = await system.airavata("experiment", "run", path);
    expect(ran.code).toBe(1);
    const { history } = await clientOf(system).call("getTask", { params: { id: idIn(ran.out), set: "true", number: 0 } });
    expect(history[0]?.result).toMatchObject({ outcome: "exit", message: "output x: the script made no file x" });
  });
});
