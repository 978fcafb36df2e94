/** RateLimiter in memory. */
import type { Clock } from "#ports/clock.ts";
import { RATE_CLOCK_SKEW_MS, type RateLimiter } from "#ports/rate-limiter.ts";

export function createMemoryRateLimiter(clock: Pick<Clock, "now">): RateLimiter {
  const fullAt = new Map<string, number>();
  return {
    take: async (who, count, { perSecond, burst }) => {
      const now = clock.now();
      const latest = now + Math.ceil((burst * 1_000) / perSecond);
      const kept = fullAt.get(who) ?? now;
      const full = kept > latest + RATE_CLOCK_SKEW_MS ? now : Math.max(now, kept);
      const next = full + Math.ceil((count * 1_000) / perSecond);
      if (next > latest) return next - latest;
      fullAt.set(who, next);
      return 0;
    },
  };
}
