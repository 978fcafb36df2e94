/**
 * FunctionsHost: runs Lambda handlers on one machine, with the event shapes that AWS gives them.
 *
 *   HTTP   node:http ── API Gateway v2 event ──> handler ──> structured result        (http-front.ts)
 *   queue  MessageQueue ── SQSEvent ──> handler ──> only what succeeded is deleted     (event-sources.ts)
 *   timer  every so often ── EventBridge scheduled event ──> handler, never twice at once
 *
 * It knows nothing of what the handlers do. Stop: takes nothing new, lets what runs end for a while, then cuts it off.
 */
import type { Clock } from "#ports/clock.ts";
import type { Logger } from "#ports/logger.ts";
import type { MessageQueue } from "#ports/message-queue.ts";
import { type QueueSource, runQueueSource, runTimerSource, type TimerSource } from "./event-sources.ts";
import { createHttpFront, type HttpFront, type HttpFrontOptions } from "./http-front.ts";

/** How long running invocations get to end when the host stops. */
const GRACE_MS = 10_000;

export interface FunctionsHostOptions {
  readonly http?: HttpFrontOptions;
  /** Where the queue sources poll. */
  readonly messages?: MessageQueue;
  readonly queues?: readonly QueueSource[];
  readonly timers?: readonly TimerSource[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly graceMs?: number;
}

export interface FunctionsHost {
  /** Resolves when it takes requests; `url` is where. */
  start(): Promise<{ readonly url: string | undefined }>;
  /** Resolves when nothing of it runs any more. May be called twice. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export function createFunctionsHost(options: FunctionsHostOptions): FunctionsHost {
  const { clock, logger, messages, graceMs = GRACE_MS } = options;
  const stopping = new AbortController();
  const running: Promise<void>[] = [];
  let front: HttpFront | undefined;
  let stopped: Promise<void> | undefined;

  function startSources(): void {
    for (const source of options.queues ?? []) {
      if (messages === undefined) throw new Error(`no message queue to poll ${source.queue} from`);
      for (let i = 0; i < source.concurrency; i++)
        running.push(runQueueSource(source, { messages, clock, logger, signal: stopping.signal }));
    }
    for (const source of options.timers ?? []) running.push(runTimerSource(source, { clock, logger, signal: stopping.signal }));
  }

  async function stop(): Promise<void> {
    stopping.abort();
    const late = new AbortController();
    const grace = clock.sleep(graceMs, late.signal).then(() => {
      if (!late.signal.aborted) logger.warn("invocations still running after the grace period are left", { graceMs });
    });
    await Promise.race([Promise.all([front?.stop(graceMs), ...running]), grace]);
    late.abort();
  }

  const host: FunctionsHost = {
    async start() {
      front = options.http === undefined ? undefined : createHttpFront(options.http, logger);
      const url = await front?.start();
      startSources();
      return { url };
    },
    stop: () => (stopped ??= stop()),
    [Symbol.asyncDispose]: () => host.stop(),
  };
  return host;
}
