/** A log followed from before its attempt begins to its last kept byte, over whatever happens in between. */
import { describe, expect, test } from "vitest";
import { LOG_EVENTS } from "#api/schema/stream-events.ts";
import type { LogPlace, TaskLogs } from "#core/experiment-orchestrator/index.ts";
import { makeId } from "#domain/id.ts";
import type { TaskResult } from "#domain/result.ts";
import { seekLog } from "#domain/task-log.ts";
import { followLog, type LogEvent, type LogRequest } from "../../worker/gateway/log-follow.ts";
import type { LogAnswer } from "../../worker/gateway/log-relay.ts";
import { createFakeClock } from "../support/fake-clock.ts";

const bytes10 = new Uint8Array(10);
const EXPERIMENT = makeId("experiment", 1, bytes10);
const GATEWAY = makeId("gateway", 1, bytes10);
const OTHER = makeId("gateway", 2, bytes10);
const worker = { id: makeId("worker", 1, bytes10), incarnation: 1 };
const held = (attempt = 1, gateway = GATEWAY): LogPlace => ({ kind: "held", attempt, lease: "l", index: 0, worker, gateway });
const usage = { wallMs: 0, cpuMs: 0, memoryPeakBytes: 0, bytesIn: 0, bytesOut: 0 };
const ended = (attempt = 1, over: Partial<TaskResult> = {}): LogPlace => {
  const result: TaskResult = { ...{ index: 0, outcome: "done", startedAtMs: 1, endedAtMs: 2, usage, inputs: [], outputs: [] }, ...over };
  return { kind: "ended", attempt, result };
};

/** Places one after the other (the last stays), and a running log of which `running` bytes are there. */
function setUp(places: readonly LogPlace[], { text = "", kept = { omittedAt: 0, omitted: 0 } } = {}) {
  const clock = createFakeClock();
  const state = { place: 0, running: text.length, reads: 0 };
  const extent = { bytes: text.length, ...kept };
  const content = text.slice(0, kept.omittedAt) + text.slice(kept.omittedAt + kept.omitted);
  const logs: TaskLogs = {
    locate: async () => places[Math.min(state.place++, places.length - 1)] as LogPlace,
    async read(_, __, from) {
      const { offset, at } = seekLog(extent, from);
      const end = kept.omitted > 0 && offset < kept.omittedAt ? kept.omittedAt : content.length;
      return { extent, offset, data: Buffer.from(content.slice(at, end)) };
    },
  };
  const relay = {
    async read({ offset }: { offset: number }): Promise<LogAnswer> {
      state.reads++;
      if (state.reads > 50) return { kind: "over" };
      if (offset > state.running) return { kind: "data", offset: state.running, data: Buffer.alloc(0) };
      const data = Buffer.from(text.slice(offset, Math.min(state.running, offset + 4)));
      return data.length === 0 ? { kind: "over" } : { kind: "data", offset, data };
    },
  };
  async function follow(request: Partial<LogRequest> = {}): Promise<LogEvent[]> {
    const events: LogEvent[] = [];
    const whole: LogRequest = {
      experiment: EXPERIMENT,
      task: { set: "a", number: 0 },
      stream: "stdout",
      offset: 0,
      follow: true,
      ...request,
    };
    const urlOf = async (id: string) => (id === OTHER ? "http://other:1" : undefined);
    const stop = new AbortController();
    const done = (async () => {
      for await (const event of followLog({ logs, relay, gateway: GATEWAY, urlOf, clock }, whole, stop.signal)) events.push(event);
    })();
    for (let i = 0; i < 40; i++) await clock.advance(1_000);
    stop.abort();
    await done;
    for (const { event, ...data } of events) {
      if (event === "chunk") continue; // travels as base64, see the gateway's HTTP part
      LOG_EVENTS[event].parse(data);
    }
    return events;
  }
  return { state, follow, relay };
}

const textOf = (events: readonly LogEvent[]) => events.map((e) => (e.event === "chunk" ? Buffer.from(e.data).toString() : "")).join("");
const others = (events: readonly LogEvent[]) => events.filter((e) => e.event !== "chunk");

describe("following", () => {
  test("waits, reads what grows, and ends with what was kept", async () => {
    const { follow, state } = setUp([{ kind: "waiting", state: "WAITING" }, { kind: "waiting", state: "QUEUED" }, held(), ended()], {
      text: "0123456789abcdef",
    });
    state.running = 9;
    const events = await follow();
    expect(textOf(events)).toBe("0123456789abcdef");
    expect(others(events)).toEqual([
      { event: "state", state: "WAITING" },
      { event: "state", state: "QUEUED" },
      { event: "state", state: "RUNNING", attempt: 1 },
      { event: "end", attempt: 1, bytes: 16, outcome: "done" },
    ]);
  });

  test.each([0, 3, 9, 15, 16])("goes on at byte %d without one lost or twice", async (offset) => {
    const { follow, state } = setUp([held(), ended()], { text: "0123456789abcdef" });
    state.running = 9;
    expect(textOf(await follow({ attempt: 1, offset }))).toBe("0123456789abcdef".slice(offset));
  });

  test("tells of the bytes that were not kept", async () => {
    const { follow } = setUp([ended()], { text: "0123456789abcdef", kept: { omittedAt: 4, omitted: 8 } });
    const events = await follow();
    expect(textOf(events)).toBe("0123cdef");
    expect(others(events)).toEqual([
      { event: "gap", attempt: 1, from: 4, to: 12 },
      { event: "end", attempt: 1, bytes: 16, outcome: "done" },
    ]);
  });

  test("from so many bytes before the end, running or ended", async () => {
    const text = "0123456789";
    expect(textOf(await setUp([ended()], { text }).follow({ tail: 3 }))).toBe("789");
    expect(textOf(await setUp([held(), ended()], { text }).follow({ tail: 3 }))).toBe("789");
    expect(textOf(await setUp([held(), ended()], { text }).follow({ tail: 300 }))).toBe(text);
  });

  test("without waiting ends with what there is now", async () => {
    const { follow, state } = setUp([held()], { text: "0123456789" });
    state.running = 6;
    const events = await follow({ follow: false });
    expect(textOf(events)).toBe("012345");
    expect(events.at(-1)).toEqual({ event: "end", attempt: 1, bytes: 6, outcome: "running" });
    expect(await setUp([{ kind: "waiting", state: "QUEUED" }]).follow({ follow: false })).toEqual([
      { event: "end", bytes: 0, outcome: "QUEUED" },
    ]);
  });

  test("ends when the task will never run", async () => {
    expect(others(await setUp([{ kind: "waiting", state: "SKIPPED" }]).follow())).toEqual([{ event: "end", bytes: 0, outcome: "SKIPPED" }]);
  });

  test("takes the next attempt when the first came to nothing before it wrote, and ends when it had written", async () => {
    const lost: LogPlace = { kind: "void", attempt: 1, cause: "worker-lost" };
    const unseen = setUp([lost, held(2), ended(2)], { text: "0123" });
    expect(textOf(await unseen.follow())).toBe("0123");
    const seen = setUp([held(1), lost, ended(2)], { text: "0123" });
    const events = await seen.follow();
    expect(textOf(events)).toBe("0123");
    expect(events.at(-1)).toMatchObject({ event: "end", attempt: 1, outcome: "void", message: expect.stringContaining("worker was lost") });
  });

  test("names the other gateway when the worker is there, and waits when nobody knows where", async () => {
    const { follow, relay } = setUp([held(1, OTHER)]);
    relay.read = async () => ({ kind: "elsewhere" });
    expect((await follow()).at(-1)).toEqual({ event: "moved", url: "http://other:1" });
    const own = setUp([held(1), ended()], { text: "x" });
    own.relay.read = async () => ({ kind: "elsewhere" });
    expect(textOf(await own.follow())).toBe("x");
  });

  test("is not led astray by an offset beyond the end", async () => {
    expect(others(await setUp([ended()], { text: "0123" }).follow({ attempt: 1, offset: 99 }))).toEqual([
      { event: "end", attempt: 1, bytes: 4, outcome: "done" },
    ]);
  });
});
