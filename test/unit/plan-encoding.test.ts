/** Canonical bytes of a plan. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SchedulerError } from "#domain/error.ts";
import { decodePlan, encodePlan } from "#domain/plan-encoding.ts";
import { compileText, fileOf, refusalOf } from "../support/experiment-file.ts";

const bytesOf = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

const plans = fc
  .record({
    name: fc.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 20 }).filter((s) => s.trim() !== ""),
    labels: fc.dictionary(
      fc.stringMatching(/^[a-z]{1,8}$/),
      fc.string({ unit: fc.constantFrom("ä", "b", " ", "\u{1F600}"), maxLength: 5 }),
      { maxKeys: 5 },
    ),
    values: fc.array(fc.string({ unit: "grapheme", maxLength: 8 }), { minLength: 1, maxLength: 5 }),
  })
  .map(({ name, labels, values }) =>
    compileText(
      fileOf({ name, labels, parameters: { V: { type: "string" } }, tasks: { a: { script: "RUN", task_inputs: { V: values } } } }),
    ),
  );

describe("encoding of plans", () => {
  test("gives back what went in, and the same bytes again", () => {
    fc.assert(
      fc.property(plans, (plan) => {
        const bytes = encodePlan(plan);
        expect(decodePlan(bytes)).toEqual(plan);
        expect(encodePlan(decodePlan(bytes))).toEqual(bytes);
      }),
    );
  });

  test("does not depend on the order of keys", () => {
    const { name, ...rest } = compileText(fileOf({ tasks: { a: { script: "RUN" } } }));
    expect(encodePlan({ ...rest, name })).toEqual(encodePlan({ name, ...rest }));
  });

  test("refuses what another release wrote, and what is no plan", () => {
    expect(refusalOf(() => decodePlan(bytesOf({ formatVersion: 99, sets: [] }))).kind).toBe("version-mismatch");
    for (const value of [null, [], "x", {}, { formatVersion: 1 }, { formatVersion: "1", sets: [] }]) {
      expect(refusalOf(() => decodePlan(bytesOf(value))).kind).toBe("integrity");
    }
    expect(refusalOf(() => decodePlan(new Uint8Array([0xff]))).kind).toBe("integrity");
  });

  test("never throws anything but a SchedulerError on arbitrary bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 50 }), (bytes) => {
        expect(() => decodePlan(bytes)).toThrow(SchedulerError);
      }),
    );
  });
});
