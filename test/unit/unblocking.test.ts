/** When results of an open lease are worth a fold of their own. */
import { describe, expect, test } from "vitest";
import type { ExperimentId } from "#domain/id.ts";
import { SEGMENT_TASKS, setOf } from "#domain/index-set.ts";
import { encodeLists } from "#domain/lists.ts";
import { planOf, planSet } from "../simulation/plan.ts";
import { mayUnblock } from "../../worker/gateway/unblocking.ts";

const at = (set: number, segment = 0) => ({ experiment: "exp_1" as ExperimentId, set, segment });

describe("results of an open lease can make others ready", () => {
  test("at once where a task waits for its own parent alone, and nowhere else", () => {
    const plan = planOf([planSet("a", 4, {}), planSet("b", 4, { foreach: [0] }), planSet("c", 1, {})]);
    expect(mayUnblock(plan, at(0), setOf([0]), setOf([1]))).toBe(true);
    expect(mayUnblock(plan, at(1), setOf([0]), setOf([1]))).toBe(false);
    expect(mayUnblock(plan, at(2), setOf([0]), setOf([]))).toBe(false);
  });

  test("before a barrier only with the last of the lease", () => {
    const plan = planOf([planSet("a", 4, {}), planSet("b", 1, { after: [0] })]);
    expect(mayUnblock(plan, at(0), setOf([0]), setOf([1]))).toBe(false);
    expect(mayUnblock(plan, at(0), setOf([0]), setOf([]))).toBe(true);
  });

  test("along an edge unless the child waits for something else that the lease still has to do", () => {
    // Task 0 of b waits for 0 and 1 of a, task 1 for 2 of a, task 2 for the first of a's second segment.
    const edges = encodeLists([[0, 1], [2], [SEGMENT_TASKS]]);
    const plan = planOf([planSet("a", SEGMENT_TASKS + 1, {}), planSet("b", 3, { edges })]);
    expect(mayUnblock(plan, at(0), setOf([0]), setOf([1, 2]))).toBe(false);
    expect(mayUnblock(plan, at(0), setOf([0]), setOf([2]))).toBe(true);
    expect(mayUnblock(plan, at(0), setOf([2]), setOf([0, 1]))).toBe(true);
    expect(mayUnblock(plan, at(0), setOf([3]), setOf([0]))).toBe(false);
    expect(mayUnblock(plan, at(0, 1), setOf([0]), setOf([]))).toBe(true);
  });
});
