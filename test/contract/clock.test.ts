import { describe, expect, it } from "vitest";
import { createSystemClock } from "#adapters/system/clock.ts";
import { createSystemRandom } from "#adapters/system/random.ts";
import { createFakeClock } from "../support/fake-clock.ts";

describe("system clock", () => {
  const clock = createSystemClock();

  it("sleeps as long as it was told", async () => {
    const fromMs = performance.now();
    await clock.sleep(30);
    expect(performance.now() - fromMs).toBeGreaterThanOrEqual(29);
    expect(Math.abs(clock.now() - Date.now())).toBeLessThan(1_000);
  });

  it("ends a sleep of any length by its signal and never rejects", async () => {
    await clock.sleep(1e12, AbortSignal.abort(new Error("now")));
    const stop = new AbortController();
    const sleeping = clock.sleep(1e12, stop.signal);
    stop.abort(new Error("enough"));
    await sleeping;
  });

  it("takes no negative time", async () => {
    await clock.sleep(-5);
  });
});

describe("system random", () => {
  it("gives numbers in [0, 1) and bytes as many as asked", () => {
    const random = createSystemRandom();
    for (let i = 0; i < 100; i++) {
      const value = random.next();
      expect(value >= 0 && value < 1).toBe(true);
    }
    expect(random.bytes(10)).toHaveLength(10);
    expect(Buffer.from(random.bytes(16)).equals(random.bytes(16))).toBe(false);
  });
});

describe("fake clock", () => {
  it("wakes sleepers in order, each at its time", async () => {
    const clock = createFakeClock(1_000);
    const woken: string[] = [];
    const sleep = async (ms: number): Promise<void> => {
      await clock.sleep(ms);
      woken.push(`${ms} at ${clock.now()}`);
    };
    const all = [sleep(30), sleep(10), sleep(20)];
    await clock.advance(25);
    expect(woken).toEqual(["10 at 1010", "20 at 1020"]);
    expect([clock.now(), clock.sleepers()]).toEqual([1_025, 1]);
    await clock.advance(5);
    await Promise.all(all);
  });

  it("jumps without waking anyone, also back", async () => {
    const clock = createFakeClock(1_000);
    const stop = new AbortController();
    const sleeping = clock.sleep(10, stop.signal);
    clock.jump(-500);
    expect([clock.now(), clock.sleepers()]).toEqual([500, 1]);
    stop.abort();
    await sleeping;
    expect(clock.sleepers()).toBe(0);
  });
});
