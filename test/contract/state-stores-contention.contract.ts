/** Sixteen that assign from the same segments at once: no task is given twice, every task is given (T1, W2). */
import { expect, it } from "vitest";
import { emptySet, firstOf, intersect, isEmptySet, members, sizeOf, union } from "#domain/index-set.ts";
import { pendingOf, segmentsFor } from "#domain/segment.ts";
import type { StateSubject } from "../support/dynamo-state.ts";
import { anAssign, anExperiment, anUnbornSegment, aSegmentKey, aSet, aWorker, workerId } from "../support/state.ts";

const ASSIGNERS = 16;
const TASKS = 10_000;
const LEASE_TASKS_MAX = 64;
const TIMEOUT_MS = 120_000;
/** A worker's leases, small enough that the cap of 64 leases is met before its capacity is. */
const RESERVED = { cpuMilli: 1, memoryMib: 1, gpu: 0 };

interface Tally {
  leases: number;
  refused: Record<string, number>;
}

const numbered = (n: number) => ({ id: workerId(n), incarnation: 1 });

/** Takes 1..64 tasks after another from whichever segment has some, until none is left. */
async function assigner({ tasks }: StateSubject, n: number, tally: Tally): Promise<void> {
  const segments = segmentsFor(TASKS);
  for (let turn = 0, empty = 0; empty < segments; turn++) {
    const key = aSegmentKey((n + turn) % segments);
    const stored = await tasks.readSegment(key);
    const segment = stored ?? anUnbornSegment(key);
    const pending = pendingOf(segment, TASKS);
    if (isEmptySet(pending)) {
      empty++;
      continue;
    }
    empty = 0;
    const hold = firstOf(pending, 1 + ((n * 7 + turn * 13) % LEASE_TASKS_MAX));
    const change = anAssign({ segment, born: stored !== undefined, setCount: TASKS }, [{ worker: numbered(n), hold, reserved: RESERVED }]);
    const outcome = await tasks.assign(change);
    if (outcome.kind === "done") tally.leases++;
    else
      tally.refused[outcome.kind === "refused" ? outcome.by : outcome.kind] =
        (tally.refused[outcome.kind === "refused" ? outcome.by : outcome.kind] ?? 0) + 1;
  }
}

export function describeContention(name: string, make: () => Promise<StateSubject>): void {
  it(`gives each of ${TASKS} tasks to one of ${ASSIGNERS} assigners: ${name}`, { timeout: TIMEOUT_MS }, async () => {
    await using subject = await make();
    await subject.tasks.createExperiment(anExperiment(), [aSet({ count: TASKS })]);
    for (let n = 0; n < ASSIGNERS; n++) await subject.workers.register({ worker: aWorker({ key: numbered(n) }), expectHead: 0 });
    const tally: Tally = { leases: 0, refused: {} };
    const startedMs = performance.now();
    await Promise.all(Array.from({ length: ASSIGNERS }, (_, n) => assigner(subject, n, tally)));
    const seconds = (performance.now() - startedMs) / 1000;

    const { segments, leases, workers } = await subject.snapshot();
    expect(leases).toHaveLength(tally.leases);
    for (const segment of segments) {
      let given = emptySet();
      for (const l of leases.filter((l) => l.key.segment === segment.key.segment)) {
        expect(members(intersect(given, l.hold))).toEqual([]);
        given = union(given, l.hold);
      }
      expect(members(given)).toEqual(members(segment.leased));
      expect(segment.epoch).toBe(leases.filter((l) => l.key.segment === segment.key.segment).length);
    }
    expect(segments.reduce((sum, s) => sum + sizeOf(s.leased), 0)).toBe(TASKS);
    for (const w of workers) {
      const own = leases.filter((l) => l.worker.id === w.key.id);
      expect(w.leases.size).toBe(own.length);
      expect(w.free.cpuMilli).toBe(w.cap.cpuMilli - own.length * RESERVED.cpuMilli);
    }
    const rate = Math.round(tally.leases / seconds);
    console.log(`${name}: ${tally.leases} leases in ${seconds.toFixed(2)} s, ${rate} leases/s, refusals ${JSON.stringify(tally.refused)}`);
  });
}
