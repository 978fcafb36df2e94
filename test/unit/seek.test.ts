import fc from "fast-check";
import { expect, test } from "vitest";
import { seekIn } from "#core/experiment-orchestrator/seek.ts";
import { axisSize, taskBindings } from "#domain/expansion.ts";
import type { Axis, PlanSet } from "#domain/plan.ts";
import { planOf, planSet } from "../simulation/plan.ts";

const axis = (name: string): fc.Arbitrary<Axis> =>
  fc.oneof(
    fc.record({
      ...{ name: fc.constant(name), kind: fc.constant("range" as const) },
      ...{ start: fc.integer({ min: -5, max: 5 }), step: fc.constantFrom(1, 2, -1, 0.5), size: fc.integer({ min: 1, max: 5 }) },
      decimals: fc.constant(1),
    }),
    fc.record({
      ...{ name: fc.constant(name), kind: fc.constant("list" as const), storage: fc.constant(false) },
      texts: fc.array(fc.constantFrom("1.0", "x", "y"), { minLength: 1, maxLength: 4 }),
    }),
  );

const aSet: fc.Arbitrary<PlanSet> = fc
  .record({ a: axis("A"), b: axis("B"), zip: fc.boolean(), parents: fc.integer({ min: 1, max: 3 }) })
  .map(({ a, b, zip, parents }) => {
    const factor = zip ? Math.min(axisSize(a), axisSize(b)) : axisSize(a) * axisSize(b);
    const constants = [{ name: "C", text: "c", storage: false }];
    return planSet("s", factor * parents, { axes: [a, b], factor, constants, combine: zip ? "zip" : "product" });
  });

test("seeking gives exactly the tasks whose parameters have the wanted values", () => {
  const wanted = fc.dictionary(fc.constantFrom("A", "B", "C", "D"), fc.constantFrom("1.0", "2.0", "-1.0", "0.5", "x", "y", "c"), {
    maxKeys: 3,
  });
  fc.assert(
    fc.property(aSet, wanted, (set, values) => {
      const plan = planOf([set]);
      const expected = Array.from({ length: set.count }, (_, i) => i).filter((i) => {
        const texts = new Map(taskBindings(plan, 0, i).texts.map((t) => [t.name, t.value]));
        return Object.entries(values).every(([name, text]) => texts.get(name) === text);
      });
      const seek = seekIn(set, new Map(Object.entries(values)));
      const found: number[] = [];
      for (let n = seek(0); n !== undefined; n = seek(n + 1)) found.push(n);
      expect(found).toEqual(expected);
    }),
    { numRuns: 2_000 },
  );
});
