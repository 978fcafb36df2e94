/** Metrics of one gateway process as Prometheus text. Every value is read or counted here; none is made up. */
import { collectDefaultMetrics, Counter, Gauge, Registry } from "prom-client";
import type { TaskResult } from "#domain/result.ts";

export interface MetricsSources {
  readonly workers: () => number;
  readonly leases: () => number;
  readonly logReads: () => number;
  readonly feeds: () => number;
  readonly now: () => number;
}

export interface GatewayMetrics {
  committed(results: readonly TaskResult[], bytes: number): void;
  beat(worker: string): void;
  left(worker: string): void;
  stream(kind: "events" | "log", change: 1 | -1): void;
  logBytes(bytes: number): void;
  text(): Promise<string>;
}

const PREFIX = "airavata_gateway_";

export function createMetrics(sources: MetricsSources): GatewayMetrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 20 });
  const beats = new Map<string, number>();
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      ...{ name: PREFIX + name, help, registers },
      collect() {
        this.set(read());
      },
    });
  const counter = <L extends string>(name: string, help: string, labelNames: L[] = []) =>
    new Counter<L>({ name: PREFIX + name, help, labelNames, registers });

  gauge("workers", "Workers with a stream to this gateway", sources.workers);
  gauge("leases", "Leases that were delivered here and are not settled", sources.leases);
  gauge("log_reads", "Reads of running tasks' logs that wait for their worker", sources.logReads);
  gauge("event_feeds", "Experiments of which events are kept", sources.feeds);
  gauge("heartbeat_lag_seconds", "Time since the last beat of the connected worker that has been silent for longest", () =>
    beats.size === 0 ? 0 : Math.max(0, sources.now() - Math.min(...beats.values())) / 1000,
  );
  const readers = new Gauge({ name: `${PREFIX}readers`, help: "Open streams by what they show", labelNames: ["of"], registers });
  for (const kind of ["events", "log"]) readers.set({ of: kind }, 0);
  const commits = counter("commits_total", "Batches of results that were committed");
  const tasks = counter("tasks_total", "Attempts that were committed, by how they ended", ["outcome"]);
  const resultBytes = counter("result_bytes_total", "Bytes of result objects");
  const staged = counter("task_bytes_total", "Bytes that workers moved for committed attempts", ["direction"]);
  const logBytes = counter("log_bytes_total", "Bytes of logs given to readers");

  return {
    committed(results, bytes) {
      commits.inc();
      resultBytes.inc(bytes);
      for (const { outcome, usage } of results) {
        tasks.inc({ outcome });
        // What a worker says of itself may be anything.
        if (usage?.bytesIn > 0) staged.inc({ direction: "in" }, usage.bytesIn);
        if (usage?.bytesOut > 0) staged.inc({ direction: "out" }, usage.bytesOut);
      }
    },
    beat: (worker) => void beats.set(worker, sources.now()),
    left: (worker) => void beats.delete(worker),
    stream: (kind, change) => readers.inc({ of: kind }, change),
    logBytes: (bytes) => logBytes.inc(bytes),
    text: () => registry.metrics(),
  };
}
