/** What the gateway's routes need, with events that a test gives. */
import { setTimeout as sleep } from "node:timers/promises";
import type { StreamEvent } from "#api/event-stream.ts";
import { SchedulerError } from "#domain/error.ts";
import type { LiveDeps, LiveLogRequest } from "../../functions/http/live.ts";

export interface FakeLive {
  readonly deps: LiveDeps;
  /** Of every subscription, then it ends. */
  events: StreamEvent[];
  /** Keeps streams open behind their events. */
  open: boolean;
  readonly subscribed: { readonly id: string; readonly after: string | undefined }[];
  readonly logs: LiveLogRequest[];
  /** Streams open now. */
  streams: number;
  closed: number;
  mayReadMetrics: boolean;
}

export function createFakeLive(
  clock: LiveDeps["clock"] = { now: Date.now, sleep: (ms, signal) => sleep(ms, undefined, { signal, ref: false }).catch(() => undefined) },
): FakeLive {
  const aborted = (signal: AbortSignal) =>
    new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });
  const fake: FakeLive = {
    ...{
      events: [{ event: "snapshot", id: "f.0", data: {} }],
      open: false,
      subscribed: [],
      logs: [],
      streams: 0,
      closed: 0,
      mayReadMetrics: true,
    },
    deps: {
      clock,
      subscribe(id, after) {
        fake.subscribed.push({ id, after });
        let given = 0;
        return {
          async next(signal) {
            const fresh = fake.events.slice(given);
            given = fake.events.length;
            if (fresh.length > 0) return fresh;
            if (!fake.open) throw new SchedulerError("not-found", "it is gone");
            await aborted(signal);
            return [];
          },
          close: () => void fake.closed++,
        };
      },
      async *followLog(request, signal) {
        fake.logs.push(request);
        try {
          yield* fake.events;
          if (fake.open) await aborted(signal);
        } finally {
          fake.closed++;
        }
      },
      metrics: async () => "airavata_gateway_workers 1\n",
      mayReadMetrics: () => fake.mayReadMetrics,
      gatewayHealth: async () => ({ status: "ok", version: "0.1.0", gateway: "gwy_1", upSinceMs: 1, workers: 1, parts: { state: "ok" } }),
      onStream: (_, change) => {
        fake.streams += change;
      },
    },
  };
  return fake;
}
