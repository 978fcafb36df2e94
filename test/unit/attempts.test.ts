/** Attempts without an outcome are remembered with the reason why the worker does not have the task any more. */
import { expect, test } from "vitest";
import { foldLease } from "#core/task-scheduler/fold.ts";
import { leaseFrom, leaseItem } from "#adapters/dynamodb/codec.ts";
import { emptySet, members, rangeSet, setOf } from "#domain/index-set.ts";
import { planSet } from "../simulation/plan.ts";
import { anAssign, anUnbornSegment, aWorker, NOW_MS } from "../support/state.ts";

const facts = { planSet: planSet("s", 10, {}), nowMs: NOW_MS };

function leased() {
  const segment = anUnbornSegment();
  const assign = anAssign({ segment, born: true }, [{ worker: aWorker().key, hold: rangeSet(0, 6) }]);
  const [lease] = assign.leases;
  if (lease === undefined) throw new Error("one lease");
  return { segment: assign.segment.post, lease: { ...lease, done: setOf([0]) } };
}

test("what was recalled and what was lost later are told apart", () => {
  const first = leased();
  const recalled = foldLease(first.segment, first.lease, { tasks: setOf([4, 5]), cause: "given-back" }, facts);
  const lost = foldLease(recalled.segment, recalled.lease, { tasks: rangeSet(0, 6), cause: "worker-lost" }, facts);
  expect(lost.lease.state).toBe("CLOSED");
  expect([...(lost.lease.back ?? [])].map(([cause, tasks]) => [cause, members(tasks)])).toEqual([
    ["given-back", [4, 5]],
    ["worker-lost", [1, 2, 3]],
  ]);
  expect(leaseFrom(leaseItem(lost.lease))).toEqual(lost.lease);
});

test("a lease whose tasks all have an outcome remembers nothing, and its item is no larger", () => {
  const { segment, lease } = leased();
  const done = foldLease(segment, { ...lease, done: rangeSet(0, 6) }, { tasks: emptySet(), cause: "given-back" }, facts);
  expect(done.lease.state).toBe("CLOSED");
  expect(leaseItem(done.lease)).not.toHaveProperty("back");
});
