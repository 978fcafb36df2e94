/** How many tasks a lease gets. */
import { expect, test } from "vitest";
import { leaseSize } from "#core/task-scheduler/placement.ts";

const facts = { width: 1, totalWidth: 128, remaining: 10_000, taskMs: 100, leftMs: Number.POSITIVE_INFINITY };

test("is a share of what remains, of four seconds of work at most", () => {
  expect(leaseSize({ ...facts, remaining: 2_560 })).toBe(10);
  expect(leaseSize({ ...facts, remaining: 1_000_000 })).toBe(40);
});

test("is not below half a second of work near the end, nor above what remains", () => {
  expect(leaseSize({ ...facts, remaining: 100 })).toBe(5);
  expect(leaseSize({ ...facts, remaining: 3 })).toBe(3);
  expect(leaseSize({ ...facts, taskMs: 10_000, remaining: 100 })).toBe(1);
});

test("is small while no task was measured, and fits into the walltime that is left", () => {
  expect(leaseSize({ ...facts, taskMs: undefined })).toBe(2);
  expect(leaseSize({ ...facts, remaining: 1_000_000, leftMs: 700 })).toBe(7);
});
