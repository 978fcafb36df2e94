/**
 * Full-jitter backoff: uniform between zero and a ceiling that doubles. Thousands of workers that lose one gateway at
 * the same moment come back spread out (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
 */
export interface Backoff {
  readonly firstMs: number;
  readonly ceilingMs: number;
}

export const REDIAL: Backoff = { firstMs: 500, ceilingMs: 30_000 };

/** How long to wait before the next try. `failures` counts from 1 since the last success; `random` is uniform in [0, 1). */
export function backoffMs(failures: number, random: () => number, backoff: Backoff = REDIAL): number {
  const doublings = Math.min(Math.max(failures - 1, 0), 30); // 2^30 passes every ceiling
  return Math.floor(random() * Math.min(backoff.ceilingMs, backoff.firstMs * 2 ** doublings));
}
