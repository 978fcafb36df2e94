/** Reads of logs from the gateway's relay to the agent's side and back, over a wire that can be looked at. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { GatewayMessage, LogChunk, LogRead } from "#protocol/gen/worker.ts";
import { BACKLOG_HOLD_BYTES, LOG_CHUNK_BYTES_MAX } from "#protocol/limits.ts";
import { LOG_READ_WAIT_MS, LOG_READS_MAX } from "../../worker/agent/limits.ts";
import { createLogBuffer } from "../../worker/agent/log-buffer.ts";
import { createLogReads } from "../../worker/agent/log-reads.ts";
import { createLogRelay, type LogPlaceAt } from "../../worker/gateway/log-relay.ts";
import { LOG_ANSWER_WAIT_MS } from "../../worker/gateway/limits.ts";
import { createFakeClock } from "../support/fake-clock.ts";

const W = "wrk_a#1";
const place = (over: Partial<LogPlaceAt> = {}): LogPlaceAt => ({
  ...{ worker: W, lease: "exp_1/0/0/1", index: 3, stream: "stdout", offset: 0 },
  ...over,
});
const never = new AbortController().signal;

/** One agent with one running attempt, its wire to a relay, and all that went over it. */
function setUp() {
  const clock = createFakeClock();
  const relay = createLogRelay({ clock });
  const logs = { stdout: createLogBuffer(), stderr: createLogBuffer() };
  const asked: LogRead[] = [];
  const canceled: number[] = [];
  const answered: LogChunk[] = [];
  const state = { found: logs as typeof logs | "waiting" | undefined, backlog: 0, deaf: false };
  const agent = createLogReads({
    find: (lease, task) => (lease === "exp_1/0/0/1" && task === 3 ? state.found : undefined),
    send: (chunk) => {
      answered.push(chunk);
      relay.received(W, chunk);
    },
    backlog: () => state.backlog,
    clock,
  });
  const grown = () => agent.touch("exp_1/0/0/1", 3);
  logs.stdout.onGrowth = grown;
  logs.stderr.onGrowth = grown;
  const send = (body: NonNullable<GatewayMessage["body"]>) => {
    if (body.$case === "logRead") asked.push(body.value);
    if (body.$case === "logCancel") canceled.push(body.value.id);
    if (state.deaf) return;
    if (body.$case === "logRead") agent.read(body.value);
    if (body.$case === "logCancel") agent.cancel(body.value.id);
  };
  relay.attach(W, send);
  return { clock, relay, logs, agent, asked, canceled, answered, state, send };
}

const text = (answer: { kind: string; data?: Uint8Array }) =>
  answer.data === undefined ? answer.kind : Buffer.from(answer.data).toString();

describe("a read of a running attempt's log", () => {
  test("is answered at once by what is there, from its offset, a chunk at a time", async () => {
    const { relay, logs } = setUp();
    logs.stdout.push(Buffer.alloc(LOG_CHUNK_BYTES_MAX + 5, "x"));
    const first = await relay.read(place(), never);
    expect(first).toMatchObject({ kind: "data", offset: 0 });
    expect(text(first).length).toBe(LOG_CHUNK_BYTES_MAX);
    expect(text(await relay.read(place({ offset: LOG_CHUNK_BYTES_MAX }), never))).toBe("xxxxx");
  });

  test("waits for output, and takes together what comes in small pieces", async () => {
    const { relay, logs, clock, asked, answered } = setUp();
    const reading = relay.read(place(), never);
    for (const piece of ["a", "b", "c"]) logs.stdout.push(Buffer.from(piece));
    await clock.advance(100);
    expect(text(await reading)).toBe("abc");
    expect([asked.length, answered.length]).toEqual([1, 1]);
  });

  test("keeps the two streams apart, and bytes as they are", async () => {
    const { relay, logs } = setUp();
    const odd = Buffer.from([0, 255, 254, 10, 0xe2, 0x82]); // NUL, no UTF-8, half a character
    logs.stderr.push(odd);
    logs.stdout.push(Buffer.from("out"));
    expect(await relay.read(place({ stream: "stderr" }), never)).toEqual({ kind: "data", offset: 0, data: odd });
    expect(text(await relay.read(place(), never))).toBe("out");
  });

  test("from behind the end tells where the end is", async () => {
    const { relay, logs } = setUp();
    logs.stdout.push(Buffer.from("abc"));
    expect(await relay.read(place({ offset: Number.MAX_SAFE_INTEGER }), never)).toMatchObject({ kind: "data", offset: 3 });
  });

  test("of another's task, or of one that has ended, gives nothing", async () => {
    const { relay, state, logs } = setUp();
    logs.stdout.push(Buffer.from("secret"));
    expect(await relay.read(place({ index: 4 }), never)).toEqual({ kind: "over" });
    expect(await relay.read(place({ lease: "exp_2/0/0/1" }), never)).toEqual({ kind: "over" });
    state.found = undefined;
    expect(await relay.read(place(), never)).toEqual({ kind: "over" });
  });

  test("of one that has not begun waits for it", async () => {
    const { relay, state, logs, agent, clock } = setUp();
    state.found = "waiting";
    const reading = relay.read(place(), never);
    await nextTurn();
    state.found = logs;
    logs.stdout.push(Buffer.from("begun"));
    agent.touch("exp_1/0/0/1", 3);
    await clock.advance(100);
    expect(text(await reading)).toBe("begun");
  });

  test("is told when the attempt ends meanwhile", async () => {
    const { relay, state, agent, clock } = setUp();
    const reading = relay.read(place(), never);
    state.found = undefined;
    agent.touch("exp_1/0/0/1", 3);
    await clock.advance(100);
    expect(await reading).toEqual({ kind: "over" });
  });

  test("without output is answered by nothing after a while, and by the relay itself when the agent is deaf", async () => {
    const { relay, clock, state } = setUp();
    const reading = relay.read(place(), never);
    await clock.advance(LOG_READ_WAIT_MS);
    expect(text(await reading)).toBe("");
    state.deaf = true;
    const unheard = relay.read(place({ offset: 1 }), never);
    await clock.advance(LOG_ANSWER_WAIT_MS);
    expect(await unheard).toMatchObject({ kind: "data", offset: 1 });
    expect(relay.underWay()).toBe(0);
  });

  test("holds back while the stream is behind with other things", async () => {
    const { relay, logs, state, clock, answered } = setUp();
    state.backlog = BACKLOG_HOLD_BYTES + 1;
    logs.stdout.push(Buffer.from("later"));
    const reading = relay.read(place(), never);
    await clock.advance(500);
    expect(answered).toEqual([]);
    state.backlog = 0;
    await clock.advance(500);
    expect(text(await reading)).toBe("later");
  });

  test("is refused above the number that an agent takes", async () => {
    const { relay } = setUp();
    const all = Array.from({ length: LOG_READS_MAX }, () => new AbortController());
    const readings = all.map((a, i) =>
      relay.read(place({ lease: "exp_1/0/0/1", offset: 0, stream: i % 2 === 0 ? "stdout" : "stderr" }), a.signal),
    );
    expect(relay.underWay()).toBe(2); // shared
    for (const a of all) a.abort();
    await Promise.all(readings);
    const agent = createLogReads({ find: () => "waiting", send: (c) => sent.push(c), backlog: () => 0, clock: createFakeClock() });
    const sent: LogChunk[] = [];
    for (let id = 1; id <= LOG_READS_MAX + 1; id++) agent.read({ id, lease: "l", task: 0, stderr: false, offset: 0, bytesMax: 1 });
    expect(sent).toEqual([expect.objectContaining({ id: LOG_READS_MAX + 1, busy: true })]);
  });
});

describe("many readers", () => {
  test("of one place share one read, and the last to leave stops it", async () => {
    const { relay, asked, canceled } = setUp();
    const stops = [new AbortController(), new AbortController(), new AbortController()];
    const readings = stops.map((s) => relay.read(place(), s.signal));
    expect([asked.length, relay.underWay()]).toEqual([1, 1]);
    stops[0]?.abort();
    stops[1]?.abort();
    await Promise.all(readings.slice(0, 2));
    expect(canceled).toEqual([]);
    stops[2]?.abort();
    await readings[2];
    expect(canceled).toEqual([asked[0]?.id]);
    expect(relay.underWay()).toBe(0);
  });

  test("a step behind get what was read already without asking the worker again", async () => {
    const { relay, logs, asked } = setUp();
    logs.stdout.push(Buffer.from("abcdef"));
    await relay.read(place(), never);
    expect(text(await relay.read(place({ offset: 2 }), never))).toBe("cdef");
    expect(asked.length).toBe(1);
  });
});

describe("a worker", () => {
  test("whose stream ends ends its reads; one without a stream has none", async () => {
    const { relay, send } = setUp();
    const reading = relay.read(place(), never);
    relay.detach(W, () => undefined); // of an older stream
    expect(relay.underWay()).toBe(1);
    relay.detach(W, send);
    expect(await reading).toEqual({ kind: "elsewhere" });
    expect(await relay.read(place(), never)).toEqual({ kind: "elsewhere" });
  });

  test("cannot answer what another was asked, nor twice, nor with more or other than was asked for", async () => {
    const { relay, state, asked } = setUp();
    state.deaf = true;
    const chunk = (over: Partial<LogChunk>): LogChunk => ({
      id: 0,
      offset: 0,
      data: Buffer.from("lie"),
      over: false,
      busy: false,
      ...over,
    });
    const reading = relay.read(place({ offset: 10 }), never);
    const id = asked[0]?.id as number;
    relay.received("wrk_evil#1", chunk({ id, offset: 10 }));
    relay.received(W, chunk({ id: id + 99, offset: 10 }));
    expect(relay.underWay()).toBe(1);
    relay.received(W, chunk({ id, offset: 3 })); // bytes before the place
    expect(await reading).toEqual({ kind: "over" });
    const large = relay.read(place({ offset: 10 }), never);
    relay.received(W, chunk({ id: asked[1]?.id as number, offset: 10, data: Buffer.alloc(LOG_CHUNK_BYTES_MAX + 1) }));
    expect(await large).toEqual({ kind: "over" });
    relay.received(W, chunk({ id, offset: 10 }));
    expect(relay.underWay()).toBe(0);
  });
});
