/** Pace: bounded whatever happens, nothing lost, and the same however it is added up. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  addPace,
  type Attempted,
  decodePace,
  encodePace,
  NO_PACE,
  PACE_BUCKETS,
  type Pace,
  paceOf,
  totalPace,
  widthOf,
} from "#domain/pace.ts";

const START_MS = 1_700_000_000_000;
const YEAR_MS = 365 * 86_400_000;

const anyAttempt = fc.tuple(fc.nat(YEAR_MS), fc.nat(3_600_000), fc.nat(3_600_000), fc.boolean()).map(([at, staging, running, isDone]) => {
  const startedMs = START_MS + at;
  const span = { startedMs, beganMs: startedMs + staging, endedMs: startedMs + staging + running };
  return { ...span, outcome: isDone ? ("done" as const) : ("failed" as const) };
});
/** One by one. */
const all = (attempts: readonly Attempted[]): Pace => attempts.map((a) => paceOf([a])).reduce(addPace, NO_PACE);
const endOf = (pace: Pace): number => (pace.first + pace.counts.length) * widthOf(pace);

describe("pace", () => {
  test("keeps every event in few stretches, none outside of its time", () => {
    fc.assert(
      fc.property(fc.array(anyAttempt, { minLength: 1, maxLength: 60 }), (paces) => {
        const pace = all(paces);
        expect(pace.counts.length).toBeLessThanOrEqual(PACE_BUCKETS);
        const [started, began, done, failed] = totalPace(pace);
        expect([started, began, done + failed]).toEqual([paces.length, paces.length, paces.length]);
        expect(pace.first * widthOf(pace)).toBeLessThanOrEqual(Math.min(...paces.map((p) => p.startedMs)));
        expect(endOf(pace)).toBeGreaterThan(Math.max(...paces.map((p) => p.endedMs)));
      }),
    );
  });

  test("is the same in whatever order it is added up, cut equally finely", () => {
    fc.assert(
      fc.property(fc.array(anyAttempt, { maxLength: 40 }), fc.nat(40), (paces, at) => {
        const parts = addPace(all(paces.slice(at)), all(paces.slice(0, at)));
        expect(parts).toEqual(all(paces));
        expect(paceOf(paces)).toEqual(parts);
      }),
    );
  });

  test("survives its stored form", () => {
    fc.assert(
      fc.property(fc.array(anyAttempt, { maxLength: 40 }), (paces) => {
        expect(decodePace(encodePace(all(paces)))).toEqual(all(paces));
      }),
    );
    expect(encodePace(NO_PACE)).toHaveLength(0);
  });

  test("of 4,096 tasks takes less than half a kilobyte", () => {
    const spans = Array.from({ length: 4_096 }, (_, i) => ({
      startedMs: START_MS + i * 37,
      beganMs: START_MS + i * 37 + 20,
      endedMs: START_MS + i * 37 + 400,
    }));
    expect(encodePace(paceOf(spans.map((s) => ({ ...s, outcome: "done" as const })))).length).toBeLessThan(512);
  });
});
