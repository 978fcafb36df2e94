/** RateLimiter: how often somebody may do something, as a bucket that refills steadily (GCRA). */
export interface Rate {
  readonly perSecond: number;
  /** What a full bucket holds. */
  readonly burst: number;
}

export interface RateLimiter {
  /** Takes `count` (at most the burst) at once, or nothing. `0`: granted; else the milliseconds after which there may be as much. */
  take(who: string, count: number, rate: Rate): Promise<number>;
}
