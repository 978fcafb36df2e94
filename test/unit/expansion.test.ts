/** Parameters of task i. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parentIndex, taskBindings } from "#domain/expansion.ts";
import type { Plan, PlanSet } from "#domain/plan.ts";
import { compileText, fileOf, oneSet, outputOf } from "../support/experiment-file.ts";

const listAxis = (values: readonly string[][]): Record<string, string[]> => Object.fromEntries(values.map((list, i) => [`V${i}`, list]));

const lists = fc.array(
  fc.uniqueArray(fc.string({ unit: fc.constantFrom("a", "b", "c", "7"), maxLength: 3 }), { minLength: 1, maxLength: 4 }),
  { minLength: 1, maxLength: 5 },
);

/** All combinations in the order of nested loops, the first axis outermost. */
const product = (values: readonly string[][]): string[][] =>
  values.reduce<string[][]>((rows, list) => rows.flatMap((row) => list.map((v) => [...row, v])), [[]]);

const rowsOf = (plan: Plan, ordinal: number): string[][] =>
  Array.from({ length: plan.sets[ordinal]?.count ?? 0 }, (_, i) => taskBindings(plan, ordinal, i).texts.map((text) => text.value));

describe("expansion", () => {
  test("gives every combination once, in the order of nested loops", () => {
    fc.assert(
      fc.property(lists, (values) => {
        expect(rowsOf(compileText(oneSet({ task_inputs: listAxis(values) })), 0)).toEqual(product(values));
      }),
    );
  });

  test("of zip gives value j of every axis to task j", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 5 }), (length, axes) => {
        const values = Array.from({ length: axes }, (_, a) => Array.from({ length }, (_, j) => `${a}-${j}`));
        const rows = rowsOf(compileText(oneSet({ combine: "zip", task_inputs: listAxis(values) })), 0);
        expect(rows).toEqual(Array.from({ length }, (_, j) => values.map((list) => list[j])));
      }),
    );
  });

  test("of a foreach child goes through its own axes for each task of the parent", () => {
    fc.assert(
      fc.property(lists, lists, (outer, own) => {
        const tasks = {
          p: { script: "RUN", task_inputs: listAxis(outer), task_outputs: { OUT: "o" } },
          c: { script: "RUN", foreach: ["p"], task_inputs: { IN: outputOf("p", "OUT"), ...listAxis(own) } },
        };
        const plan = compileText(fileOf({ tasks }));
        const ownRows = product(own);
        const child = plan.sets[1] as PlanSet;
        expect(child.count).toBe(product(outer).length * ownRows.length);
        for (let i = 0; i < child.count; i++) {
          const { texts, references } = taskBindings(plan, 1, i);
          expect(texts.map((text) => text.value)).toEqual(ownRows[i % ownRows.length]);
          expect(references).toEqual([{ kind: "one", name: "IN", set: 0, output: "OUT", index: parentIndex(child, i) }]);
        }
        expect(parentIndex(child, child.count - 1)).toBe((plan.sets[0] as PlanSet).count - 1);
      }),
      { numRuns: 30 },
    );
  });

  test("of the last of ten million tasks costs what the first does", () => {
    const plan = compileText(oneSet({ task_inputs: { X: "0..9999", Y: "0..0.999..0.001" } }));
    expect(taskBindings(plan, 0, 9_999_999).texts.map((t) => t.value)).toEqual(["9999", "0.999"]);
    expect(taskBindings(plan, 0, 1_234_567).texts.map((t) => t.value)).toEqual(["1234", "0.567"]);
  });

  test("outside of the set is our own mistake", () => {
    const plan = compileText(oneSet({ task_inputs: { X: "1..3" } }));
    for (const i of [-1, 3, 0.5]) expect(() => taskBindings(plan, 0, i)).toThrow("assertion failed");
    expect(() => taskBindings(plan, 1, 0)).toThrow("assertion failed");
  });

  test("of storage lists gives files to stage", () => {
    const plan = compileText(oneSet({ task_inputs: { F: ["d:/a.csv", "d:/b:c.csv"] } }));
    expect(plan.sets[0]?.axes[0]).toMatchObject({ kind: "list", storage: true });
    expect(taskBindings(plan, 0, 1)).toEqual({ texts: [], inputs: [{ name: "F", storage: "d", path: "/b:c.csv" }], references: [] });
  });
});
