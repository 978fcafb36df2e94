/** The machine's own time. `now` is the wall clock, `sleep` counts running time. */
import type { Clock } from "#ports/clock.ts";

/** The longest delay a Node timer takes; longer ones fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export function createSystemClock(): Clock {
  return { now: Date.now, sleep };
}

async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  let leftMs = ms;
  while (leftMs > TIMER_MS_MAX && signal?.aborted !== true) {
    await sleepOnce(TIMER_MS_MAX, signal);
    leftMs -= TIMER_MS_MAX;
  }
  await sleepOnce(leftMs, signal);
}

function sleepOnce(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) {
      resolve();
      return;
    }
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, Math.max(0, ms));
    signal?.addEventListener("abort", end, { once: true });
  });
}
