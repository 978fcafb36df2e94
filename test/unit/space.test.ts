/** A disk that gets full: seen below the reserve, over a quarter above it, and work goes on by itself. */
import { tmpdir } from "node:os";
import { expect, test, vi } from "vitest";
import { createDiskSpace, freeBytesOf } from "#adapters/system/space.ts";
import { createHealth } from "#compose/health.ts";
import { tellShortage } from "#ports/space.ts";
import { watchSpace } from "../../local/space-watch.ts";
import { createFakeClock } from "../support/fake-clock.ts";

const MIB = 1024 * 1024;

/** Each call to `shortage` sees the next of these. */
function spaceOf(...freeMib: number[]) {
  let now = 0;
  vi.spyOn(performance, "now").mockImplementation(() => (now += 2_000));
  return createDiskSpace("/", 100 * MIB, () => ((freeMib.length > 1 ? freeMib.shift() : freeMib[0]) as number) * MIB);
}

test("a shortage begins below the reserve and ends a quarter above it", () => {
  const space = spaceOf(101, 100, 99, 110, 124, 125, 101);
  expect(Array.from({ length: 7 }, () => space.shortage() !== undefined)).toEqual([false, false, true, true, true, false, false]);
  vi.restoreAllMocks();
});

test("says how much there is and what follows", () => {
  expect(tellShortage({ freeBytes: 12.7 * MIB, reserveBytes: 256 * MIB })).toMatch(/12 MiB free and 256 MiB are kept.*until some is freed/);
});

test("the disk of a real folder is asked, and one that can't be asked is not called full", () => {
  expect(freeBytesOf(tmpdir())).toBeGreaterThan(0);
  expect(createDiskSpace(tmpdir(), Number.MAX_SAFE_INTEGER).shortage()).toMatchObject({ reserveBytes: Number.MAX_SAFE_INTEGER });
  expect(createDiskSpace("/does/not/exist", 1).shortage()).toBeUndefined();
});

test("the watch tells each change once and sets work going when there is room again", async () => {
  const space = spaceOf(200, 50, 40, 60, 200, 200);
  const clock = createFakeClock();
  const told: string[] = [];
  let freed = 0;
  const over = new AbortController();
  const watching = watchSpace(
    { space, clock, logger: { warn: (m) => told.push(m), info: (m) => told.push(m) } },
    { signal: over.signal, freed: async () => void freed++ },
  );
  await clock.advance(20_000);
  over.abort();
  await watching;
  vi.restoreAllMocks();
  expect(told).toEqual([expect.stringMatching(/50 MiB free/), "the disk has room again: work is handed out"]);
  expect(freed).toBe(1);
});

test("health names the disk", async () => {
  const fine = { readUser: async () => undefined, check: async () => true, depth: async () => 0 };
  const of = (freeMib: number) =>
    createHealth({ accounts: fine, authorization: fine, queue: fine, clock: createFakeClock(), space: spaceOf(freeMib) } as never)();
  expect(await of(99)).toMatchObject({ disk: false, queue: true });
  expect(await of(101)).toMatchObject({ disk: true });
  vi.restoreAllMocks();
});
