/** A clock that stands still until it is told to move. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "#ports/clock.ts";

export interface FakeClock extends Clock {
  /** Lets `ms` of running time pass; sleepers wake in order, each seeing the time it slept to. */
  advance(ms: number): Promise<void>;
  /** Moves the wall clock by `ms` (also back) without any running time: nobody wakes. */
  jump(ms: number): void;
  /** How many sleep. */
  sleepers(): number;
}

export function createFakeClock(startMs = 1_800_000_000_000): FakeClock {
  const sleeping = new Set<{ readonly atMs: number; readonly wake: () => void }>();
  let ranMs = 0;
  let offsetMs = startMs;

  return {
    now: () => ranMs + offsetMs,

    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted === true) {
          resolve();
          return;
        }
        const wake = (): void => {
          sleeping.delete(sleeper);
          signal?.removeEventListener("abort", wake);
          resolve();
        };
        const sleeper = { atMs: ranMs + Math.max(0, ms), wake };
        sleeping.add(sleeper);
        signal?.addEventListener("abort", wake, { once: true });
      }),

    async advance(ms) {
      const endMs = ranMs + ms;
      await nextTurn();
      for (;;) {
        const due = [...sleeping].filter((s) => s.atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
        if (due === undefined) break;
        ranMs = Math.max(ranMs, due.atMs);
        due.wake();
        await nextTurn();
      }
      ranMs = endMs;
      await nextTurn();
    },

    jump(ms) {
      offsetMs += ms;
    },

    sleepers: () => sleeping.size,
  };
}
