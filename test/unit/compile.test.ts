/** Spec -> plan: the meaning of an experiment file. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseExperimentFile } from "#api/experiment-file.ts";
import { compilePlan } from "#core/experiment-orchestrator/compile.ts";
import { readRange } from "#core/experiment-orchestrator/values.ts";
import { axisSize, axisText, taskBindings } from "#domain/expansion.ts";
import type { Plan } from "#domain/plan.ts";
import { compileText, fileOf, oneSet, outputOf, refusalOf, saidOf, parseText } from "../support/experiment-file.ts";

const FEATURES = `
parameters:
  MESSAGE: {description: "The message to print", type: string, default: "hello world"}
  SLEEP_TIME: {type: int, default: 10}
  OUTPUT_FILE: {type: path, default: "./output.1.txt"}
scripts:
  STEP_1: |
    #!/bin/bash
    echo "$MESSAGE" > $OUTPUT_FILE
  STEP_2: |
    #!/bin/bash
    cat $INPUT_FILE
tasks:
  task1:
    script: STEP_1
    task_inputs:
      MESSAGE: ["hello", "this", "is", "a", "test"]
      SLEEP_TIME: 1..100
    task_outputs:
      OUTPUT_FILE: "output.1.txt"
  task2:
    script: STEP_2
    foreach: [ "task1" ]
    task_inputs:
      INPUT_FILE: "\${task1.OUTPUT_FILE}"
    task_outputs:
      OUTPUT_FILE: "output.2.txt"
resources:
  compute: {node: 1, cpu: 16, gpu: 0, disk_gb: 1, ram_gb: 16, vram_gb: 0, time: "0:05:00"}
  storage:
    - "global-scratch:/assets/example.txt:./example.txt"
    - "global-scratch:/datasets/mnist/:./mnist/"
  conda: [python=3.12, pip]
  pip: [tqdm]
  environment: ["PATH=/usr/local/bin:$PATH"]
`;

function expectFeatures(plan: Plan): void {
  expect(plan.sets.map(({ name, count, factor, foreach, after }) => ({ name, count, factor, foreach, after }))).toEqual([
    { name: "task1", count: 500, factor: 500, foreach: [], after: [] },
    { name: "task2", count: 500, factor: 1, foreach: [0], after: [] },
  ]);
  expect(plan.sets[0]?.constants).toEqual([]);
  expect(plan.sets[1]?.constants.map((c) => `${c.name}=${c.text}`)).toEqual(["MESSAGE=hello world", "SLEEP_TIME=10"]);
  expect(plan.sets[1]?.resources).toEqual({
    capacity: { cpuMilli: 16_000, memoryMib: 16_384, gpu: 0 },
    diskMib: 1024,
    vramMib: 0,
    nodes: 1,
    timeLimitMs: 300_000,
  });
  expect(plan.assets).toEqual([
    { storage: "global-scratch", path: "/assets/example.txt", to: "example.txt" },
    { storage: "global-scratch", path: "/datasets/mnist/", to: "mnist/" },
  ]);
  expect(plan.environment[0]).toEqual({ name: "PATH", template: "/usr/local/bin:$PATH" });
  expect(taskBindings(plan, 0, 101).texts).toEqual([
    { name: "MESSAGE", value: "this" },
    { name: "SLEEP_TIME", value: "2" },
  ]);
  expect(taskBindings(plan, 1, 7).references).toEqual([{ kind: "one", name: "INPUT_FILE", set: 0, output: "OUTPUT_FILE", index: 7 }]);
}

describe("a whole file", () => {
  test("with sweep, chain, assets, packages and environment compiles", () => expectFeatures(compileText(FEATURES)));

  const sample = join(import.meta.dirname, "../../../shared/data/sample_experiment.yml");
  test.skipIf(!existsSync(sample))("the sample experiment compiles as it is", () =>
    expectFeatures(compilePlan(parseExperimentFile(readFileSync(sample)))),
  );

  test("with a sweep over a stored file and a barrier compiles", () => {
    const plan = compileText(`
name: seattle-rain
parameters:
  YEAR: {type: int, description: calendar year}
  THRESHOLD: {type: float, default: 0.1}
scripts: {COUNT: "wc -l $DATA > $OUT", MERGE: "cat $IN > $OUT"}
tasks:
  count:
    script: COUNT
    task_inputs: {YEAR: 2012..2015, THRESHOLD: [0.1, 1, 5, 20], DATA: "shared-data:/weather/seattle.csv"}
    task_outputs: {OUT: rain.txt}
  merge:
    script: MERGE
    after: ["count"]
    task_inputs: {IN: "${outputOf("count", "OUT")}"}
    task_outputs: {OUT: all.txt}
`);
    expect(plan.sets.map((set) => set.count)).toEqual([16, 1]);
    expect(taskBindings(plan, 0, 6)).toEqual({
      texts: [
        { name: "YEAR", value: "2013" },
        { name: "THRESHOLD", value: "5" },
      ],
      inputs: [{ name: "DATA", storage: "shared-data", path: "/weather/seattle.csv" }],
      references: [],
    });
    expect(taskBindings(plan, 1, 0).references).toEqual([{ kind: "all", name: "IN", set: 0, output: "OUT", count: 16 }]);
  });

  test("of ten million tasks compiles at once and no larger one does", () => {
    const sweep = (n: number) => oneSet({ task_inputs: { X: `1..${n}`, Y: "1..10" } });
    const started = performance.now();
    expect(compileText(sweep(1_000_000)).sets[0]?.count).toBe(10_000_000);
    expect(refusalOf(() => compileText(sweep(1_000_001)))).toMatchObject({ kind: "too-large" });
    expect(performance.now() - started).toBeLessThan(1000);
  });

  test("keeps only scripts in use and names itself", () => {
    const plan = compileText(fileOf({ scripts: { RUN: "true", OTHER: "false" }, tasks: { a: { script: "RUN" } } }));
    expect(plan).toMatchObject({ name: "experiment", scripts: { RUN: "true" }, labels: {}, on: [] });
    expect(plan.sets[0]).toMatchObject({ count: 1, factor: 1, axes: [] });
  });

  test("with far too many of anything is refused before anything costs their square", () => {
    const many = (n: number, value: unknown) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`n${i}`, value]));
    const files = [
      fileOf({ tasks: many(10_000, { script: "RUN", after: ["zzz"] }) }),
      oneSet({ task_outputs: many(20_000, "o") }),
      oneSet({}, { on: Array.from({ length: 30_000 }, (_, i) => `r${i}`) }),
    ];
    for (const spec of files.map(parseText)) {
      const started = performance.now();
      expect(refusalOf(() => compilePlan(spec)).kind).toBe("too-large");
      expect(performance.now() - started).toBeLessThan(2000);
    }
  }, 60_000);

  test("needs a task set", () => expect(saidOf(() => compileText(fileOf({ tasks: {} })))).toEqual(["tasks: has no task set"]));
});

describe("dependencies", () => {
  test("bring parents before children and otherwise keep the order of the file", () => {
    const plan = compileText(
      fileOf({
        tasks: {
          last: { script: "RUN", after: ["z", "b"] },
          z: { script: "RUN" },
          b: { script: "RUN", foreach: ["c"] },
          c: { script: "RUN" },
        },
      }),
    );
    expect(plan.sets.map((set) => set.name)).toEqual(["z", "c", "b", "last"]);
    expect(plan.sets[3]?.after).toEqual([0, 2]);
    expect(plan.sets[2]?.foreach).toEqual([1]);
  });

  test("in a circle are refused with the path", () => {
    const said = saidOf(() =>
      compileText(
        fileOf({
          tasks: {
            a: { script: "RUN", after: ["c"] },
            b: { script: "RUN", foreach: ["a"] },
            c: { script: "RUN", after: ["b"] },
            d: { script: "RUN", after: ["c"] },
          },
        }),
      ),
    );
    expect(said).toEqual([expect.stringMatching(/^tasks\.a: waits for itself: a -> c -> b -> a/)]);
    expect(saidOf(() => compileText(oneSet({ after: ["a"] })))[0]).toContain("a -> a");
  });

  test("foreach multiplies by own axes with the parent's index outside", () => {
    const plan = compileText(
      fileOf({
        tasks: {
          p: { script: "RUN", task_inputs: { X: "1..3" }, task_outputs: { OUT: "o" } },
          c: { script: "RUN", foreach: ["p"], task_inputs: { IN: outputOf("p", "OUT"), Y: ["u", "v"] } },
        },
      }),
    );
    expect(plan.sets[1]).toMatchObject({ count: 6, factor: 2 });
    const seen = Array.from({ length: 6 }, (_, i) => taskBindings(plan, 1, i)).map((b) => [
      b.references[0]?.kind === "one" && b.references[0].index,
      b.texts[0]?.value,
    ]);
    expect(seen).toEqual([
      [0, "u"],
      [0, "v"],
      [1, "u"],
      [1, "v"],
      [2, "u"],
      [2, "v"],
    ]);
  });

  test("a reference over a barrier is the files of all tasks", () => {
    const plan = compileText(
      fileOf({
        tasks: {
          p: { script: "RUN", task_inputs: { X: "1..3" }, task_outputs: { OUT: "o" } },
          m: { script: "RUN", after: ["p"], task_inputs: { IN: outputOf("p", "OUT") } },
        },
      }),
    );
    expect(taskBindings(plan, 1, 0).references).toEqual([{ kind: "all", name: "IN", set: 0, output: "OUT", count: 3 }]);
  });

  test("on parents of unequal counts are refused", () => {
    const text = fileOf({
      tasks: {
        p: { script: "RUN", task_inputs: { X: "1..3" } },
        q: { script: "RUN", task_inputs: { X: "1..4" } },
        c: { script: "RUN", foreach: ["p", "q"] },
      },
    });
    expect(saidOf(() => compileText(text))).toEqual([expect.stringMatching(/^tasks\.c\.foreach: .*p has 3, q has 4/)]);
  });

  test("that do not exist are refused with suggestions", () => {
    const text = fileOf({
      tasks: {
        count: { script: "RNU", task_outputs: { OUT: "o" } },
        merge: {
          script: "RUN",
          after: ["cuont"],
          foreach: ["count"],
          task_inputs: { A: outputOf("count", "OTU"), B: outputOf("conut", "OUT") },
        },
        other: { script: "RUN", task_inputs: { IN: outputOf("count", "OUT") } },
      },
    });
    expect(saidOf(() => compileText(text))).toEqual([
      'tasks.count.script: there is no script "RNU"; did you mean "RUN"?',
      'tasks.merge.after[0]: there is no task set "cuont"; did you mean "count"?',
      'tasks.merge.task_inputs.A: count has no output "OTU"; did you mean "OUT"?',
      'tasks.merge.task_inputs.B: there is no task set "conut"; did you mean "count"?',
      expect.stringMatching(
        /^tasks\.other\.task_inputs\.IN: nothing here waits for count; add foreach: \["count"\] .* or after: \["count"\]/,
      ),
    ]);
  });

  test("complaints about meaning carry line and column too", () => {
    const error = refusalOf(() =>
      compileText('scripts: {RUN: "true"}\ntasks:\n  a:\n    script: RUN\n    task_inputs:\n      N: 1..5..0\n'),
    );
    expect(error.complaints).toEqual([{ path: "tasks.a.task_inputs.N", message: '"1..5..0" has the step 0', line: 6, column: 10 }]);
  });

  test("named in foreach and after, or a barrier's own names taken, are refused", () => {
    expect(
      saidOf(() => compileText(fileOf({ tasks: { p: { script: "RUN" }, c: { script: "RUN", foreach: ["p"], after: ["p"] } } })))[0],
    ).toContain("named twice");
    const text = fileOf({
      tasks: {
        p: { script: "RUN", task_outputs: { O: "o" } },
        c: { script: "RUN", after: ["p"], task_inputs: { IN: outputOf("p", "O"), IN_LIST: 1 } },
      },
    });
    expect(saidOf(() => compileText(text))[0]).toContain("IN_LIST");
  });
});

const valuesOf = (value: unknown, type?: string): string[] => {
  const file = type === undefined ? {} : { parameters: { V: { type } } };
  const plan = compileText(oneSet({ task_inputs: { V: value } }, file));
  const count = plan.sets[0]?.count ?? 0;
  return Array.from({ length: count }, (_, i) => {
    const { texts, inputs } = taskBindings(plan, 0, i);
    return texts[0]?.value ?? `${inputs[0]?.storage} ${inputs[0]?.path}`;
  });
};

describe("values", () => {
  test.each([
    ["1..3", ["1", "2", "3"]],
    ["1..10..4", ["1", "5", "9"]],
    ["10..1..-4", ["10", "6", "2"]],
    ["-2..2..2", ["-2", "0", "2"]],
    ["0..1..0.25", ["0.00", "0.25", "0.50", "0.75", "1.00"]],
    ["-0.1..0.1..0.1", ["-0.1", "0.0", "0.1"]],
    ["0.3..0.1..-0.1", ["0.3", "0.2", "0.1"]],
    ["5..5", ["5"]],
  ])("the range %s", (text, expected) => expect(valuesOf(text)).toEqual(expected));

  test("0..1..0.1 ends at 1.0 without drift", () => {
    expect(valuesOf("0..1..0.1")).toEqual(["0.0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0"]);
  });

  test.each([
    ["1..5..0", "step 0"],
    ["5..1", "write 5..1..-1"],
    ["1..5..-1", "never gets there"],
    ["0.5..3", "without a step"],
    ["001..100", "leading zeros"],
    ["1..1000000000000", "1,000,000,000,000 values"],
    ["9000000000000000000..9000000000000000001", "more digits"],
    ["0..1..0.0000000000000001", "more than 15 decimals"],
  ])("the range %s is refused: %s", (text, why) => expect(saidOf(() => valuesOf(text)).join()).toContain(why));

  test("a range of a million million is too large, and nothing is made of it", () => {
    const started = performance.now();
    expect(refusalOf(() => valuesOf(`1..${10 ** 12}`)).kind).toBe("too-large");
    expect(refusalOf(() => valuesOf(`1..1${"0".repeat(39)}`)).kind).toBe("too-large");
    expect(performance.now() - started).toBeLessThan(1000);
  });

  test("of a string or path are never ranges", () => {
    expect(valuesOf("1..3", "string")).toEqual(["1..3"]);
    expect(valuesOf("1..3", "path")).toEqual(["1..3"]);
    expect(valuesOf("1..3", "int")).toHaveLength(3);
    expect(valuesOf(["1..3"])).toEqual(["1..3"]);
  });

  test.each([
    ["int", "1.5"],
    ["int", "x"],
    ["int", "1..2..0.5"],
    ["float", ".nan"],
    ["float", ""],
    ["bool", "yes"],
    ["path", ""],
    ["path", "a\nb"],
    ["path", "s3://bucket/key"],
  ])("a %s cannot be %j", (type, text) => expect(() => valuesOf(text, type)).toThrow(/tasks\.a\.task_inputs\.V/));

  test("of types are checked within lists, each with its place", () => {
    expect(saidOf(() => valuesOf([1, "x", 3, 4.5], "int")).map((s) => s.split(":")[0])).toEqual([
      "tasks.a.task_inputs.V[1]",
      "tasks.a.task_inputs.V[3]",
    ]);
  });

  test("that name storage are staged in; other text with colons is text", () => {
    expect(valuesOf("shared-data:/weather/seattle.csv")).toEqual(["shared-data /weather/seattle.csv"]);
    expect(valuesOf(["d:/a", "d:/b"], "path")).toEqual(["d /a", "d /b"]);
    expect(valuesOf("shared-data:/x", "string")).toEqual(["shared-data:/x"]);
    expect(valuesOf("https://example.org/x")).toEqual(["https://example.org/x"]);
    expect(() => valuesOf("d:/a/../../etc/passwd")).toThrow("climbs");
    expect(() => valuesOf(["d:/a", "b"])).toThrow("mixes");
  });

  test("an empty list, or one too long, is refused", () => {
    expect(() => valuesOf([])).toThrow("there would be no task");
    expect(refusalOf(() => valuesOf(Array.from({ length: 100_001 }, () => 1))).kind).toBe("too-large");
  });

  test("zip pairs equal lengths and refuses unequal ones", () => {
    const zip = (a: unknown, b: unknown) => compileText(oneSet({ combine: "zip", task_inputs: { A: a, B: b, C: "same" } }));
    const plan = zip("1..3", ["x", "y", "z"]);
    expect(plan.sets[0]?.count).toBe(3);
    expect(taskBindings(plan, 0, 1).texts.map((t) => t.value)).toEqual(["same", "2", "y"]);
    expect(() => zip("1..3", ["x"])).toThrow("A has 3, B has 1");
  });

  test("references stand alone, in task_inputs, and not in numbers", () => {
    const withParent = (value: unknown, type = "path") =>
      compileText(
        fileOf({
          parameters: { V: { type } },
          tasks: { p: { script: "RUN", task_outputs: { O: "o" } }, c: { script: "RUN", foreach: ["p"], task_inputs: { V: value } } },
        }),
      );
    expect(() => withParent(outputOf("p", "O"))).not.toThrow();
    expect(() => withParent(outputOf("p", "O"), "int")).toThrow("declare it path");
    expect(() => withParent(`x-${outputOf("p", "O")}`)).toThrow("holds a reference");
    expect(() => withParent([outputOf("p", "O")])).toThrow("holds a reference");
    expect(() => compileText(oneSet({}, { parameters: { V: { default: outputOf("a", "O") } } }))).toThrow("a default is one value");
  });
});

describe("what becomes a variable, file or argument elsewhere", () => {
  test.each(["PATH", "LD_PRELOAD", "BASH_ENV", "ENV", "IFS", "AIRAVATA_TASK", "RANDOM", "1X", "A B", "A-B", "A;B", "Ä", "x".repeat(65)])(
    "the parameter %s is refused",
    (name) => {
      expect(() => compileText(oneSet({ task_inputs: { [name]: 1 } }))).toThrow("tasks.a.task_inputs");
      expect(() => compileText(oneSet({ task_outputs: { [name]: "o" } }))).toThrow("tasks.a.task_outputs");
      expect(() => compileText(oneSet({}, { parameters: { [name]: {} } }))).toThrow("parameters.");
    },
  );

  test.each(["/etc/passwd", "../x", "a/../../x", "", "a\nb", "out/", ".", "x".repeat(1025)])("the output path %j is refused", (path) => {
    expect(() => compileText(oneSet({ task_outputs: { O: path } }))).toThrow("tasks.a.task_outputs.O");
  });

  test("output paths are made plain and must not be in each other's way", () => {
    expect(compileText(oneSet({ task_outputs: { O: "./a//b/./c.txt" } })).sets[0]?.outputs).toEqual([{ name: "O", path: "a/b/c.txt" }]);
    expect(() => compileText(oneSet({ task_outputs: { O: "a", P: "./a" } }))).toThrow("in the way");
    expect(() => compileText(oneSet({ task_outputs: { O: "a", P: "a/b" } }))).toThrow("in the way");
    expect(() => compileText(oneSet({ task_inputs: { O: 1 }, task_outputs: { O: "a" } }))).toThrow("name of an input too");
  });

  test("assets go below the task's directory", () => {
    const assets = (...storage: string[]) =>
      compileText(oneSet({}, { resources: { storage } })).assets.map((asset) => `${asset.path} ${asset.to}`);
    expect(assets("d:/a/b.txt", "d:/c.txt:in/", "d:/x/", "d:/y/:./", "d:/with:colon.txt:z")).toEqual([
      "/a/b.txt b.txt",
      "/c.txt in/c.txt",
      "/x/ x/",
      "/y/ ./",
      "/with:colon.txt z",
    ]);
    for (const bad of ["d:/a:/etc/x", "d:/a:../x", "d:/../a:x", "d:a:x", "D:/a:x", "/a:x", "d", ""])
      expect(() => assets(bad)).toThrow("resources.storage[0]");
    expect(() => assets("d:/a:x", "d:/b:./x")).toThrow("second file");
  });

  test("packages cannot pass for options and environment entries have names", () => {
    expect(() => compileText(oneSet({}, { resources: { pip: ["--index-url=x"] } }))).toThrow("resources.pip[0]");
    expect(() => compileText(oneSet({}, { resources: { conda: [""] } }))).toThrow("resources.conda[0]");
    expect(() => compileText(oneSet({}, { resources: { environment: ["=x"] } }))).toThrow("NAME=value");
    expect(() => compileText(oneSet({}, { resources: { environment: ["AIRAVATA_X=1"] } }))).toThrow("scheduler's");
    expect(compileText(oneSet({}, { resources: { environment: ["A=b=$C"] } })).environment).toEqual([{ name: "A", template: "b=$C" }]);
  });

  test("scripts are not empty, not too large and without Windows line ends", () => {
    const withScript = (RUN: string) => compileText(fileOf({ scripts: { RUN }, tasks: { a: { script: "RUN" } } }));
    expect(() => withScript(" \n")).toThrow("empty script");
    expect(() => withScript("a\r\nb")).toThrow("Windows");
    expect(refusalOf(() => withScript("x".repeat(256 * 1024 + 1))).kind).toBe("too-large");
    expect(() => withScript("x".repeat(256 * 1024))).not.toThrow();
  });

  test("values, sets, labels, names and priorities have limits", () => {
    expect(() => valuesOf("x".repeat(32 * 1024))).not.toThrow();
    expect(refusalOf(() => valuesOf("x".repeat(32 * 1024 + 1))).kind).toBe("too-large");
    const many = Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`V${i}`, "x".repeat(32 * 1024)]));
    expect(refusalOf(() => compileText(oneSet({ task_inputs: many }))).kind).toBe("too-large");
    const sets = (n: number) => fileOf({ tasks: Object.fromEntries(Array.from({ length: n }, (_, i) => [`s${i}`, { script: "RUN" }])) });
    expect(compileText(sets(64)).sets).toHaveLength(64);
    expect(refusalOf(() => compileText(sets(65))).kind).toBe("too-large");
    const axes = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`V${i}`, [1]]));
    expect(refusalOf(() => compileText(oneSet({ task_inputs: axes }))).kind).toBe("too-large");
    for (const bad of [
      { name: " " },
      { priority: 101 },
      { priority: 0.5 },
      { labels: { "": "x" } },
      { on: ["Big Machine"] },
      { tasks: { "a b": { script: "RUN" } } },
    ]) {
      expect(() => compileText(oneSet({}, bad))).toThrow();
    }
  });

  test("a chain that multiplies beyond the limit is refused, not counted", () => {
    const tasks: Record<string, object> = { s0: { script: "RUN", task_inputs: { X: "1..1000" } } };
    for (let i = 1; i < 60; i++) tasks[`s${i}`] = { script: "RUN", foreach: [`s${i - 1}`], task_inputs: { X: "1..1000" } };
    expect(refusalOf(() => compileText(fileOf({ tasks }))).kind).toBe("too-large");
  });
});

describe("resources and retries", () => {
  const setOf = (set: object, file: object = {}) => compileText(oneSet(set, file)).sets[0];

  test("have defaults, and a set's words go over the experiment's", () => {
    expect(setOf({})?.resources).toEqual({
      capacity: { cpuMilli: 1000, memoryMib: 1024, gpu: 0 },
      diskMib: 0,
      vramMib: 0,
      nodes: 1,
      timeLimitMs: 3_600_000,
    });
    expect(setOf({ compute: { cpu: 0.25 } }, { resources: { compute: { cpu: 4, ram_gb: 0.5, time: 90 } } })?.resources).toMatchObject({
      capacity: { cpuMilli: 250, memoryMib: 512 },
      timeLimitMs: 5_400_000,
    });
  });

  test.each([
    { cpu: 0 },
    { cpu: 1e9 },
    { gpu: 1.5 },
    { ram_gb: 0 },
    { ram_gb: -1 },
    { node: 2 },
    { node: 0 },
    { time: "soon" },
    { time: 0 },
    { time: "99-00" },
    { vram_gb: 8 },
  ])("%j is refused", (compute) => expect(() => setOf({ compute })).toThrow("tasks.a.compute."));

  test("a mistake in shared resources is named once", () => {
    const text = fileOf({ tasks: { a: { script: "RUN" }, b: { script: "RUN" } }, resources: { compute: { cpu: 0 } } });
    expect(saidOf(() => compileText(text))).toHaveLength(1);
  });

  test("retries are the set's over the experiment's over the defaults", () => {
    expect(setOf({})?.retry).toEqual({ retries: { exit: 0, signal: 1, timeout: 0, "out-of-memory": 0, staging: 3 }, backoffMs: 5000 });
    expect(setOf({ retry: { exit: 3 } }, { retry: { exit: 1, out_of_memory: 2, backoff: "0:01:00" } })?.retry).toEqual({
      retries: { exit: 3, signal: 1, timeout: 0, "out-of-memory": 2, staging: 3 },
      backoffMs: 60_000,
    });
    for (const retry of [{ exit: 101 }, { exit: -1 }, { exit: 0.5 }, { backoff: "2h" }, { backoff: "x" }])
      expect(() => setOf({ retry })).toThrow("tasks.a.retry.");
  });
});

describe("by property", () => {
  test("a range has as many values as its size says, all exact, the last within its end", () => {
    const decimals = fc.integer({ min: 0, max: 6 });
    const units = fc.integer({ min: -(10 ** 9), max: 10 ** 9 });
    const step = fc.integer({ min: 1, max: 10 ** 6 });
    const write = (n: bigint, d: number): string => {
      const digits = (n < 0n ? -n : n).toString().padStart(d + 1, "0");
      return `${n < 0n ? "-" : ""}${d === 0 ? digits : `${digits.slice(0, -d)}.${digits.slice(-d)}`}`;
    };
    fc.assert(
      fc.property(units, step, fc.integer({ min: 0, max: 300 }), fc.nat(), fc.boolean(), decimals, (from, by, more, rest, down, d) => {
        const sign = down ? -1n : 1n;
        const stepUnits = sign * BigInt(by);
        const end = BigInt(from) + stepUnits * BigInt(more) + sign * BigInt(rest % by);
        const range = readRange(`${write(BigInt(from), d)}..${write(end, d)}..${write(stepUnits, d)}`);
        if (range === undefined || "problem" in range) throw new Error(`${range?.problem}`);
        const axis = { name: "X", kind: "range", ...range } as const;
        expect(axisSize(axis)).toBe(more + 1);
        for (let i = 0; i <= more; i++) expect(axisText(axis, i)).toBe(write(BigInt(from) + stepUnits * BigInt(i), d));
      }),
    );
  });

  test("sets come after all of their parents, whatever the graph", () => {
    const edges = fc.array(fc.tuple(fc.nat(11), fc.nat(11)), { maxLength: 30 });
    fc.assert(
      fc.property(edges, fc.shuffledSubarray([...Array(12).keys()], { minLength: 12 }), (pairs, order) => {
        const after = (n: number) => [
          ...new Set(pairs.filter(([child, parent]) => child === n && parent < n).map(([, parent]) => `s${parent}`)),
        ];
        const plan = compileText(fileOf({ tasks: Object.fromEntries(order.map((n) => [`s${n}`, { script: "RUN", after: after(n) }])) }));
        expect(plan.sets).toHaveLength(12);
        for (const [i, set] of plan.sets.entries()) for (const parent of set.after) expect(parent).toBeLessThan(i);
      }),
      { numRuns: 50 },
    );
  });
});
