/**
 * RateLimiter on DynamoDB: one conditional update moves `full`, the time at which the bucket is full again. A bucket that
 * is full by now takes a second update, since no expression says max(full, now).
 *
 * An unknown outcome grants: what can't be decided must not stop anybody's work.
 */
import { RATE_CLOCK_SKEW_MS, type RateLimiter } from "#ports/rate-limiter.ts";
import type { DynamoTable } from "./client.ts";
import { number, numberOf } from "./codec.ts";
import * as when from "./conditions.ts";
import { rateKey } from "./keys.ts";

/** Others may take in between. */
const ROUNDS_MAX = 4;
const KEPT_S = 60;

export function createDynamoRateLimiter(table: DynamoTable): RateLimiter {
  return {
    take: async (who, count, { perSecond, burst }) => {
      const costMs = Math.ceil((count * 1_000) / perSecond);
      const windowMs = Math.ceil((burst * 1_000) / perSecond);
      const key = rateKey(who);
      let isFull = false;
      for (let round = 0; round < ROUNDS_MAX; round++) {
        const nowMs = table.clock.now();
        const possibleMs = nowMs + windowMs + RATE_CLOCK_SKEW_MS;
        const ttl = number(Math.ceil((nowMs + windowMs) / 1_000) + KEPT_S);
        const update = isFull
          ? { expression: "SET #full = :full, #ttl = :ttl", values: { ":full": number(nowMs + costMs), ":ttl": ttl } }
          : { expression: "SET #full = #full + :cost, #ttl = :ttl", values: { ":cost": number(costMs), ":ttl": ttl } };
        const condition = isFull ? when.isFullAt(nowMs, possibleMs) : when.hasLeftAt(nowMs, nowMs + windowMs - costMs);
        const outcome = await table.write({ by: "set", index: 0, kind: "update", key, update, condition });
        if (outcome.kind !== "refused") return 0;
        const fullMs = outcome.item === undefined ? 0 : numberOf(outcome.item, "full");
        isFull = fullMs <= nowMs || fullMs > possibleMs;
        if (!isFull && fullMs + costMs > nowMs + windowMs) return fullMs + costMs - nowMs - windowMs;
      }
      return costMs;
    },
  };
}
