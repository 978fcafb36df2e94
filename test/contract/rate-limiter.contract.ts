/** What every RateLimiter must do. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { RateLimiter } from "#ports/rate-limiter.ts";
import type { FakeClock } from "../support/fake-clock.ts";
import type { Subject } from "../support/subject.ts";

const RATE = { perSecond: 10, burst: 30 };

export function describeRateLimiter(name: string, make: () => Promise<Subject<RateLimiter> & { readonly clock: FakeClock }>): void {
  describe(`RateLimiter: ${name}`, () => {
    let made: Awaited<ReturnType<typeof make>>;
    let limiter: RateLimiter;
    beforeEach(async () => {
      made = await make();
      limiter = made.subject;
    });
    afterEach(() => made[Symbol.asyncDispose]());

    it("grants a burst, then says after how long there is as much as was asked for", async () => {
      for (let i = 0; i < 3; i++) expect(await limiter.take("ada", 10, RATE)).toBe(0);
      expect(await limiter.take("ada", 10, RATE)).toBe(1_000);
      expect(await limiter.take("ada", 1, RATE)).toBe(100);
      await made.clock.advance(100);
      expect(await limiter.take("ada", 1, RATE)).toBe(0);
      expect(await limiter.take("ada", 1, RATE)).toBe(100);
    });

    it("holds no more than a burst, however long the pause", async () => {
      expect(await limiter.take("ada", 30, RATE)).toBe(0);
      await made.clock.advance(3_600_000);
      expect(await limiter.take("ada", 30, RATE)).toBe(0);
      expect(await limiter.take("ada", 1, RATE)).toBe(100);
    });

    it("a clock that is set back by an hour makes nobody wait for an hour", async () => {
      expect(await limiter.take("ada", 30, RATE)).toBe(0);
      made.clock.jump(-3_600_000);
      expect(await limiter.take("ada", 30, RATE)).toBe(0);
      expect(await limiter.take("ada", 10, RATE)).toBe(1_000);
    });

    it("tells accounts apart", async () => {
      expect(await limiter.take("ada", 30, RATE)).toBe(0);
      expect(await limiter.take("bob", 30, RATE)).toBe(0);
      expect(await limiter.take("x".repeat(5_000), 30, RATE)).toBe(0);
    });

    it("grants exactly what a burst holds to many at once", async () => {
      const waits = await Promise.all(Array.from({ length: 8 }, () => limiter.take("ada", 10, RATE)));
      expect(waits.filter((ms) => ms === 0)).toHaveLength(3);
    });
  });
}
