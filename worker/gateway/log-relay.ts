/**
 * Reads of running attempts' logs through the workers' streams. Readers of the same place share one read; one chunk is
 * remembered for each log, so that a reader a step behind costs the worker nothing. Nothing is read ahead: a worker sends
 * what somebody asked for, and memory does not depend on how slow readers are.
 */
import type { LogStream } from "#domain/task-log.ts";
import type { GatewayMessage, LogChunk } from "#protocol/gen/worker.ts";
import { LOG_CHUNK_BYTES_MAX } from "#protocol/limits.ts";
import { LOG_ANSWER_WAIT_MS, LOG_CHUNKS_KEPT } from "./limits.ts";

export interface LogPlaceAt {
  /** {@link workerName} of the incarnation that holds the lease. */
  readonly worker: string;
  readonly lease: string;
  readonly index: number;
  readonly stream: LogStream;
  readonly offset: number;
}

export type LogAnswer =
  /** `data` is empty when nothing came for a while, or when `offset` is the end and lies before what was asked for. */
  | { readonly kind: "data"; readonly offset: number; readonly data: Uint8Array }
  /** No such attempt waits or runs at the worker. */
  | { readonly kind: "over" }
  /** The worker has more reads than it takes. */
  | { readonly kind: "busy" }
  /** The worker has no stream here. */
  | { readonly kind: "elsewhere" };

export interface LogRelay {
  attach(worker: string, send: (body: NonNullable<GatewayMessage["body"]>) => void): void;
  /** Only the attached one: a newer stream of the worker may be there already. */
  detach(worker: string, send: (body: NonNullable<GatewayMessage["body"]>) => void): void;
  received(worker: string, chunk: LogChunk): void;
  /** Never rejects; after `signal` it resolves with anything. */
  read(at: LogPlaceAt, signal: AbortSignal): Promise<LogAnswer>;
  /** Reads under way, for metrics and tests. */
  underWay(): number;
}

interface UnderWay {
  readonly id: number;
  readonly at: LogPlaceAt;
  readonly answer: Promise<LogAnswer>;
  readonly settle: (answer: LogAnswer) => void;
  readers: number;
}

type Send = (body: NonNullable<GatewayMessage["body"]>) => void;

const logOf = ({ worker, lease, index, stream }: LogPlaceAt): string => `${worker} ${lease} ${index} ${stream}`;
const placeOf = (at: LogPlaceAt): string => `${logOf(at)} ${at.offset}`;
const NOTHING = new Uint8Array(0);

/** What the worker may say to this read. Anything else is no answer of a worker of ours. */
function answerOf(at: LogPlaceAt, chunk: LogChunk): LogAnswer {
  if (chunk.busy) return { kind: "busy" };
  const { offset, data } = chunk;
  const sound = Number.isSafeInteger(offset) && data.length <= LOG_CHUNK_BYTES_MAX && (data.length === 0 || offset >= at.offset);
  if (chunk.over || !sound) return { kind: "over" };
  return { kind: "data", offset, data };
}

export function createLogRelay(deps: { readonly clock: { sleep(ms: number, signal?: AbortSignal): Promise<void> } }): LogRelay {
  const workers = new Map<string, Send>();
  const byPlace = new Map<string, UnderWay>();
  const byId = new Map<number, UnderWay>();
  const kept = new Map<string, { readonly offset: number; readonly data: Uint8Array }>();
  let lastId = 0;

  function keep(at: LogPlaceAt, offset: number, data: Uint8Array): void {
    const log = logOf(at);
    kept.delete(log);
    kept.set(log, { offset, data });
    if (kept.size > LOG_CHUNKS_KEPT) kept.delete(kept.keys().next().value as string);
  }

  function fromKept(at: LogPlaceAt): LogAnswer | undefined {
    const chunk = kept.get(logOf(at));
    if (chunk === undefined || at.offset < chunk.offset || at.offset >= chunk.offset + chunk.data.length) return undefined;
    return { kind: "data", offset: at.offset, data: chunk.data.subarray(at.offset - chunk.offset) };
  }

  function finish(read: UnderWay, answer: LogAnswer): void {
    if (byId.get(read.id) !== read) return;
    byId.delete(read.id);
    byPlace.delete(placeOf(read.at));
    if (answer.kind === "data" && answer.data.length > 0) keep(read.at, answer.offset, answer.data);
    read.settle(answer);
  }

  function begin(at: LogPlaceAt, send: Send): UnderWay {
    const { promise, resolve } = Promise.withResolvers<LogAnswer>();
    const answered = new AbortController();
    const settle = (answer: LogAnswer) => {
      answered.abort();
      resolve(answer);
    };
    const read: UnderWay = { id: ++lastId, at, answer: promise, settle, readers: 0 };
    byId.set(read.id, read);
    byPlace.set(placeOf(at), read);
    const { lease, index: task, stream, offset } = at;
    send({ $case: "logRead", value: { id: read.id, lease, task, stderr: stream === "stderr", offset, bytesMax: LOG_CHUNK_BYTES_MAX } });
    // An agent answers sooner, if only by nothing: this one may be older, or the message lost with its stream.
    void deps.clock.sleep(LOG_ANSWER_WAIT_MS, answered.signal).then(() => finish(read, { kind: "data", offset: at.offset, data: NOTHING }));
    return read;
  }

  function leave(read: UnderWay): void {
    read.readers--;
    if (read.readers > 0 || byId.get(read.id) !== read) return;
    workers.get(read.at.worker)?.({ $case: "logCancel", value: { id: read.id } });
    finish(read, { kind: "over" });
  }

  return {
    attach: (worker, send) => void workers.set(worker, send),
    detach(worker, send) {
      if (workers.get(worker) !== send) return;
      workers.delete(worker);
      for (const read of [...byId.values()]) if (read.at.worker === worker) finish(read, { kind: "elsewhere" });
    },
    received(worker, chunk) {
      const read = byId.get(chunk.id);
      // An answer counts only from the worker that was asked.
      if (read?.at.worker === worker) finish(read, answerOf(read.at, chunk));
    },
    async read(at, signal) {
      const send = workers.get(at.worker);
      if (send === undefined) return { kind: "elsewhere" };
      const known = fromKept(at);
      if (known !== undefined) return known;
      const read = byPlace.get(placeOf(at)) ?? begin(at, send);
      read.readers++;
      const aborted = Promise.withResolvers<LogAnswer>();
      const stop = () => aborted.resolve({ kind: "over" });
      if (signal.aborted) stop();
      signal.addEventListener("abort", stop, { once: true });
      try {
        return await Promise.race([read.answer, aborted.promise]);
      } finally {
        signal.removeEventListener("abort", stop);
        leave(read);
      }
    },
    underWay: () => byId.size,
  };
}
