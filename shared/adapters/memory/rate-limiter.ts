/** RateLimiter in memory. */
import type { Clock } from "#ports/clock.ts";
import type { RateLimiter } from "#ports/rate-limiter.ts";

export function createMemoryRateLimiter(clock: Pick<Clock, "now">): RateLimiter {
  const fullAt = new Map<string, number>();
  return {
    take: async (who, count, { perSecond, burst }) => {
      const now = clock.now();
      const next = Math.max(now, fullAt.get(who) ?? now) + Math.ceil((count * 1_000) / perSecond);
      const latest = now + Math.ceil((burst * 1_000) / perSecond);
      if (next > latest) return next - latest;
      fullAt.set(who, next);
      return 0;
    },
  };
}
