/**
 * Events of experiments for those who look at them. All readers of an experiment share one feed: it looks at the store at a
 * bounded rate while somebody reads, sooner when this gateway has just committed something of it, and turns what changed into
 * events. The latest are kept in a ring; a reader is a place in it, so a slow one costs nothing and begins with a snapshot
 * when the ring has passed it by. Ids are of one feed of one gateway: any other gateway answers them with a snapshot.
 */
import type { Observation, Observed, TaskFailure } from "#core/experiment-orchestrator/index.ts";
import { SchedulerError } from "#domain/error.ts";
import { isTerminal } from "#domain/experiment.ts";
import type { ExperimentId } from "#domain/id.ts";
import type { Clock } from "#ports/clock.ts";
import type { Logger } from "#ports/logger.ts";
import { EVENTS_KEPT, FAILURES_SHOWN, FEED_DUTY, FEED_IDLE_MS, FEEDS_MAX, LOOK_HINTED_MS, LOOK_MS, LOOK_QUIET_MS } from "./limits.ts";

export interface FeedEvent {
  readonly event: string;
  readonly id?: string;
  readonly data: unknown;
}

export interface FeedReader {
  /** Events behind the place of this reader; waits for one until `signal` aborts. Throws why the feed has ended. */
  next(signal: AbortSignal): Promise<readonly FeedEvent[]>;
  close(): void;
}

export interface EventFeeds {
  /** `after`: id of the last event that the reader has. */
  subscribe(id: ExperimentId, after: string | undefined): FeedReader;
  /** Something of the experiment has just changed here. */
  hint(id: ExperimentId): void;
  /** Feeds that are kept, for metrics and tests. */
  size(): number;
}

export interface EventFeedsDeps {
  readonly observe: (id: ExperimentId) => Observation;
  readonly clock: Clock;
  readonly random: { bytes(n: number): Uint8Array };
  readonly logger: Pick<Logger, "warn">;
}

type Body = Pick<FeedEvent, "event" | "data">;

const taskOf = (f: TaskFailure) => ({ task: `${f.set}/${f.number}`, ...f });

/** What is different. */
export function eventsBetween(before: Observed | undefined, now: Observed): Body[] {
  if (before === undefined) return [];
  const events: Body[] = [];
  const sets = now.view.sets.filter((s, i) => JSON.stringify(s) !== JSON.stringify(before.view.sets[i]));
  for (const worker of now.joined) events.push({ event: "worker-joined", data: worker });
  for (const worker of now.lost) events.push({ event: "worker-lost", data: worker });
  for (const failure of now.failures) events.push({ event: "task-failed", data: taskOf(failure) });
  for (const [set, count] of now.moreFailures) events.push({ event: "tasks-failed", data: { set, count } });
  if (sets.length > 0) events.push({ event: "progress", data: { sets } });
  const { status, startedAtMs, endedAtMs } = now.view;
  if (status !== before.view.status) {
    const times = { ...(startedAtMs === undefined ? {} : { startedAtMs }), ...(endedAtMs === undefined ? {} : { endedAtMs }) };
    events.push({ event: "state", data: { status, ...times } });
  }
  return events;
}

interface Feed {
  readonly name: string;
  readonly observation: Observation;
  ring: FeedEvent[];
  /** Number of the newest event. */
  last: number;
  current: Observed | undefined;
  readers: number;
  idleSinceMs: number;
  running: boolean;
  ended: unknown;
  /** Resolved at every change. */
  news: PromiseWithResolvers<void>;
  hinted: AbortController;
}

const ID_BYTES = 6;

export function createEventFeeds(deps: EventFeedsDeps): EventFeeds {
  const feeds = new Map<ExperimentId, Feed>();

  function tell(feed: Feed): void {
    const { news } = feed;
    feed.news = Promise.withResolvers();
    news.resolve();
  }

  function publish(feed: Feed, now: Observed): void {
    const before = feed.last;
    for (const body of eventsBetween(feed.current, now)) feed.ring.push({ ...body, id: `${feed.name}.${++feed.last}` });
    if (feed.ring.length > EVENTS_KEPT) feed.ring = feed.ring.slice(-EVENTS_KEPT);
    const isFirst = feed.current === undefined;
    const failing = new Set(now.view.sets.flatMap((s) => (s.failed > 0 ? [s.set] : [])));
    const failures = [...(feed.current?.failures ?? []), ...now.failures].filter((f) => failing.has(f.set)).slice(-FAILURES_SHOWN);
    feed.current = { ...now, failures };
    if (isFirst || feed.last > before) tell(feed);
  }

  /** A hint ends the pause early, but leaves the store in peace for as long as the look has earned. */
  async function rest(feed: Feed, pauseMs: number, tookMs: number): Promise<void> {
    const leastMs = Math.max(LOOK_HINTED_MS, FEED_DUTY * tookMs);
    await deps.clock.sleep(leastMs);
    if (pauseMs > leastMs) await deps.clock.sleep(pauseMs - leastMs, feed.hinted.signal);
  }

  async function run(id: ExperimentId, feed: Feed): Promise<void> {
    while (feed.readers > 0 && feed.ended === undefined) {
      feed.hinted = new AbortController();
      const begunMs = deps.clock.now();
      let pauseMs = LOOK_MS;
      try {
        publish(feed, await feed.observation.look());
        if (feed.current !== undefined && isTerminal(feed.current.view.status)) pauseMs = LOOK_QUIET_MS;
      } catch (error) {
        if (error instanceof SchedulerError && error.kind === "not-found") return end(id, feed, error);
        deps.logger.warn("an experiment could not be looked at", { experiment: id, reason: String(error) });
        pauseMs = LOOK_QUIET_MS;
      }
      await rest(feed, pauseMs, deps.clock.now() - begunMs);
    }
    feed.running = false;
  }

  function end(id: ExperimentId, feed: Feed, why: unknown): void {
    feed.ended = why;
    feed.running = false;
    if (feeds.get(id) === feed) feeds.delete(id);
    tell(feed);
  }

  /** Feeds without readers go when they have had none for a while, and the longest unread ones when there are too many. */
  function sweep(): void {
    for (const [id, feed] of feeds) {
      const isIdle = feed.readers === 0;
      if (isIdle && (deps.clock.now() - feed.idleSinceMs > FEED_IDLE_MS || feeds.size > FEEDS_MAX)) feeds.delete(id);
    }
  }

  function feedOf(id: ExperimentId): Feed {
    sweep();
    const known = feeds.get(id);
    if (known !== undefined) return known;
    const feed: Feed = {
      ...{ name: Buffer.from(deps.random.bytes(ID_BYTES)).toString("hex"), observation: deps.observe(id) },
      ...{ ring: [], last: 0, current: undefined, readers: 0, idleSinceMs: deps.clock.now(), running: false, ended: undefined },
      ...{ news: Promise.withResolvers<void>(), hinted: new AbortController() },
    };
    feeds.set(id, feed);
    return feed;
  }

  const snapshotOf = (feed: Feed, { view, failures }: Observed): FeedEvent => ({
    event: "snapshot",
    id: `${feed.name}.${feed.last}`,
    data: { view, failures: failures.map(taskOf) },
  });

  return {
    subscribe(id, after) {
      const feed = feedOf(id);
      feed.readers++;
      let place = placeIn(feed, after);
      let open = true;
      const take = (): readonly FeedEvent[] => {
        if (feed.current === undefined) return [];
        const oldest = feed.last - feed.ring.length;
        const events = place === undefined || place < oldest ? [snapshotOf(feed, feed.current)] : feed.ring.slice(place - oldest);
        place = feed.last;
        return events;
      };
      if (!feed.running) {
        feed.running = true;
        void run(id, feed);
      }
      return {
        async next(signal) {
          const aborted = Promise.withResolvers<void>();
          const stop = () => aborted.resolve();
          signal.addEventListener("abort", stop, { once: true });
          try {
            while (!signal.aborted) {
              if (feed.ended !== undefined) throw feed.ended;
              const events = take();
              if (events.length > 0) return events;
              await Promise.race([feed.news.promise, aborted.promise]);
            }
            return [];
          } finally {
            signal.removeEventListener("abort", stop);
          }
        },
        close() {
          if (!open) return;
          open = false;
          feed.readers--;
          feed.idleSinceMs = deps.clock.now();
        },
      };
    },
    hint(id) {
      const feed = feeds.get(id);
      if (feed !== undefined && feed.readers > 0) feed.hinted.abort();
    },
    size: () => feeds.size,
  };
}

/** `undefined`: it is of another feed, or of none. */
function placeIn(feed: Feed, after: string | undefined): number | undefined {
  const [name, n, ...rest] = (after ?? "").split(".");
  if (name !== feed.name || n === undefined || rest.length > 0 || !/^\d{1,15}$/.test(n) || Number(n) > feed.last) return undefined;
  return Number(n);
}
