/** What every CostStore must do. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { CostStore } from "#ports/cost-store.ts";
import { experimentId } from "../support/state.ts";
import type { Subject } from "../support/subject.ts";

const payer = experimentId(1);

export function describeCostStore(name: string, make: () => Promise<Subject<CostStore>>): void {
  describe(`CostStore: ${name}`, () => {
    let made: Subject<CostStore>;
    let costs: CostStore;
    beforeEach(async () => {
      made = await make();
      costs = made.subject;
    });
    afterEach(() => made[Symbol.asyncDispose]());

    it("sums what all writers say of a payer, and of no other", async () => {
      expect(await costs.read(payer)).toEqual({});
      const all = { "write-units": 1, "read-units": 2_500_000, "function-gb-seconds": 9_007_199_254_740_991 };
      expect(await costs.save({ payer, writer: "a", sequence: 1, usage: all })).toBe("saved");
      expect(await costs.save({ payer, writer: "b", sequence: 1, usage: { "write-units": 5, "object-puts": 7 } })).toBe("saved");
      expect(await costs.save({ payer: "deployment", writer: "a", sequence: 1, usage: { "write-units": 100 } })).toBe("saved");
      expect(await costs.read(payer)).toEqual({ ...all, "write-units": 6, "object-puts": 7 });
      expect(await costs.read("deployment")).toEqual({ "write-units": 100 });
      expect(await costs.read(experimentId(2))).toEqual({});
    });

    it("counts an entry once, however often and late it is written", async () => {
      const first = { payer, writer: "a", sequence: 1, usage: { "write-units": 10 } };
      const second = { payer, writer: "a", sequence: 2, usage: { "write-units": 30 } };
      expect(await costs.save(second)).toBe("saved");
      expect(await costs.save(second)).toBe("superseded");
      expect(await costs.save(first)).toBe("superseded");
      expect(await costs.read(payer)).toEqual({ "write-units": 30 });
    });
  });
}
