/** WorkflowSpec -> Plan: sets, edges, files and work of every task. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readExperiment } from "#api/experiment-source.ts";
import { summarizePlan } from "#api/schema/plan-summary.ts";
import { compilePlan } from "#core/experiment-orchestrator/compile.ts";
import { edgesOf, firstNumbers } from "#domain/edges.ts";
import { taskBindings } from "#domain/expansion.ts";
import type { Plan } from "#domain/plan.ts";
import { decodePlan, encodePlan } from "#domain/plan-encoding.ts";
import { ARGUMENT_END, taskFiles } from "#domain/workflow-files.ts";
import { refusalOf, saidOf } from "../support/experiment-file.ts";
import { bytesOf, graphInstance, instanceOf, planOfInstance } from "../support/workflow.ts";

/** Every task with its id, ids of its parents, and files, as the plan has them. */
function read(plan: Plan) {
  const idOf = (set: number, task: number) => taskBindings(plan, set, task).texts[0]?.value ?? "";
  return plan.sets.flatMap(({ count, name }, set) =>
    Array.from({ length: count }, (_, task) => {
      const parents = (edgesOf(plan)?.parentsOf(set, task) ?? []).map((p) => idOf(p.set, p.task)).sort();
      const files = taskFiles(plan, set, task);
      const inputs = files?.inputs.map(({ path, from }) => [path, from === undefined ? "" : idOf(from.set, from.task)].join("<")).sort();
      return { id: idOf(set, task), set: name, parents, inputs, outputs: files?.outputs, work: files?.work ?? "" };
    }),
  );
}

/** Parents of task i among the earlier ones. */
const graphs = fc
  .array(fc.array(fc.nat(60), { maxLength: 5 }), { minLength: 1, maxLength: 60 })
  .map((rows) => rows.map((row, i) => [...new Set(i === 0 ? [] : row.map((n) => n % i))]));

describe("a workflow's plan", () => {
  test("keeps every edge, file and name, and only those", () => {
    fc.assert(
      fc.property(graphs, fc.integer({ min: 1, max: 100 }), (parents, programs) => {
        const instance = graphInstance(parents, programs);
        const plan = decodePlan(encodePlan(planOfInstance(instance)));
        const idOf = (i: number) => `t/${(i * 7919) % 10_007}#${i}`;
        const wanted = parents.map((of, i) => ({
          id: idOf(i),
          parents: of.map(idOf).sort(),
          inputs: [`start-${i}<`, ...of.map((p) => `made/by ${p}<${idOf(p)}`)].sort(),
          outputs: [`made/by ${i}`],
        }));
        const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1);
        const found = read(plan).map(({ set: _, work: __, ...task }) => task);
        expect(found.sort(byId)).toEqual(wanted.sort(byId));
        expect(plan.sets.length).toBeLessThanOrEqual(64);
        expect(plan.sets.reduce((sum, set) => sum + set.count, 0)).toBe(parents.length);
      }),
    );
  });

  test("has the tasks of each set in an order in which none waits for a later one, however indirectly", () => {
    fc.assert(
      fc.property(graphs, (parents) => {
        const plan = planOfInstance(graphInstance(parents));
        const firsts = firstNumbers(plan);
        const places = plan.sets.flatMap(({ count }, set) => Array.from({ length: count }, (_, task) => ({ set, task })));
        const ancestors = new Map<number, ReadonlySet<number>>();
        const above = (number: number): ReadonlySet<number> => {
          const known = ancestors.get(number);
          if (known !== undefined) return known;
          const { set, task } = places[number] as (typeof places)[number];
          const of = (edgesOf(plan)?.parentsOf(set, task) ?? []).map((p) => (firsts[p.set] as number) + p.task);
          const all = new Set(of.flatMap((p) => [p, ...above(p)]));
          ancestors.set(number, all);
          return all;
        };
        for (const [number, { set, task }] of places.entries())
          for (const ancestor of above(number)) {
            const other = places[ancestor] as (typeof places)[number];
            if (other.set === set) expect(other.task).toBeLessThan(task);
          }
      }),
    );
  });

  test("groups tasks by category, else by program, else by name, in at most 64 sets", () => {
    const names = (tasks: Parameters<typeof instanceOf>[0]) =>
      planOfInstance(instanceOf(tasks)).sets.map(({ name, count }) => `${name}:${count}`);
    expect(
      names([
        { id: "1", program: "/opt/b" },
        { id: "2", program: "a" },
        { id: "3", program: "b" },
      ]),
    ).toEqual(["b:2", "a:1"]);
    expect(
      names([
        { id: "1", name: "x_ID0001" },
        { id: "2", name: "x_ID0002" },
        { id: "3", name: "y (s 7)" },
      ]),
    ).toEqual(["x:2", "y:1"]);
    expect(
      names([
        { id: "1", name: "a b", program: "" },
        { id: "2", name: "a_b", program: "" },
      ]),
    ).toEqual(["a_b:1", "a_b-2:1"]);
    const many = names(Array.from({ length: 100 }, (_, i) => ({ id: `${i}`, name: `n${"x".repeat(i)}-${i}` })));
    expect(many.length).toBe(64);
    expect(many.filter((name) => name.startsWith("others"))).toEqual(["others:37"]);
  });

  test("says what a command is with its arguments, whatever they hold", () => {
    const argument = "$(touch /tmp/x) `id` 'a\" *\n;";
    const plan = planOfInstance(instanceOf([{ id: "a", program: "tool", arguments: ["", argument, ""] }]), {});
    expect(read(plan)[0]?.work).toBe(["tool", "", argument, ""].map((word) => word + ARGUMENT_END).join(""));
    expect(Object.values(plan.scripts).join()).not.toContain("touch");
  });

  test("refuses to run what has no command, shell text for a program, or inputs from nowhere", () => {
    const said = (task: object, options = {}) => saidOf(() => planOfInstance(instanceOf([{ id: "a", ...task }]), options))[0];
    expect(said({})).toContain("has no command");
    expect(said({ program: "a\nb" })).toContain("shell text");
    expect(said({ program: "a", arguments: ["\u001f"] })).toContain("no argument can");
    expect(said({ program: "a", inputFiles: ["x"] })).toContain('file "x" is made by no task');
    expect(said({ program: "a", inputFiles: ["x"] }, { workflowInputs: "nowhere" })).toContain("is not storage-resource:/folder");
    expect(said({ program: "a", inputFiles: ["x"] }, { workflowInputs: "s:/../x" })).toContain("climbs");
    expect(said({ inputFiles: ["x"] }, { workflowInputs: "s:/x", simulateWork: 1 })).toContain("makes its own inputs");
    const plan = planOfInstance(instanceOf([{ id: "a", program: "a", inputFiles: ["/data/x"] }]), { workflowInputs: "store:/in" });
    expect(plan.files).toMatchObject({ paths: ["data/x"], from: { storage: "store", path: "/in/" } });
  });

  test("scales runtimes and sizes of simulated work", () => {
    const tasks = [
      { id: "a", outputFiles: ["x"], runtimeInSeconds: 12 },
      { id: "b", inputFiles: ["x", "start"], runtimeInSeconds: 0.5 },
    ];
    const work = read(planOfInstance(instanceOf(tasks, 1500), { simulateWork: 0.001 })).map((task) => task.work.trimEnd().split("\n"));
    expect(work).toEqual([
      ["sleep 0.012 -", "out 2 x"],
      ["sleep 0.001 -", "in 2 x", "make 2 start"],
    ]);
  });

  test("refuses a factor that makes no sense or would cost too much, and says which would do", () => {
    const of = (simulateWork: number, bytes = 1e9) =>
      refusalOf(() => planOfInstance(instanceOf([{ id: "a", outputFiles: ["x"], runtimeInSeconds: 1e5 }], bytes), { simulateWork }));
    expect(of(-1).message).toContain("a number from 0 to 1000");
    expect(of(Number.NaN).message).toContain("a number from 0 to 1000");
    expect(of(1001).message).toContain("a number from 0 to 1000");
    expect(of(100)).toMatchObject({ kind: "too-large" });
    expect(
      of(1, 1e14)
        .complaints.map((c) => c.message)
        .join(),
    ).toMatch(/factor of 0\.01 or less/);
    const plan = planOfInstance(instanceOf([{ id: "a", outputFiles: ["x"] }]), { simulateWork: 0 });
    expect(read(plan)[0]?.work).toBe("sleep 0 -\nout 0 x\n");
  });

  test("takes cores, memory and time from what was recorded, unless told otherwise", () => {
    const instance = instanceOf([{ id: "a", program: "p", runtimeInSeconds: 7200 }]) as { workflow: { execution: { tasks: object[] } } };
    Object.assign(instance.workflow.execution.tasks[0] as object, { coreCount: 3, memoryInBytes: 2 * 1024 ** 3 });
    expect(planOfInstance(instance, {}).sets[0]?.resources).toMatchObject({
      capacity: { cpuMilli: 3000, memoryMib: 3072 },
      timeLimitMs: 14_400_000,
    });
    const set = { "compute.cpu": "0.5", "compute.time": "0:10:00", "resources.conda": "[]" };
    expect(planOfInstance(instance, { set }).sets[0]?.resources).toMatchObject({ capacity: { cpuMilli: 500 }, timeLimitMs: 600_000 });
    expect(planOfInstance(instance).sets[0]?.resources).toMatchObject({ capacity: { cpuMilli: 1000, memoryMib: 64 } });
    expect(saidOf(() => planOfInstance(instance, { set: { "compute.cpu": "-1" } }))[0]).toContain("compute.cpu");
  });

  test("is summarized with its dependencies and files", () => {
    const plan = planOfInstance(graphInstance([[], [0], [0, 1]], 1));
    expect(summarizePlan(plan).sets).toMatchObject([{ tasks: 3, dependencies: 3, outputFiles: 3 }]);
  });

  test("of 10,000 tasks with 40,000 edges is made in well under a second", () => {
    const parents = Array.from({ length: 10_000 }, (_, i) => [...new Set([1, 7, 31, 127].map((back) => i - back).filter((p) => p >= 0))]);
    const spec = readExperiment(bytesOf(graphInstance(parents)), { simulateWork: 0.01 });
    const times = Array.from({ length: 5 }, () => {
      const before = process.cpuUsage();
      expect(compilePlan(spec).sets.length).toBe(3);
      return process.cpuUsage(before).user / 1000;
    });
    // Some 100 ms of processor time, which a busy machine does not change.
    expect(Math.min(...times)).toBeLessThan(1_000);
  });
});
