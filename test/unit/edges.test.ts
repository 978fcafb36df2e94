import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { edgesOf, firstNumbers, placeOf } from "#domain/edges.ts";
import { emptySet, members, SEGMENT_TASKS, setOf } from "#domain/index-set.ts";
import { decodeLists, encodeLists, listAt } from "#domain/lists.ts";
import { newSegment } from "#core/task-scheduler/fold.ts";
import { childPlaces, parentPlaces, readiness } from "#core/task-scheduler/eligibility.ts";
import { planOf, planSet, submission } from "../simulation/plan.ts";
import type { ExperimentId, UserId } from "#domain/id.ts";

const experiment = "exp_1" as ExperimentId;

function recordsOf(plan: ReturnType<typeof planOf>) {
  return submission(plan, { id: experiment, owner: "usr_1" as UserId, nowMs: 0 }).records;
}

describe("lists", () => {
  test("come back as they were, each ascending", () => {
    const list = fc.uniqueArray(fc.nat(2 ** 31), { maxLength: 20 });
    fc.assert(
      fc.property(fc.array(list, { maxLength: 30 }), (lists) => {
        const read = decodeLists(encodeLists(lists), lists.length);
        expect(lists.map((_, i) => [...listAt(read, i)])).toEqual(lists.map((l) => [...l].sort((a, b) => a - b)));
      }),
    );
  });

  test("that end too soon are refused", () => {
    const text = encodeLists([[1, 2, 300], [4]]);
    expect(() => decodeLists(text, 3)).toThrow(RangeError);
    expect(() => decodeLists(Buffer.from([5, 1]).toString("base64"), 1)).toThrow(RangeError);
  });
});

describe("explicit edges", () => {
  // Set 0 has two segments; task 1 of set 1 waits for the last task of set 0 and for task 0 of its own set.
  const big = SEGMENT_TASKS + 2;
  const plan = planOf([planSet("a", big, {}), planSet("b", 3, { edges: encodeLists([[0], [big - 1, big], [big + 1]]) })]);

  test("tell which segments look at which", () => {
    expect(firstNumbers(plan)).toEqual([0, big]);
    expect(placeOf([0, big], big - 1)).toEqual({ set: 0, task: big - 1 });
    expect(placeOf([0, big], big)).toEqual({ set: 1, task: 0 });
    expect(parentPlaces(plan, { set: 1, segment: 0 })).toEqual([
      { set: 0, segment: 0 },
      { set: 0, segment: 1 },
      { set: 1, segment: 0 },
    ]);
    expect(parentPlaces(plan, { set: 0, segment: 0 })).toEqual([]);
    expect(childPlaces(plan, { set: 0, segment: 1 })).toEqual([{ set: 1, segment: 0 }]);
    expect(edgesOf(plan)?.parentsOf(1, 1)).toEqual([
      { set: 0, task: big - 1 },
      { set: 1, task: 0 },
    ]);
    expect(edgesOf(planOf([planSet("a", 1, {})]))).toBeUndefined();
  });

  function look(done: readonly number[], failed: readonly number[]) {
    const edges = edgesOf(plan)?.into({ set: 1, segment: 0 });
    const of = (set: number, segment: number, d: readonly number[], f: readonly number[]) => [
      segment,
      { ...newSegment({ experiment, set, segment }, 0), done: setOf(d), failed: setOf(f) },
    ];
    const inSecond = (list: readonly number[]) => list.filter((i) => i >= SEGMENT_TASKS && i < big).map((i) => i - SEGMENT_TASKS);
    const inFirst = (list: readonly number[]) => list.filter((i) => i < SEGMENT_TASKS);
    const own = (list: readonly number[]) => list.filter((i) => i >= big).map((i) => i - big);
    const segments = new Map([
      [0, new Map([of(0, 0, inFirst(done), inFirst(failed)), of(0, 1, inSecond(done), inSecond(failed))] as never)],
      [1, new Map([of(1, 0, own(done), own(failed))] as never)],
    ]) as never;
    const { ready, doomed } = readiness(plan.sets[1] as never, 0, { sets: recordsOf(plan), segments, edges: edges as never });
    return { ready: members(ready), doomed: members(doomed) };
  }

  test("make a task ready when every parent is done, in whatever set or segment", () => {
    expect(look([], [])).toEqual({ ready: [], doomed: [] });
    expect(look([0], [])).toEqual({ ready: [0], doomed: [] });
    expect(look([0, big], [])).toEqual({ ready: [0], doomed: [] });
    expect(look([0, big, big - 1], [])).toEqual({ ready: [0, 1], doomed: [] });
  });

  test("doom all that waits for a failed task, however indirectly", () => {
    expect(look([], [0])).toEqual({ ready: [], doomed: [0, 1, 2] });
    expect(look([0, big], [big - 1])).toEqual({ ready: [0], doomed: [1, 2] });
  });

  test("of 4,096 tasks with 100,000 edges are looked along in milliseconds", () => {
    const tasks = SEGMENT_TASKS;
    const lists = Array.from({ length: tasks }, (_, i) => Array.from({ length: 25 }, (_, k) => (i * 31 + k * 97) % tasks));
    const dense = planOf([planSet("a", tasks, {}), planSet("b", tasks, { edges: encodeLists(lists) })]);
    const edges = edgesOf(dense)?.into({ set: 1, segment: 0 });
    const segment = { ...newSegment({ experiment, set: 0, segment: 0 }, 0), done: setOf(Array.from({ length: tasks }, (_, i) => i)) };
    const parents = { sets: recordsOf(dense), segments: new Map([[0, new Map([[0, segment]])]]), edges: edges as never };
    const times = Array.from({ length: 9 }, () => {
      const startMs = performance.now();
      expect(readiness(dense.sets[1] as never, 0, parents).doomed).toEqual(emptySet());
      return performance.now() - startMs;
    });
    // Some 2 ms; the bound leaves room for a busy machine.
    expect(Math.min(...times)).toBeLessThan(50);
  });
});
