/** Feeds of an experiment's events: what changed is told once, in order, to everybody, whoever is slow, gone or back again. */
import { describe, expect, test } from "vitest";
import { EXPERIMENT_EVENTS } from "#api/schema/stream-events.ts";
import type { ExperimentView, Observed, TaskFailure } from "#core/experiment-orchestrator/index.ts";
import { SchedulerError } from "#domain/error.ts";
import { makeId, personalProject } from "#domain/id.ts";
import { createEventFeeds, type FeedEvent, type FeedReader } from "../../worker/gateway/event-feed.ts";
import { EVENTS_KEPT, FEED_IDLE_MS, FEEDS_MAX, LOOK_HINTED_MS, LOOK_MS } from "../../worker/gateway/limits.ts";
import { createFakeClock } from "../support/fake-clock.ts";

const ID = makeId("experiment", 1, new Uint8Array(10));
const OWNER = makeId("user", 1, new Uint8Array(10));
const never = new AbortController().signal;

const view = (done: number, over: Partial<ExperimentView> = {}): ExperimentView => ({
  ...{
    id: ID,
    name: "e",
    owner: OWNER,
    project: personalProject(OWNER),
    status: "RUNNING",
    priority: 0,
    weight: 1,
    labels: {},
    createdAtMs: 1,
    tasks: 10,
  },
  sets: [{ set: "a", total: 10, done, failed: 0, skipped: 0, leased: 1 }],
  ...over,
});
const observed = (v: ExperimentView, over: Partial<Observed> = {}): Observed => ({
  ...{ view: v, failures: [], moreFailures: new Map(), joined: [], lost: [] },
  ...over,
});

function setUp() {
  const clock = createFakeClock();
  const state = { now: observed(view(0)), looks: 0, error: undefined as unknown };
  let byte = 0;
  const feeds = createEventFeeds({
    clock,
    random: { bytes: (n) => new Uint8Array(n).fill(++byte) },
    logger: { warn: () => undefined },
    observe: () => ({
      async look() {
        state.looks++;
        if (state.error !== undefined) throw state.error;
        const { now } = state;
        state.now = { ...now, failures: [], moreFailures: new Map(), joined: [], lost: [] };
        return now;
      },
    }),
  });
  /** Lets it look, then takes what there is. */
  async function take(reader: FeedReader): Promise<readonly FeedEvent[]> {
    const limit = new AbortController();
    const next = reader.next(limit.signal);
    await clock.advance(LOOK_MS);
    limit.abort();
    const events = await next;
    for (const { event, data } of events) EXPERIMENT_EVENTS[event as keyof typeof EXPERIMENT_EVENTS].parse(data);
    return events;
  }
  return { clock, state, feeds, take };
}

const names = (events: readonly FeedEvent[]) => events.map((e) => e.event);

describe("a reader", () => {
  test("gets a snapshot first, then what changes, and nothing while nothing does", async () => {
    const { feeds, take, state } = setUp();
    const reader = feeds.subscribe(ID, undefined);
    expect(names(await take(reader))).toEqual(["snapshot"]);
    expect(await take(reader)).toEqual([]);
    const failure: TaskFailure = { set: "a", number: 3, cause: "exit", attempt: 2, worker: "wrk_1#1", exitCode: 7 };
    state.now = observed(view(4, { status: "PAUSED", startedAtMs: 5 }), {
      ...{ failures: [failure], moreFailures: new Map([["a", 12]]), joined: [{ worker: "w#1", host: "h" }], lost: [{ worker: "v#1" }] },
    });
    const events = await take(reader);
    expect(names(events)).toEqual(["worker-joined", "worker-lost", "task-failed", "tasks-failed", "progress", "state"]);
    expect(events[2]?.data).toEqual({ task: "a/3", ...failure });
    expect(events.at(-1)?.data).toEqual({ status: "PAUSED", startedAtMs: 5 });
    expect(new Set(events.map((e) => e.id)).size).toBe(6);
  });

  test("that comes back with its last id gets what it missed, each once", async () => {
    const { feeds, take, state } = setUp();
    const first = feeds.subscribe(ID, undefined);
    const last = (await take(first)).at(-1)?.id;
    first.close();
    const other = feeds.subscribe(ID, undefined);
    for (const done of [1, 2, 3]) {
      state.now = observed(view(done));
      await take(other);
    }
    const back = feeds.subscribe(ID, last);
    const missed = await take(back);
    expect(missed.map((e) => (e.data as { sets: { done: number }[] }).sets[0]?.done)).toEqual([1, 2, 3]);
    expect(names(await take(feeds.subscribe(ID, missed[1]?.id)))).toEqual(["progress"]);
  });

  test.each(["0.0", "", "nonsense", "ffffffffffff.3", "010101010101.99", "010101010101.1.2", "010101010101.-1"])(
    "with the id %j, which is none of this feed, gets a snapshot",
    async (id) => {
      const { feeds, take } = setUp();
      await take(feeds.subscribe(ID, undefined));
      expect(names(await take(feeds.subscribe(ID, id)))).toEqual(["snapshot"]);
    },
  );

  test("that is too slow begins anew with a snapshot of now, and nobody kept more than the ring for it", async () => {
    const { feeds, take, state } = setUp();
    const slow = feeds.subscribe(ID, undefined);
    const quick = feeds.subscribe(ID, undefined);
    await take(slow);
    for (let done = 1; done <= EVENTS_KEPT + 1; done++) {
      state.now = observed(view(done));
      await take(quick);
    }
    const events = await take(slow);
    expect(names(events)).toEqual(["snapshot"]);
    expect(events[0]).toMatchObject({ data: { view: { sets: [{ done: EVENTS_KEPT + 1 }] } } });
    expect(await take(slow)).toEqual([]);
  });

  test("learns that the experiment is gone", async () => {
    const { feeds, take, state, clock } = setUp();
    const reader = feeds.subscribe(ID, undefined);
    await take(reader);
    state.error = new SchedulerError("not-found", "deleted");
    const next = reader.next(never);
    next.catch(() => undefined);
    await clock.advance(LOOK_MS);
    await expect(next).rejects.toThrow("deleted");
    expect(feeds.size()).toBe(0);
  });

  test("goes on when the store was away for a while", async () => {
    const { feeds, take, state, clock } = setUp();
    const reader = feeds.subscribe(ID, undefined);
    await take(reader);
    state.error = new SchedulerError("unavailable", "away");
    expect(await take(reader)).toEqual([]);
    state.error = undefined;
    state.now = observed(view(9));
    await clock.advance(60_000);
    expect(names(await take(reader))).toEqual(["progress"]);
  });
});

describe("the store", () => {
  test("is looked at once for all readers, at a bounded rate, and not at all without any", async () => {
    const { feeds, state, clock, take } = setUp();
    const readers = Array.from({ length: 20 }, () => feeds.subscribe(ID, undefined));
    await take(readers[0] as FeedReader);
    const before = state.looks;
    await clock.advance(10 * LOOK_MS);
    expect(state.looks - before).toBeLessThanOrEqual(10);
    expect(state.looks - before).toBeGreaterThanOrEqual(9);
    for (const reader of readers) reader.close();
    await clock.advance(2 * LOOK_MS);
    const then = state.looks;
    await clock.advance(100 * LOOK_MS);
    expect(state.looks).toBe(then);
  });

  test("is looked at sooner after a hint, but no more often than the least pause allows", async () => {
    const { feeds, state, clock, take } = setUp();
    await take(feeds.subscribe(ID, undefined));
    const before = state.looks;
    for (let ms = 0; ms < 5_000; ms += 10) {
      feeds.hint(ID);
      await clock.advance(10);
    }
    expect(state.looks - before).toBeGreaterThan(10);
    expect(state.looks - before).toBeLessThanOrEqual(5_000 / LOOK_HINTED_MS + 1);
  });

  test("feeds without readers are forgotten in time, and all but a bounded number at once", async () => {
    const { feeds, clock } = setUp();
    for (let i = 0; i < FEEDS_MAX + 50; i++) feeds.subscribe(makeId("experiment", i + 2, new Uint8Array(10)), undefined).close();
    expect(feeds.size()).toBeLessThanOrEqual(FEEDS_MAX + 1);
    await clock.advance(FEED_IDLE_MS + LOOK_MS);
    feeds.subscribe(ID, undefined).close();
    expect(feeds.size()).toBe(1);
  });
});
