/** WfFormat -> WorkflowSpec: recognized by content, every mistake with its place. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readExperiment } from "#api/experiment-source.ts";
import { compilePlan } from "#core/experiment-orchestrator/compile.ts";
import { edgesOf, firstNumbers } from "#domain/edges.ts";
import { SchedulerError } from "#domain/error.ts";
import type { WorkflowSpec } from "#domain/workflow.ts";
import { refusalOf, saidOf } from "../support/experiment-file.ts";
import { instancePath } from "../support/instances.ts";
import { bytesOf, instanceOf, planOfInstance } from "../support/workflow.ts";

const read = (instance: object, options = {}) => readExperiment(bytesOf(instance), options) as WorkflowSpec;
const pair = [
  { id: "a", outputFiles: ["x"], program: "make", arguments: ["-o", "x"], runtimeInSeconds: 2.5 },
  { id: "b", parents: ["a"], inputFiles: ["x"], program: "use" },
];

describe("a workflow", () => {
  test("is told from an experiment file by what is in it", () => {
    expect(read(instanceOf(pair))).toMatchObject({ kind: "workflow", name: "made" });
    const file = new TextEncoder().encode('{"scripts": {"S": "true"}, "tasks": {"a": {"script": "S"}}}');
    expect(readExperiment(file, {})).not.toHaveProperty("kind");
    expect(() => readExperiment(file, { simulateWork: 1 })).toThrow("are for workflows");
    expect(() => readExperiment(file, { workflowInputs: "s:/x" })).toThrow("are for workflows");
  });

  test("has its tasks with parents, files and what is known of their execution", () => {
    const { tasks, files } = read(instanceOf(pair));
    expect(tasks[0]).toMatchObject({ id: "a", parents: [], outputs: [0], program: "make", arguments: ["-o", "x"], runtimeSeconds: 2.5 });
    expect(tasks[1]).toMatchObject({ id: "b", parents: [0], inputs: [0] });
    expect(files).toMatchObject([{ id: "x", bytes: 1000 }]);
  });

  test("takes a dependency from either end", () => {
    const { tasks } = read(instanceOf([{ id: "a", children: ["b"] }, { id: "b" }]));
    expect(tasks[1]?.parents).toEqual([0]);
  });

  test("may lack execution, files and times", () => {
    const { tasks, files } = read({ workflow: { specification: { tasks: [{ id: "a", name: "a", outputFiles: ["o"] }] } } });
    expect(tasks[0]).not.toHaveProperty("runtimeSeconds");
    expect(files).toMatchObject([{ id: "o" }]);
  });

  test("of an earlier version has everything in its tasks, and parents by name", () => {
    const { tasks, files } = read({
      name: "old",
      schemaVersion: "1.4",
      workflow: {
        tasks: [
          { name: "first", id: "ID1", category: "c", runtimeInSeconds: 3, files: [{ link: "output", name: "o", sizeInBytes: 7 }] },
          { name: "second", id: "ID2", parents: ["first"], runtime: 4, cores: 2, files: [{ link: "input", name: "o", size: 7 }] },
        ],
      },
    });
    expect(tasks).toMatchObject([
      { id: "ID1", category: "c", runtimeSeconds: 3, outputs: [0] },
      { id: "ID2", parents: [0], runtimeSeconds: 4, cores: 2, inputs: [0] },
    ]);
    expect(files).toMatchObject([{ id: "o", bytes: 7 }]);
  });
});

describe("mistakes in a workflow are named with their place", () => {
  const place = (instance: object, options = { simulateWork: 1 }) =>
    refusalOf(() => compilePlan(readExperiment(bytesOf(instance), options))).complaints[0];
  const cases: readonly (readonly [string, object, string, string])[] = [
    ["an unknown parent", instanceOf([{ id: "a", parents: ["x"] }]), "tasks[0].parents[0]", 'there is no task "x"'],
    ["an unknown child", instanceOf([{ id: "a", children: ["x"] }]), "tasks[0].children[0]", 'there is no task "x"'],
    ["a task twice", { workflow: { specification: { tasks: [{ id: "a" }, { id: "a" }] } } }, "tasks[1].id", "stands here twice"],
    [
      "a cycle",
      instanceOf([
        { id: "a", parents: ["b"] },
        { id: "b", parents: ["a"] },
      ]),
      "tasks[0].id",
      "a -> b -> a",
    ],
    ["a task that waits for itself", instanceOf([{ id: "a", parents: ["a"] }]), "tasks[0].id", "a -> a"],
    [
      "a cycle through files",
      instanceOf([
        { id: "a", inputFiles: ["y"], outputFiles: ["x"] },
        { id: "b", inputFiles: ["x"], outputFiles: ["y"] },
      ]),
      "tasks[0].id",
      "waits for itself",
    ],
    [
      "two makers of a file",
      instanceOf([
        { id: "a", outputFiles: ["x"] },
        { id: "b", outputFiles: ["x"] },
      ]),
      "tasks[1]",
      'so does task "a"',
    ],
    ["a file read and made", instanceOf([{ id: "a", inputFiles: ["x"], outputFiles: ["x"] }]), "tasks[0]", "makes it too"],
    ["a path that climbs", instanceOf([{ id: "a", outputFiles: ["../x"] }]), "files[0].id", "climbs out"],
    ["a file of the scheduler's own", instanceOf([{ id: "a", outputFiles: [".airavata/x"] }]), "files[0].id", "scheduler's own"],
    ["the scheduler's own list", instanceOf([{ id: "a", outputFiles: [".airavata-work"] }]), "files[0].id", "scheduler's own"],
    ["files in each other's way", instanceOf([{ id: "a", outputFiles: ["x", "x/y"] }]), "tasks[0]", "another below it"],
    ["two files at one place", instanceOf([{ id: "a", inputFiles: ["x"], outputFiles: ["./x"] }]), "tasks[0]", "two files at"],
    ["a line end in a path", instanceOf([{ id: "a", outputFiles: ["x\ny"] }]), "files[0].id", "control character"],
  ];
  test.each(cases)("%s", (_, instance, path, message) => {
    const complaint = place(instance);
    expect(complaint?.path).toBe(`workflow.specification.${path}`);
    expect(complaint?.message).toContain(message);
    expect(complaint?.line).toBeGreaterThan(1);
  });

  test("line and column are those of the value", () => {
    const text =
      '{"workflow": {"specification": {"tasks": [\n  {"id": "a", "name": "a\\"]}"},\n  {"id": "b", "parents": ["a", "nope"]}\n]}}}';
    const { complaints } = refusalOf(() => readExperiment(new TextEncoder().encode(text), {}));
    expect(complaints).toMatchObject([{ path: "workflow.specification.tasks[1].parents[1]", line: 3, column: 32 }]);
  });

  test("a file or an execution that the specification does not know, or that stands there twice", () => {
    const instance = structuredClone(instanceOf(pair)) as {
      workflow: { specification: { files: object[] }; execution: { tasks: object[] } };
    };
    instance.workflow.specification.files = [];
    expect(saidOf(() => read(instance))[0]).toContain('there is no file "x"');
    instance.workflow.specification.files = [{ id: "x" }, { id: "x" }];
    instance.workflow.execution.tasks.push({ id: "zzz" }, { id: "a" });
    expect(saidOf(() => read(instance))).toEqual([
      'workflow.specification.files[1].id: file "x" stands here twice',
      'workflow.execution.tasks[2].id: there is no task "zzz" in the specification',
      'workflow.execution.tasks[3].id: task "a" stands here twice',
    ]);
  });

  test("wrong types, and none at all", () => {
    expect(saidOf(() => read({ workflow: { specification: { tasks: [{ id: 7 }] } } }))[0]).toContain("tasks[0].id: expects text");
    expect(saidOf(() => read({ workflow: { specification: { tasks: [] } } }))).toEqual(["workflow: has no task"]);
    expect(saidOf(() => read({ workflow: 7 }))[0]).toContain("workflow: expects keys with values");
    expect(
      refusalOf(() => read({ workflow: { specification: { tasks: [{ id: "a", runtime: 1 }] } } }, { set: { N: "1" } })).message,
    ).toContain("a workflow has no parameters");
  });

  test("a name that several tasks have is not taken for one of them", () => {
    const twins = [
      { name: "n", id: "1" },
      { name: "n", id: "2" },
      { name: "m", id: "3", parents: ["n"] },
    ];
    expect(saidOf(() => read({ workflow: { tasks: twins } }))).toEqual([
      'workflow.tasks[2].parents[0]: several tasks are named "n"; write an id',
    ]);
  });

  test("large text that is neither JSON nor YAML of a fair size", () => {
    const broken = new TextEncoder().encode(`{"workflow": ${" ".repeat(2 * 1024 * 1024)}\n!}`);
    expect(refusalOf(() => readExperiment(broken, {})).complaints).toMatchObject([{ line: 2, column: 1 }]);
    const deep = new TextEncoder().encode(`{"workflow": ${"[".repeat(2_000_000)}`);
    expect(refusalOf(() => readExperiment(deep, {})).kind).toBe("invalid-input");
  });

  test("more than 100,000 tasks are too many", () => {
    const tasks = Array.from({ length: 100_001 }, (_, i) => ({ id: `${i}` }));
    expect(refusalOf(() => read({ workflow: { specification: { tasks } } })).kind).toBe("too-large");
  });

  test("nothing but a SchedulerError comes out of arbitrary values", () => {
    const some = fc.oneof(fc.constant([]), fc.jsonValue(), fc.constant([{ id: "a", name: "a" }]));
    const workflow = fc.record(
      { specification: fc.record({ tasks: some, files: some }), tasks: some, execution: fc.record({ tasks: some }) },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(workflow, (value) => {
        try {
          planOfInstance({ workflow: value });
        } catch (error) {
          expect(error).toBeInstanceOf(SchedulerError);
        }
      }),
    );
  });
});

describe("the public instances", () => {
  const names = ["chain-5", "forkjoin-10", "blast-small", "bwa-large", "seismology-1000p"];
  const present = names.flatMap((name) => instancePath(`${name}.json`) ?? []);
  test.skipIf(present.length === 0).each(present.length === 0 ? names : present)("compile with every edge: %s", (path) => {
    const bytes = readFileSync(path);
    const raw = JSON.parse(bytes.toString()) as { workflow: { specification: { tasks: { id: string; parents: string[] }[] } } };
    const plan = compilePlan(readExperiment(bytes, { simulateWork: 0.001 }));
    const firsts = firstNumbers(plan);
    const ids = plan.sets.flatMap(({ axes }) => (axes[0]?.kind === "list" ? axes[0].texts : []));
    const edges = plan.sets.flatMap(({ count }, set) =>
      Array.from({ length: count }, (_, task) => {
        const of = edgesOf(plan)?.parentsOf(set, task) ?? [];
        return [ids[(firsts[set] as number) + task], of.map((p) => ids[(firsts[p.set] as number) + p.task]).sort()];
      }),
    );
    const wanted = raw.workflow.specification.tasks.map(({ id, parents }) => [id, [...parents].sort()]);
    expect(Object.fromEntries(edges)).toEqual(Object.fromEntries(wanted));
  });
});
