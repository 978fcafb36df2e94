/** What an agent holds of a stream: every byte of a short one, first and last of a long one, by offsets that stay true. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LOG_HEAD_BYTES_MAX, LOG_TAIL_BYTES_MAX, readKeptLog, seekLog } from "#domain/task-log.ts";
import { createEndMark, createLogBuffer, type LogBuffer } from "../../worker/agent/log-buffer.ts";

const byteAt = (offset: number): number => (offset * 31 + (offset >> 8)) & 255;
const bytesFrom = (offset: number, length: number): Buffer => Buffer.from(Array.from({ length }, (_, i) => byteAt(offset + i)));

function fill(log: LogBuffer, bytes: number, chunk = 60_001): void {
  for (let at = 0; at < bytes; at += chunk) log.push(bytesFrom(at, Math.min(chunk, bytes - at)));
}

/** All that is there, by reading on from where the last read ended. */
function readOn(log: LogBuffer, max: number): { offset: number; data: Buffer }[] {
  const parts: { offset: number; data: Buffer }[] = [];
  for (let at = 0; ; ) {
    const part = log.read(at, max);
    if (part.data.length === 0) return parts;
    parts.push(part);
    at = part.offset + part.data.length;
  }
}

describe("a log in memory", () => {
  test("gives back every byte while it is short, whatever the chunks and the reads", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 12 }), fc.integer({ min: 1, max: 5000 }), (chunks, max) => {
        const log = createLogBuffer();
        for (const chunk of chunks) log.push(chunk);
        const all = Buffer.concat(chunks);
        expect(Buffer.concat(readOn(log, max).map((p) => p.data)).equals(all)).toBe(true);
        expect(log.content().equals(all)).toBe(true);
        expect(log.extent()).toEqual({ bytes: all.length, omittedAt: all.length, omitted: 0 });
      }),
    );
  });

  test.each([LOG_HEAD_BYTES_MAX, LOG_HEAD_BYTES_MAX + 1, LOG_HEAD_BYTES_MAX + LOG_TAIL_BYTES_MAX + 1, 3_000_003])(
    "of %d bytes keeps first and last ones, each at its true offset, and says how many are left out",
    (bytes) => {
      const log = createLogBuffer();
      fill(log, bytes);
      const { omittedAt, omitted } = log.extent();
      expect(log.extent().bytes).toBe(bytes);
      expect(log.content().length).toBe(bytes - omitted);
      expect(log.content().length).toBeLessThanOrEqual(LOG_HEAD_BYTES_MAX + LOG_TAIL_BYTES_MAX);
      expect(bytes - omittedAt - omitted).toBeGreaterThanOrEqual(Math.min(bytes - LOG_HEAD_BYTES_MAX, LOG_TAIL_BYTES_MAX / 2));
      let seen = 0;
      for (const { offset, data } of readOn(log, 64 * 1024)) {
        expect(data.equals(bytesFrom(offset, data.length))).toBe(true);
        seen += data.length;
      }
      expect(seen).toBe(bytes - omitted);
      const { offset, at } = seekLog(log.extent(), omittedAt + Math.floor(omitted / 2));
      expect(log.content()[at]).toBe(offset < bytes ? byteAt(offset) : undefined);
    },
  );

  test("read beyond its end gives nothing, and where the end is", () => {
    const log = createLogBuffer();
    log.push(Buffer.from("abc"));
    expect(log.read(99, 10)).toEqual({ offset: 3, data: Buffer.alloc(0) });
  });

  test("holds a flood in bounded memory", () => {
    const log = createLogBuffer();
    const chunk = Buffer.alloc(1024 * 1024, 7);
    for (let i = 0; i < 200; i++) log.push(chunk);
    expect(log.content().length).toBeLessThanOrEqual(LOG_HEAD_BYTES_MAX + LOG_TAIL_BYTES_MAX);
    expect(log.extent().bytes).toBe(200 * chunk.length);
  });
});

describe("the end mark", () => {
  const mark = Buffer.from("<-end-of-it->");
  const through = (chunks: readonly Buffer[]) => {
    const out: Buffer[] = [];
    const end = createEndMark(mark, { push: (chunk) => void out.push(Buffer.from(chunk)) });
    for (const chunk of chunks) end.push(chunk);
    return { end, text: () => Buffer.concat(out).toString("latin1") };
  };

  test("never shows, however it is cut, nor is a byte before it lost", () => {
    const all = Buffer.concat([Buffer.from("out <- <-end put<"), mark]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: all.length }), { maxLength: 6 }), (cuts) => {
        const places = [0, ...cuts.toSorted((a, b) => a - b), all.length];
        const { end, text } = through(places.slice(1).map((to, i) => all.subarray(places[i], to)));
        expect(end.isWhole()).toBe(true);
        expect(text()).toBe("out <- <-end put<");
      }),
    );
  });

  test("with something behind it is not the end", () => {
    const { end, text } = through([Buffer.from("a"), mark, Buffer.from("late")]);
    expect(end.isWhole()).toBe(false);
    expect(text()).toBe("alate");
  });

  test("that never comes leaves what looked like it as output", () => {
    const { end, text } = through([Buffer.from("a<-end")]);
    expect(text()).toBe("a");
    end.flush();
    expect(text()).toBe("a<-end");
  });
});

test("what a worker says of a kept log is read with care", () => {
  const good = { bytes: 10, omittedAt: 4, omitted: 3, sha256: "a".repeat(64) };
  expect(readKeptLog(good)).toEqual(good);
  const bad = [
    null,
    "x",
    { ...good, bytes: -1 },
    { ...good, bytes: 1e300 },
    { ...good, omitted: 8 },
    { ...good, sha256: "../../etc" },
    { ...good, bytes: 10_000_000 },
    { bytes: 1, omittedAt: 0, omitted: 0 },
    { ...good, sha256: undefined, inline: "x".repeat(100_000) },
  ];
  for (const value of bad) expect(readKeptLog(value)).toBeUndefined();
});
