/** What the gateway serves by HTTP: streams end when they must, cost nothing while nobody reads, and are counted. */
import { describe, expect, test } from "vitest";
import { readEvents, type StreamEvent } from "#api/event-stream.ts";
import { createGatewayApp, createHttpApp, type HttpApp } from "../../functions/http/index.ts";
import { HEARTBEAT_MS, RECHECK_MS, STREAMS_OF_USER_MAX } from "../../functions/http/limits.ts";
import { SchedulerError } from "../../shared/domain/error.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { ALICE, BOB, createFakeHttp, EXPERIMENT_YAML, tokenOf } from "../support/fake-http-deps.ts";
import { createFakeLive } from "../support/fake-live.ts";

async function setUp() {
  const clock = createFakeClock();
  const fake = createFakeHttp();
  const live = createFakeLive(clock);
  const allowed = { user: true, view: true };
  const deps = {
    ...fake.deps,
    accounts: {
      ...fake.deps.accounts,
      async authenticate(token: string) {
        if (!allowed.user) throw new SchedulerError("unauthenticated", "the token was withdrawn");
        return fake.deps.accounts.authenticate(token);
      },
    },
    authorization: {
      ...fake.deps.authorization,
      check: async (...of: Parameters<typeof fake.deps.authorization.check>) => allowed.view && fake.deps.authorization.check(...of),
    },
  };
  const functions = createHttpApp(fake.deps);
  const headers = { authorization: `Bearer ${tokenOf(ALICE)}`, "content-type": "application/yaml" };
  const made = await functions.fetch(new Request("http://test/v1/experiments", { method: "POST", headers, body: EXPERIMENT_YAML }));
  const { id } = (await made.json()) as { id: string };
  return { clock, fake, live, allowed, id, app: createGatewayApp(deps, live.deps), functions };
}

const get = (app: HttpApp, path: string, headers: Record<string, string> = {}, signal?: AbortSignal, as = ALICE) =>
  app.fetch(
    new Request(`http://test${path}`, {
      headers: { authorization: `Bearer ${tokenOf(as)}`, ...headers },
      ...(signal === undefined ? {} : { signal }),
    }),
  );

async function allOf(response: Response): Promise<StreamEvent[]> {
  const events: StreamEvent[] = [];
  for await (const event of readEvents(response.body as unknown as AsyncIterable<Uint8Array>)) if (event !== undefined) events.push(event);
  return events;
}

const decoder = new TextDecoder();
type Reader = ReadableStreamDefaultReader<Uint8Array>;
const pieceOf = async (reader: Reader): Promise<string> => decoder.decode((await reader.read()).value);

describe("a stream of events", () => {
  test("holds what happened, and says why it ends", async () => {
    const { app, id, live } = await setUp();
    live.events = [{ event: "snapshot", id: "f.0", data: { a: "two\nlines" } }];
    const response = await get(app, `/v1/experiments/${id}/events`);
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    expect(await allOf(response)).toEqual([
      { event: "snapshot", id: "f.0", data: { a: "two\nlines" } },
      { event: "end", data: { code: "not-found", message: "it is gone" } },
    ]);
    expect([live.closed, live.streams]).toEqual([1, 0]);
  });

  test("goes on behind Last-Event-ID, which browsers send, or `after`", async () => {
    const { app, id, live } = await setUp();
    await allOf(await get(app, `/v1/experiments/${id}/events`, { "last-event-id": "f.7" }));
    await allOf(await get(app, `/v1/experiments/${id}/events?after=f.8`));
    expect(live.subscribed.map((s) => s.after)).toEqual(["f.7", "f.8"]);
  });

  test("gives a sign of life while nothing happens", async () => {
    const { app, id, live, clock } = await setUp();
    live.open = true;
    const reader = (await get(app, `/v1/experiments/${id}/events`)).body?.getReader() as Reader;
    expect(await pieceOf(reader)).toMatch(/^:/);
    expect(await pieceOf(reader)).toContain("snapshot");
    const quiet = pieceOf(reader);
    await clock.advance(HEARTBEAT_MS);
    expect(await quiet).toMatch(/^:/);
    await reader.cancel();
  });

  test.each(["user", "view"] as const)("is cut off in time when its %s is withdrawn", async (what) => {
    const { app, id, live, clock, allowed } = await setUp();
    live.open = true;
    const reader = (await get(app, `/v1/experiments/${id}/events`)).body?.getReader() as Reader;
    await pieceOf(reader);
    await pieceOf(reader);
    allowed[what] = false;
    let last = "";
    for (let ms = 0; ms <= RECHECK_MS + HEARTBEAT_MS && !last.includes("event: end"); ms += HEARTBEAT_MS) {
      const next = pieceOf(reader);
      await clock.advance(HEARTBEAT_MS);
      last = await next;
    }
    expect(last).toContain(what === "user" ? "unauthenticated" : "not-found");
    expect((await reader.read()).done).toBe(true);
    await clock.advance(HEARTBEAT_MS);
    expect([live.streams, live.closed]).toEqual([0, 1]);
  });

  test("is given up when its reader goes, before or while it waits", async () => {
    const { app, id, live, clock } = await setUp();
    live.open = true;
    const gone = new AbortController();
    const reader = (await get(app, `/v1/experiments/${id}/events`, {}, gone.signal)).body?.getReader() as Reader;
    await pieceOf(reader);
    await pieceOf(reader);
    const waiting = reader.read();
    await clock.advance(1);
    gone.abort();
    await waiting.catch(() => undefined);
    await clock.advance(HEARTBEAT_MS);
    const second = (await get(app, `/v1/experiments/${id}/events`)).body?.getReader() as Reader;
    await pieceOf(second);
    await pieceOf(second);
    await second.cancel();
    await clock.advance(HEARTBEAT_MS);
    expect([live.streams, live.closed]).toEqual([0, 2]);
  });

  test("is one of so many that an account may have open; others still get theirs", async () => {
    const { app, id, live, fake } = await setUp();
    live.open = true;
    const path = `/v1/experiments/${id}/events`;
    const open = await Promise.all(Array.from({ length: STREAMS_OF_USER_MAX }, () => get(app, path)));
    const refused = await get(app, path);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "5"]);
    const relation = { object: { type: "experiment", id }, relation: "owner", subject: { type: "user", id: BOB.id } } as const;
    await fake.deps.authorization.write([relation]);
    expect((await get(app, path, {}, undefined, BOB)).status).toBe(200);
    await open[0]?.body?.cancel();
    expect((await get(app, path)).status).toBe(200);
  });

  test("makes nothing that nobody reads", async () => {
    const { id, live, fake } = await setUp();
    let made = 0;
    const next = async () => [{ event: "progress", data: made++ }];
    const endless = createGatewayApp(fake.deps, { ...live.deps, subscribe: () => ({ next, close: () => undefined }) });
    const reader = (await get(endless, `/v1/experiments/${id}/events`)).body?.getReader() as Reader;
    for (let i = 0; i < 4; i++) await reader.read();
    for (let i = 0; i < 50; i++) await new Promise(setImmediate);
    // The heartbeat came first; one more may be ready.
    expect(made).toBeLessThanOrEqual(4);
    expect(made).toBeGreaterThanOrEqual(3);
    await reader.cancel();
  });
});

describe("a stream of a log", () => {
  test("begins where it was asked to, or behind the chunk that was received last", async () => {
    const { app, id, live } = await setUp();
    const path = `/v1/experiments/${id}/tasks/hello/0/log/follow`;
    await allOf(await get(app, `${path}?stream=stderr&attempt=2&tail=100`));
    await allOf(await get(app, path, { "last-event-id": "3.4096" }));
    await allOf(await get(app, `${path}?after=3.5&follow=false`));
    expect(live.logs).toEqual([
      expect.objectContaining({ stream: "stderr", attempt: 2, tail: 100, offset: 0, follow: true, task: { set: "hello", number: 0 } }),
      expect.objectContaining({ stream: "stdout", attempt: 3, offset: 4096 }),
      expect.objectContaining({ attempt: 3, offset: 5, follow: false }),
    ]);
  });

  test.each([
    "?stream=both",
    "?offset=-1",
    "?tail=x",
    "?attempt=1e9999",
    "?follow=maybe",
    "?x=1",
    "?after=f.3",
    "?after=1.99999999999999999",
  ])("%s is refused", async (query) => {
    const { app, id } = await setUp();
    const response = await get(app, `/v1/experiments/${id}/tasks/hello/0/log/follow${query}`);
    if (response.status === 200) expect(await allOf(response)).toEqual("refused");
    expect(response.status).toBe(400);
  });
});

describe("logs of ended attempts", () => {
  const usage = { wallMs: 0, cpuMs: 0, memoryPeakBytes: 0, bytesIn: 0, bytesOut: 0 };
  const result = {
    ...{ index: 0, startedAtMs: 1, endedAtMs: 2, inputs: [], outputs: [], stdout: "line 1\nline 2\n" },
    outcome: "done" as const,
    usage,
  };

  test("come from the functions, whole or the last bytes, never as something that a browser runs", async () => {
    const { functions, fake, id } = await setUp();
    fake.logs.set(`${id} hello/0`, { kind: "ended", attempt: 4, result });
    const whole = await get(functions, `/v1/experiments/${id}/tasks/hello/0/log`);
    expect(await whole.text()).toBe("line 1\nline 2\n");
    expect(Object.fromEntries(whole.headers)).toMatchObject({
      ...{ "x-log-attempt": "4", "x-log-bytes": "14", "x-log-outcome": "done", "content-type": "application/octet-stream" },
      ...{ "x-content-type-options": "nosniff", "content-security-policy": "default-src 'none'; sandbox" },
    });
    expect(await (await get(functions, `/v1/experiments/${id}/tasks/hello/0/log?tail=7`)).text()).toBe("line 2\n");
    expect(await (await get(functions, `/v1/experiments/${id}/tasks/hello/0/log?stream=stderr`)).text()).toBe("");
  });

  test("that still grow are at the gateway: the answer and the task name its address", async () => {
    const { functions, fake, id } = await setUp();
    fake.gatewayUrl = "http://gateway:1";
    const address = `http://gateway:1/v1/experiments/${id}/tasks/hello/0/log/follow`;
    const response = await get(functions, `/v1/experiments/${id}/tasks/hello/0/log`);
    expect([response.status, response.headers.get("link")]).toEqual([409, `<${address}>; rel="monitor"`]);
    const task = (await (await get(functions, `/v1/experiments/${id}/tasks/hello/0`)).json()) as { links: unknown };
    expect(task.links).toEqual({ log: address });
    const view = (await (await get(functions, `/v1/experiments/${id}`)).json()) as { links: unknown };
    expect(view.links).toEqual({ events: `http://gateway:1/v1/experiments/${id}/events` });
    const health = (await (await get(functions, "/v1/health")).json()) as { links: unknown };
    expect(health.links).toEqual({ gateway: "http://gateway:1" });
  });
});

test("metrics are refused to whoever may not read them", async () => {
  const { app, live } = await setUp();
  expect(await (await get(app, "/metrics")).text()).toContain("airavata_gateway_workers 1");
  live.mayReadMetrics = false;
  expect((await get(app, "/metrics")).status).toBe(403);
});

test("each host serves its own routes only", async () => {
  const { app, functions, id } = await setUp();
  expect((await get(functions, `/v1/experiments/${id}/events`)).status).toBe(404);
  expect((await get(app, "/v1/experiments")).status).toBe(404);
  expect((await app.fetch(new Request("http://test/health", { method: "POST" }))).status).toBe(405);
});
