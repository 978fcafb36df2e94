/** Experiment file -> spec: structure, places, hostile input. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { applyOverrides, parseExperimentFile } from "#api/experiment-file.ts";
import { COMPLAINTS_MAX } from "#domain/complaints.ts";
import { SchedulerError } from "#domain/error.ts";
import { compilePlan } from "#core/experiment-orchestrator/compile.ts";
import { fileOf, oneSet, parseText, refusalOf, saidOf } from "../support/experiment-file.ts";

const encoder = new TextEncoder();
const MIB = 1024 * 1024;

const YAML = `
name: seattle-rain
labels: {season: winter}
priority: 5
retry: {exit: 2, backoff: "0:00:10"}
parameters:
  YEAR: {type: int, description: calendar year}
  THRESHOLD: {type: float, default: 0.10}
scripts:
  COUNT: |
    #!/bin/bash
    echo "$YEAR" > "$OUT"
tasks:
  count:
    script: COUNT
    task_inputs:
      YEAR: 2012..2015
      THRESHOLD: [0.1, 1, 5.00, "20"]
      WET: true
    task_outputs: {OUT: rain.txt}
`;

describe("a good file", () => {
  test("is read with the digits of its numbers as written", () => {
    const spec = parseText(YAML);
    expect(spec.name).toBe("seattle-rain");
    expect(spec.priority).toBe(5);
    expect(spec.parameters.THRESHOLD?.default).toEqual({ kind: "one", text: "0.10" });
    expect(spec.tasks.count?.task_inputs).toEqual({
      YEAR: { kind: "one", text: "2012..2015" },
      THRESHOLD: { kind: "many", texts: ["0.1", "1", "5.00", "20"] },
      WET: { kind: "one", text: "true" },
    });
    expect(spec.scripts.COUNT).toBe('#!/bin/bash\necho "$YEAR" > "$OUT"\n');
    expect(spec.tasks.count?.combine).toBe("product");
  });

  test("is the same as JSON, with tabs and in one line", () => {
    const json = {
      name: "x",
      scripts: { RUN: "true" },
      tasks: { a: { script: "RUN", task_inputs: { N: "1..3", F: 0.5, U: "\u{1F600}" } } },
    };
    const { locate: _, ...one } = parseText(JSON.stringify(json));
    const { locate: __, ...tabs } = parseText(JSON.stringify(json, null, "\t"));
    expect(tabs).toEqual(one);
    expect(one.tasks.a?.task_inputs).toEqual({
      N: { kind: "one", text: "1..3" },
      F: { kind: "one", text: "0.5" },
      U: { kind: "one", text: "\u{1F600}" },
    });
  });

  test("may start with a byte order mark and use aliases", () => {
    const spec = parseText(
      `\ufeffscripts: {RUN: "true"}\ntasks:\n  a: {script: RUN, task_inputs: &in {N: &n [1, 2], M: *n}}\n  b: {script: RUN, task_inputs: *in}\n`,
    );
    expect(spec.tasks.b?.task_inputs).toEqual({ N: { kind: "many", texts: ["1", "2"] }, M: { kind: "many", texts: ["1", "2"] } });
  });

  test("takes one parent without brackets, and no sexagesimal numbers even as YAML 1.1", () => {
    const spec = parseText(
      `%YAML 1.1\n---\nscripts: {RUN: "true"}\ntasks:\n  a: {script: RUN}\n  b: {script: RUN, after: a, compute: {time: 0:05:00}}\n`,
    );
    expect(spec.tasks.b?.after).toEqual(["a"]);
    expect(spec.tasks.b?.compute.time).toBe("0:05:00");
  });

  test("may say policy: balanced, the only one there is", () => {
    expect(() => parseText(oneSet({}, { policy: "balanced" }))).not.toThrow();
    expect(saidOf(() => parseText(oneSet({}, { policy: "cheapest" })))[0]).toMatch(/^policy: is not supported yet/);
  });
});

describe("what is wrong is named with its place", () => {
  test("all at once, with line and column", () => {
    const text = `naem: x
scripts:
  RUN: 5
tasks:
  a:
    script: RUN
    taks_inputs: {}
    combine: sum
    compute: {cpus: 4, ram_gb: lots}
  b: {}
`;
    const error = refusalOf(() => parseText(text));
    expect(error.kind).toBe("invalid-input");
    expect(error.complaints).toEqual(
      expect.arrayContaining([
        { path: "naem", message: 'there is no key "naem" here; did you mean "name"?', line: 1, column: 1 },
        { path: "scripts.RUN", message: expect.stringContaining("expects text"), line: 3, column: 8 },
        { path: "tasks.a.taks_inputs", message: expect.stringContaining('did you mean "task_inputs"?'), line: 7, column: 5 },
        { path: "tasks.a.combine", message: "expects product, zip", line: 8, column: 14 },
        { path: "tasks.a.compute.cpus", message: expect.stringContaining('did you mean "cpu"?'), line: 9, column: 15 },
        { path: "tasks.a.compute.ram_gb", message: expect.stringContaining("expects a number"), line: 9, column: 32 },
        { path: "tasks.b.script", message: "is missing", line: 10, column: 3 },
      ]),
    );
    expect(error.complaints).toHaveLength(7);
    expect(error.message).toMatch(/; 6 more$/);
  });

  test("at most 50 of them", () => {
    const keys = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`x${i}`, 1]));
    expect(refusalOf(() => parseText(oneSet({}, keys))).complaints).toHaveLength(COMPLAINTS_MAX);
  });

  test("duplicate keys", () => {
    const error = refusalOf(() => parseText(`scripts: {RUN: "true"}\ntasks:\n  a: {script: RUN}\n  a: {script: RUN}\n`));
    expect(error.complaints).toEqual([{ path: "tasks.a", message: "stands here twice", line: 4, column: 3 }]);
  });

  test("broken YAML, once and where it breaks", () => {
    const error = refusalOf(() => parseText("tasks:\n  a: [1, 2\nscripts: {}\n"));
    expect(error.complaints[0]).toMatchObject({ path: "", line: 3 });
  });

  test.each(["deadline", "notify", "secrets", "cache"])("%s, plainly as not supported yet", (key) => {
    expect(saidOf(() => parseText(oneSet({}, { [key]: "x" })))).toEqual([`${key}: is not supported yet; take it out`]);
  });

  test("values that are neither one value nor a list", () => {
    const said = saidOf(() => parseText(oneSet({ task_inputs: { A: null, B: { x: 1 }, C: [[1]], D: [null] } })));
    expect(said).toEqual([
      expect.stringMatching(/^tasks\.a\.task_inputs\.A: has no value/),
      expect.stringMatching(/^tasks\.a\.task_inputs\.B: is a list or map/),
      expect.stringMatching(/^tasks\.a\.task_inputs\.C\[0\]: is a list or map/),
      expect.stringMatching(/^tasks\.a\.task_inputs\.D\[0\]: has no value/),
    ]);
  });

  test("a key left empty", () => {
    expect(saidOf(() => parseText('parameters:\nscripts: {RUN: "true"}\ntasks: {a: {script: RUN}}'))[0]).toMatch(
      /^parameters: .*take the key out/,
    );
  });
});

describe("a hostile file", () => {
  test("of 50 MB is refused before it is read", () => {
    const started = performance.now();
    expect(refusalOf(() => parseExperimentFile(new Uint8Array(50 * MIB))).kind).toBe("too-large");
    expect(performance.now() - started).toBeLessThan(200);
  });

  test("that is not UTF-8 is refused with the offset of the wrong byte", () => {
    const prefix = encoder.encode("name: \ufffd ü\n");
    const error = refusalOf(() => parseExperimentFile(new Uint8Array([...prefix, 0xc3, 0x28])));
    expect(error.message).toContain(`byte ${prefix.length} `);
  });

  test("that doubles itself by aliases is refused", () => {
    const levels = Array.from({ length: 20 }, (_, i) => `l${i + 1}: &l${i + 1} [${`*l${i},`.repeat(9)}]`);
    expect(refusalOf(() => parseText(`l0: &l0 [a]\n${levels.join("\n")}`)).message).toContain("aliases");
  });

  test("that repeats a large list by aliases is refused", () => {
    const text = `scripts: {RUN: "true"}\nx: &x [${"1,".repeat(5000)}]\ny: [${"*x,".repeat(90)}]`;
    expect(refusalOf(() => parseText(text)).kind).toBe("too-large");
  });

  test.each([
    ["[", MIB],
    ["{", MIB],
    ["- ", MIB / 2],
    ["? ", MIB / 2],
    ["a: b: ", MIB / 8],
    ["[".repeat(40), 1],
  ])("nested too deep by %j is refused soon", (piece, times) => {
    const started = performance.now();
    expect(() => parseText(piece.repeat(times))).toThrow(SchedulerError);
    expect(performance.now() - started).toBeLessThan(5000);
  });

  test("of nothing but commas is refused before an error is made for each", () => {
    expect(refusalOf(() => parseText(`[${",".repeat(MIB - 2)}`)).kind).toBe("too-large");
  });

  test("of brackets that close nothing too", () => {
    expect(refusalOf(() => parseText("]".repeat(MIB))).kind).toBe("too-large");
  });

  test("of the largest list there may be is read, one value in a line", () => {
    const text = `scripts: {RUN: "true"}\ntasks:\n  a:\n    script: RUN\n    task_inputs:\n      N:\n${"      - 1\n".repeat(100_000)}`;
    expect(compilePlan(parseText(text)).sets[0]?.count).toBe(100_000);
  }, 30_000);

  test("that names a list within itself is refused", () => {
    expect(() => parseText(`tasks: {a: {task_inputs: {N: &n [*n]}}}`)).toThrow(SchedulerError);
    expect(() => parseText(`tasks: &n [*n]`)).toThrow(SchedulerError);
  });

  test("with 100,000 keys is read in a linear time", () => {
    const started = performance.now();
    const keys = Array.from({ length: 100_000 }, (_, i) => `k${i}: 1`).join("\n");
    expect(() => parseText(keys)).toThrow(SchedulerError);
    expect(performance.now() - started).toBeLessThan(10_000);
  });

  test("cannot reach prototypes", () => {
    expect(saidOf(() => parseText(`{"__proto__": {"x": 1}, "scripts": {"RUN": "true"}, "tasks": {"a": {"script": "RUN"}}}`))[0]).toMatch(
      /^__proto__/,
    );
    expect(() => parseText(oneSet({ task_inputs: { constructor: 1 } }))).not.toThrow();
    expect(() => compilePlan(parseText(oneSet({ script: "toString" })))).toThrow(SchedulerError);
  });

  test("with tags, two documents, NUL, half characters or an unknown alias is refused", () => {
    for (const text of ["!!js/function x", "--- a\n--- b", 'name: "a\\0b"', 'name: "\\ud800"', "name: *nobody", "? [a]\n: b", ""]) {
      expect(() => parseText(text)).toThrow(SchedulerError);
    }
  });
});

describe("by property", () => {
  const onlySchedulerErrors = (action: () => unknown) => {
    try {
      action();
    } catch (error) {
      expect(error).toBeInstanceOf(SchedulerError);
    }
  };
  const yamlish = fc.array(
    fc.constantFrom(
      ..."[]{}:,-?*&!|>'\"%#~ \n\tab01.$".split(""),
      "\n  ",
      ": ",
      "- ",
      "scripts:",
      "tasks:",
      "task_inputs:",
      "&a ",
      "*a",
      "<<",
    ),
    { maxLength: 60 },
  );

  test("nothing but a SchedulerError comes out of arbitrary bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => onlySchedulerErrors(() => compilePlan(parseExperimentFile(bytes)))),
    );
  });

  test("nothing but a SchedulerError comes out of arbitrary YAML", () => {
    fc.assert(
      fc.property(yamlish, (pieces) => onlySchedulerErrors(() => compilePlan(parseText(pieces.join(""))))),
      { numRuns: 500 },
    );
  });

  test("nothing but a SchedulerError comes out of arbitrary JSON values at every key", () => {
    const keys = ["name", "labels", "priority", "policy", "retry", "on", "parameters", "scripts", "tasks", "resources"];
    const file = fc.record(Object.fromEntries(keys.map((key) => [key, fc.jsonValue()])), { requiredKeys: [] });
    const set = fc.record({
      script: fc.constant("RUN"),
      task_inputs: fc.jsonValue(),
      task_outputs: fc.jsonValue(),
      foreach: fc.jsonValue(),
      compute: fc.jsonValue(),
    });
    const shaped = fc.dictionary(fc.string(), set).map((tasks) => ({ scripts: { RUN: "true" }, tasks }));
    fc.assert(
      fc.property(fc.oneof(file, shaped, fc.jsonValue()), (value) =>
        onlySchedulerErrors(() => compilePlan(parseText(JSON.stringify(value)))),
      ),
      { numRuns: 500 },
    );
  });
});

describe("overrides", () => {
  test("leave out or replace what is to be installed, by lists only", () => {
    const spec = parseExperimentFile(Buffer.from("scripts: {A: x}\ntasks: {a: {script: A}}\nresources: {conda: [python], pip: [tqdm]}\n"));
    const { resources } = applyOverrides(spec, { "resources.conda": "[]", "resources.pip": "[numpy=2.1, tqdm]" });
    expect([resources.conda, resources.pip]).toEqual([[], ["numpy=2.1", "tqdm"]]);
    expect(() => applyOverrides(spec, { "resources.pip": "tqdm" })).toThrow("expects a list");
  });

  const spec = parseText(
    fileOf({
      parameters: { SEED: { type: "int", default: 1 }, FREE: {} },
      tasks: { a: { script: "RUN", task_inputs: { N: [1, 2] } }, b: { script: "RUN", task_inputs: { N: 5 }, compute: { cpu: 2 } } },
      resources: { compute: { cpu: 1 } },
    }),
  );

  test("replace a value in every task set that gives it", () => {
    const plan = compilePlan(applyOverrides(spec, { N: "0..9" }));
    expect(plan.sets.map((set) => set.count)).toEqual([10, 10]);
    expect(compilePlan(applyOverrides(spec, { N: "[7, 8.0]" })).sets[0]?.axes[0]).toMatchObject({ texts: ["7", "8.0"] });
  });

  test("replace a default where no set gives the value", () => {
    expect(compilePlan(applyOverrides(spec, { SEED: "42" })).sets[1]?.constants).toContainEqual({
      name: "SEED",
      text: "42",
      storage: false,
    });
    expect(() => compilePlan(applyOverrides(spec, { SEED: "1..3" }))).toThrow("a default is one value");
  });

  test("replace resources everywhere", () => {
    const sets = compilePlan(applyOverrides(spec, { "compute.cpu": "4", "compute.time": "2h" })).sets;
    expect(sets.map((set) => [set.resources.capacity.cpuMilli, set.resources.timeLimitMs])).toEqual([
      [4000, 7_200_000],
      [4000, 7_200_000],
    ]);
  });

  test("of what is not there are refused with a suggestion", () => {
    expect(() => applyOverrides(spec, { SED: "1" })).toThrow('did you mean "SEED"?');
    expect(() => applyOverrides(spec, { "compute.cpus": "1" })).toThrow('did you mean "cpu"?');
    expect(() => applyOverrides(spec, { "compute.cpu": "many" })).toThrow(SchedulerError);
    expect(() => applyOverrides(spec, { N: "[1" })).toThrow(SchedulerError);
  });

  test("leave the spec as it was", () => {
    applyOverrides(spec, { N: "0..9", "compute.cpu": "4" });
    expect(compilePlan(spec).sets.map((set) => set.count)).toEqual([2, 1]);
  });
});
