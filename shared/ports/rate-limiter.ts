/** RateLimiter: how often somebody may do something, as a bucket that refills steadily (GCRA). */
export interface Rate {
  readonly perSecond: number;
  /** What a full bucket holds. */
  readonly burst: number;
}

/** Clocks of those who share a limit may differ by this much; more than that is a clock that was set back. */
export const RATE_CLOCK_SKEW_MS = 60_000;

export interface RateLimiter {
  /** Takes `count` (at most the burst) at once, or nothing. `0`: granted; else the milliseconds after which there may be as much. */
  take(who: string, count: number, rate: Rate): Promise<number>;
}
