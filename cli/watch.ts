/**
 * Follows an experiment until it ends: by the gateway's events, and by asking again and again while no gateway is to be had.
 * On a terminal bars are redrawn, with failures above them as they come; elsewhere there are plain lines, with --json events.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "#api/client.ts";
import { readEvents, type StreamEvent } from "#api/event-stream.ts";
import type { AnswerOf } from "#api/routes.ts";
import { EXPERIMENT_EVENTS } from "#api/schema/stream-events.ts";
import { SchedulerError } from "#domain/error.ts";
import type { ExperimentId } from "#domain/id.ts";
import { EXIT } from "./exit-code.ts";
import { readExperimentId } from "./experiment-id.ts";
import { clean, showCount } from "./output.ts";
import { describe, hasEnded, nextSteps, progressLine, totalsOf } from "./progress.ts";
import { connect, connectLive, type Session } from "./session.ts";

const POLL_FIRST_MS = 200;
const POLL_MAX_MS = 2_000;
const POLL_GROWTH = 1.2;
/** A gateway that was not to be had is asked again after this long; meanwhile the server is polled. */
const STREAM_AGAIN_MS = 5_000;
/** A server that was heard from may be away this long (an update, a lost network) before watching ends. */
const PATIENCE_MS = 600_000;
/** Plain lines come at most this often. */
const LINE_EVERY_MS = 2_000;
const REDRAW_MS = 1_000;
const RATE_WINDOW_MS = 15_000;
/** Failed tasks that the server is asked for at a time. */
const FAILURES_ASKED_MAX = 20;
/** Failures that were told of are remembered, so that a snapshot does not tell them again. */
const TOLD_MAX = 10_000;

type View = AnswerOf<"getExperiment">;

interface Sample {
  readonly atMs: number;
  readonly ended: number;
}

/** Tasks per second over the last seconds; `undefined` until there are two samples. */
function rateOf(samples: Sample[], now: Sample): number | undefined {
  samples.push(now);
  while (samples.length > 2 && now.atMs - (samples[0]?.atMs ?? 0) > RATE_WINDOW_MS) samples.shift();
  const first = samples[0];
  if (first === undefined || now.atMs <= first.atMs) return undefined;
  return ((now.ended - first.ended) * 1000) / (now.atMs - first.atMs);
}

interface Screen {
  show(view: View, above?: readonly string[]): void;
  close(): void;
}

/** Redrawn bars on a terminal, else a line when something changed. */
function createScreen({ output, io }: Session): Screen {
  const samples: Sample[] = [];
  let shown = "";
  let shownAtMs = Number.NEGATIVE_INFINITY;
  let last: View | undefined;
  const redraw = (view: View, above: readonly string[]) => {
    const nowMs = Date.now();
    const { done, failed, skipped } = totalsOf(view.sets);
    const perSecond = rateOf(samples, { atMs: nowMs, ended: done + failed + skipped });
    output.redraw(describe(view, output, { nowMs, ...(perSecond === undefined ? {} : { perSecond }) }), above);
  };
  const again = () => {
    if (last !== undefined) redraw(last, []);
  };
  // Time goes on, and windows change, while nothing happens.
  const timer = output.live ? setInterval(again, REDRAW_MS) : undefined;
  if (output.live) io.stderr.on("resize", again);
  return {
    show(view, above = []) {
      last = view;
      if (output.live) return redraw(view, above);
      for (const line of above) output.note(line);
      const line = progressLine(view);
      const nowMs = Date.now();
      if (line === shown || (nowMs - shownAtMs < LINE_EVERY_MS && !hasEnded(view))) return;
      output.note(line);
      shown = line;
      shownAtMs = nowMs;
    },
    close() {
      clearInterval(timer);
      io.stderr.off("resize", again);
    },
  };
}

type Failure = ReturnType<(typeof EXPERIMENT_EVENTS)["task-failed"]["parse"]>;

const failureLine = (f: Failure): string =>
  clean(
    `failed: ${f.task} (${f.cause}${f.exitCode === undefined ? "" : `, exit code ${f.exitCode}`})${f.message === undefined ? "" : `: ${f.message}`}`,
  );

/** Applies events to what is known of the experiment. */
class Watched {
  view: View | undefined;
  after: string | undefined;
  readonly #told = new Set<string>();

  /** Those that were not told of yet. */
  fresh(failures: readonly Failure[]): Failure[] {
    return failures.filter((f) => {
      const name = `${f.task} ${f.attempt}`;
      if (this.#told.has(name) || this.#told.size >= TOLD_MAX) return false;
      this.#told.add(name);
      return true;
    });
  }

  #tell = (failures: readonly Failure[]): string[] => this.fresh(failures).map(failureLine);

  /** Lines about it; throws what the server ends a stream by. */
  apply({ event, id, data }: StreamEvent): string[] {
    this.after = id ?? this.after;
    if (event === "snapshot") {
      const { view, failures } = EXPERIMENT_EVENTS.snapshot.parse(data);
      this.view = view;
      return this.#tell(failures);
    }
    if (event === "task-failed") return this.#tell([EXPERIMENT_EVENTS["task-failed"].parse(data)]);
    if (event === "tasks-failed") {
      const { set, count } = EXPERIMENT_EVENTS["tasks-failed"].parse(data);
      return [`failed: ${showCount(count)} more tasks of ${clean(set)}`];
    }
    if (event === "worker-joined" || event === "worker-lost") {
      const { worker, host } = EXPERIMENT_EVENTS[event].parse(data);
      return event === "worker-lost" ? [clean(`worker lost: ${worker}${host === undefined ? "" : ` on ${host}`}`)] : [];
    }
    if (event === "end") {
      const { code, message } = EXPERIMENT_EVENTS.end.parse(data);
      const kind = (["unauthenticated", "forbidden", "not-found"] as const).find((known) => known === code);
      throw new SchedulerError(kind ?? "unavailable", message);
    }
    this.#change(event, data);
    return [];
  }

  #change(event: string, data: unknown): void {
    if (this.view === undefined) return;
    if (event === "progress") {
      const { sets } = EXPERIMENT_EVENTS.progress.parse(data);
      this.view = { ...this.view, sets: this.view.sets.map((old) => sets.find((s) => s.set === old.set) ?? old) };
    } else if (event === "state") this.view = { ...this.view, ...EXPERIMENT_EVENTS.state.parse(data) };
  }
}

/** One stream, until the experiment has ended or the stream has. */
async function readStream(
  session: Session,
  id: ExperimentId,
  link: string,
  watched: Watched,
  heard: (lines: string[]) => void,
): Promise<void> {
  const client = await connectLive(session, link);
  const query = watched.after === undefined ? {} : { after: watched.after };
  const response = await client.open("followExperiment", { params: { id }, query, signal: session.signal });
  for await (const event of readEvents(response.body as unknown as AsyncIterable<Uint8Array>)) {
    if (event === undefined) continue;
    if (session.output.json) session.output.line(JSON.stringify({ event: event.event, ...(event.data as object) }));
    heard(watched.apply(event));
    if (watched.view !== undefined && hasEnded(watched.view)) return;
  }
}

/** Failed tasks as the server tells them when it is asked: for those who get no events. */
async function failuresOf(client: Client, id: ExperimentId, signal: AbortSignal): Promise<Failure[]> {
  const page = await client.call("listTasks", { params: { id }, query: { state: "FAILED", limit: FAILURES_ASKED_MAX }, signal });
  return Promise.all(
    page.items.map(async ({ task, set, number }): Promise<Failure> => {
      const [last] = (await client.call("getTask", { params: { id, set, number }, signal })).history;
      const { outcome, exitCode, message } = last?.result ?? {};
      const cause = outcome === undefined || outcome === "done" ? "node-lost" : outcome;
      const told = { ...(exitCode === undefined ? {} : { exitCode }), ...(message === undefined ? {} : { message }) };
      return { task, set, number, cause, ...(last === undefined ? {} : { attempt: last.epoch, worker: last.worker }), ...told };
    }),
  );
}

const mayPass = (error: unknown): boolean => !(error instanceof SchedulerError) || error.disposition === "retryable";

async function untilEnd(client: Client, session: Session, id: ExperimentId, screen: Screen, events: boolean): Promise<View | undefined> {
  const { output, signal } = session;
  const watched = new Watched();
  let heardAtMs = Number.NEGATIVE_INFINITY;
  let streamAtMs = 0;
  let asked = 0;
  const heard = (lines: readonly string[]) => {
    heardAtMs = Date.now();
    if (watched.view !== undefined) screen.show(watched.view, lines);
  };
  /** Once for each change of their number. */
  async function askForFailures(view: View): Promise<string[]> {
    const { failed } = totalsOf(view.sets);
    if (!events || failed === asked) return [];
    asked = failed;
    const fresh = failed === 0 ? [] : watched.fresh(await failuresOf(client, id, signal));
    if (output.json) for (const f of fresh) output.line(JSON.stringify({ event: "task-failed", ...f }));
    return fresh.map(failureLine);
  }
  /** Asks the server, then listens to the gateway while there is one. */
  async function look(): Promise<View> {
    const view = await client.call("getExperiment", { params: { id }, signal });
    watched.view = view;
    heard(await askForFailures(view));
    if (hasEnded(view) || !events || view.links === undefined || Date.now() < streamAtMs) return view;
    streamAtMs = Date.now() + STREAM_AGAIN_MS;
    await readStream(session, id, view.links.events, watched, heard);
    return view;
  }
  function endure(error: unknown): void {
    if (!mayPass(error) || Date.now() - heardAtMs > PATIENCE_MS) throw error;
    if (watched.view === undefined) output.note(`${error instanceof Error ? error.message : error}; trying again`);
  }
  for (let waitMs = POLL_FIRST_MS; !signal.aborted; waitMs = Math.min(POLL_MAX_MS, waitMs * POLL_GROWTH)) {
    try {
      const view = await look();
      if (hasEnded(view)) return view;
    } catch (error) {
      if (!signal.aborted) endure(error);
    }
    await sleep(waitMs, undefined, { signal }).catch(() => undefined);
  }
  return undefined;
}

/** `jsonEvents`: with --json every event is a line; else the last view alone. */
export async function follow(client: Client, session: Session, id: ExperimentId, { jsonEvents = false } = {}): Promise<number> {
  const { output } = session;
  const screen = createScreen(session);
  try {
    const view = await untilEnd(client, session, id, screen, !output.json || jsonEvents);
    if (view === undefined) {
      output.note(`it goes on running. Follow it: airavata experiment watch ${id}; stop it: airavata experiment cancel ${id}`);
      return EXIT.failed;
    }
    if (output.json && jsonEvents) output.line(JSON.stringify({ event: "ended", view }));
    else output.result(view, () => (output.live ? [] : describe(view, output)));
    for (const step of nextSteps(view)) output.note(step);
    return view.status === "COMPLETED" ? EXIT.done : EXIT.failed;
  } finally {
    screen.close();
  }
}

export async function watch(session: Session, _: object, args: readonly string[]): Promise<number> {
  const id = readExperimentId(args[0]);
  return follow(await connect(session), session, id, { jsonEvents: true });
}
