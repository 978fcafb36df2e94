/**
 * What the gateway serves: streams of server-sent events, its metrics and its health. A stream ends when its user may no longer
 * see it: that is asked again every {@link RECHECK_MS}. Nothing is produced that nobody reads: whoever is slow waits, alone.
 */
import { EVENT_STREAM_TYPE, encodeEvent, HEARTBEAT, type StreamEvent } from "#api/event-stream.ts";
import { problemOf } from "#api/problem.ts";
import type { GatewayOperation, QueryOf } from "#api/routes.ts";
import { SchedulerError } from "#domain/error.ts";
import type { ExperimentId } from "#domain/id.ts";
import type { Call, Handlers } from "./call.ts";
import { HEARTBEAT_MS, RECHECK_MS, STREAMS_MAX, STREAMS_OF_USER_MAX } from "./limits.ts";
import { Refusal } from "./problem-response.ts";

export interface Subscription {
  /** What has happened since the last call; waits for something until `signal` aborts, then gives nothing. Throws when it has ended. */
  next(signal: AbortSignal): Promise<readonly StreamEvent[]>;
  close(): void;
}

export interface LiveLogRequest {
  readonly experiment: ExperimentId;
  readonly task: { readonly set: string; readonly number: number };
  readonly stream: "stdout" | "stderr";
  readonly attempt?: number;
  readonly offset: number;
  readonly tail?: number;
  readonly follow: boolean;
}

export interface LiveDeps {
  /** Events behind the one of the id, or a snapshot first. */
  readonly subscribe: (id: ExperimentId, after: string | undefined) => Subscription;
  readonly followLog: (request: LiveLogRequest, signal: AbortSignal) => AsyncGenerator<StreamEvent>;
  readonly metrics: () => Promise<string>;
  /** Whether this request may see them. */
  readonly mayReadMetrics: (request: Request) => boolean;
  readonly gatewayHealth: () => Promise<{
    readonly status: "ok" | "degraded";
    readonly version: string;
    readonly gateway: string;
    readonly upSinceMs: number;
    readonly workers: number;
    readonly parts: Record<string, "ok" | "down">;
  }>;
  readonly clock: { now(): number; sleep(ms: number, signal?: AbortSignal): Promise<void> };
  /** Told of each stream that opens (1) and closes (-1). */
  readonly onStream: (kind: "events" | "log", change: 1 | -1) => void;
}

type StreamCall = Call<"followExperiment"> | Call<"followTaskLog">;
type Pieces = (signal: AbortSignal) => AsyncGenerator<string>;

/** A generator that says something at least every {@link HEARTBEAT_MS}, whatever the source does. */
async function* withHeartbeat(deps: LiveDeps, source: AsyncGenerator<StreamEvent>, signal: AbortSignal): AsyncGenerator<string> {
  let pending = source.next();
  try {
    while (!signal.aborted) {
      const quiet = new AbortController();
      const stop = () => quiet.abort();
      signal.addEventListener("abort", stop, { once: true });
      const beat = deps.clock.sleep(HEARTBEAT_MS, quiet.signal).then(() => "beat" as const);
      const first = await Promise.race([pending, beat]).finally(() => {
        signal.removeEventListener("abort", stop);
        stop();
      });
      if (first === "beat") yield HEARTBEAT;
      else if (first.done === true) return;
      else {
        yield encodeEvent(first.value);
        pending = source.next();
      }
    }
  } finally {
    pending.catch(() => undefined); // nobody is there to be told
    void source.return(undefined);
  }
}

/** The last word of a stream that the server ends. */
function lastWord(event: string, error: unknown): string {
  const { code, detail } = problemOf(error);
  return encodeEvent({ event, data: { code, message: detail } });
}

export function createLiveHandlers(deps: LiveDeps): Handlers<GatewayOperation> {
  const streams = new Map<string, number>();
  let open = 0;

  function enter(user: string): () => void {
    const mine = streams.get(user) ?? 0;
    if (mine >= STREAMS_OF_USER_MAX || open >= STREAMS_MAX) {
      const whose =
        mine >= STREAMS_OF_USER_MAX ? `this account has ${mine} streams open here` : "this gateway has as many streams as it takes";
      throw new Refusal("rate-limited", `${whose}: close some, or try again later`, { "retry-after": "5" });
    }
    streams.set(user, mine + 1);
    open++;
    return () => {
      const left = (streams.get(user) ?? 1) - 1;
      if (left === 0) streams.delete(user);
      else streams.set(user, left);
      open--;
    };
  }

  /** A response whose pieces are made when its reader asks for them. */
  function respond(kind: "events" | "log", call: StreamCall, lastEvent: string, pieces: Pieces): Response {
    const leave = enter(call.user.id);
    deps.onStream(kind, 1);
    const gone = new AbortController();
    const source = pieces(gone.signal);
    let checkedMs = deps.clock.now();
    let isOver = false;
    const finish = () => {
      if (isOver) return;
      isOver = true;
      gone.abort();
      void source.return(undefined);
      leave();
      deps.onStream(kind, -1);
    };
    call.request.signal.addEventListener("abort", finish, { once: true });
    const encoder = new TextEncoder();
    const body = new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          try {
            const { value, done } = await source.next();
            if (deps.clock.now() - checkedMs >= RECHECK_MS) {
              await call.recheck();
              checkedMs = deps.clock.now();
            }
            if (done !== true && !isOver) return controller.enqueue(encoder.encode(value));
          } catch (error) {
            if (!isOver) controller.enqueue(encoder.encode(lastWord(lastEvent, error)));
          }
          finish();
          controller.close();
        },
        cancel: finish,
      },
      { highWaterMark: 0 },
    );
    return new Response(body, { headers: { "content-type": EVENT_STREAM_TYPE, "x-accel-buffering": "no" } });
  }

  async function* events(id: ExperimentId, after: string | undefined, signal: AbortSignal): AsyncGenerator<StreamEvent> {
    const subscription = deps.subscribe(id, after);
    try {
      while (!signal.aborted) yield* await subscription.next(signal);
    } finally {
      subscription.close();
    }
  }

  return {
    followExperiment: async (call) => {
      const after = lastIdOf(call.request, call.query.after);
      return respond("events", call, "end", async function* (signal) {
        yield HEARTBEAT; // the headers go out with the first piece
        yield* withHeartbeat(deps, events(call.params.id, after, signal), signal);
      });
    },
    followTaskLog: async (call) => {
      const { id, set, number } = call.params;
      const request = { experiment: id, task: { set, number }, ...fromWhere(call.request, call.query) };
      return respond("log", call, "cut-off", async function* (signal) {
        yield HEARTBEAT;
        yield* withHeartbeat(deps, deps.followLog(request, signal), signal);
      });
    },
    getMetrics: async ({ request }) => {
      if (!deps.mayReadMetrics(request))
        throw new SchedulerError("forbidden", "metrics are for this machine alone, or with the token of metrics");
      return new Response(await deps.metrics(), { headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" } });
    },
    getGatewayHealth: () => deps.gatewayHealth(),
  };
}

const lastIdOf = (request: Request, after: string | undefined): string | undefined => request.headers.get("last-event-id") ?? after;

/** The id of a chunk is `<attempt>.<offset behind it>`. */
function fromWhere(request: Request, query: QueryOf<"followTaskLog">) {
  const { stream, attempt, offset, tail } = query;
  const follow = query.follow === "true";
  const last = lastIdOf(request, query.after);
  const m = last === undefined ? null : /^(\d{1,10})\.(\d{1,16})$/.exec(last);
  if (last !== undefined && (m === null || !Number.isSafeInteger(Number(m[2]))))
    throw new SchedulerError("invalid-input", "the id is none of this log's: begin without it");
  if (m !== null) return { stream, follow, attempt: Number(m[1]), offset: Number(m[2]) };
  return { stream, follow, offset, ...(attempt === undefined ? {} : { attempt }), ...(tail === undefined ? {} : { tail }) };
}
