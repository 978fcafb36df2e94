/** What the gateway answers over HTTP: the same application as the functions', with the routes that hold streams. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { Embedded } from "#compose/embedded.ts";
import { openHttpParts } from "#compose/http-parts.ts";
import type { Rooms } from "#compose/rooms.ts";
import { createObservation } from "#core/experiment-orchestrator/index.ts";
import type { GatewayId } from "#domain/id.ts";
import { createGatewayApp } from "#functions/http/index.ts";
import { createEventFeeds } from "#gateway/event-feed.ts";
import type { Gateway, GatewayWatcher } from "#gateway/gateway.ts";
import { createHttpServer, type HttpServer } from "#gateway/http-server.ts";
import { followLog, type LogEvent } from "#gateway/log-follow.ts";
import { createLogRelay, type LogRelay } from "#gateway/log-relay.ts";
import { createMetrics, type GatewayMetrics } from "#gateway/metrics.ts";
import { RELEASE_VERSION } from "#protocol/version.ts";

export interface GatewayHttp {
  readonly server: HttpServer;
  readonly relay: LogRelay;
  readonly watcher: GatewayWatcher;
}

export interface GatewayHttpOptions {
  readonly id: GatewayId;
  readonly host: string;
  readonly port: number;
  /** Absent: metrics are for this machine alone. */
  readonly metricsToken: string | undefined;
  /** There once workers are taken. */
  readonly gateway: () => Gateway | undefined;
}

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
const isLoopback = (address: string): boolean => address === "::1" || /^(::ffff:)?127\./.test(address);

/** A log's events as they travel. */
function* wireOf(event: LogEvent, metrics: GatewayMetrics) {
  if (event.event === "chunk") {
    const { attempt, offset, data } = event;
    metrics.logBytes(data.length);
    const id = `${attempt}.${offset + data.length}`;
    yield { event: "chunk", id, data: { attempt, offset, bytes: Buffer.from(data).toString("base64") } };
    return;
  }
  const { event: name, ...data } = event;
  yield { event: name, data };
}

export async function openGatewayHttp(e: Embedded, rooms: Rooms, options: GatewayHttpOptions): Promise<GatewayHttp> {
  const parts = await openHttpParts(e, rooms);
  const { clock, logger } = e;
  const relay = createLogRelay({ clock });
  const observed = { tasks: e.tasks, workers: e.workers, plans: rooms.plans, results: rooms.results, scheduler: rooms.scheduler };
  const feeds = createEventFeeds({
    clock,
    random: e.random,
    logger,
    observe(id) {
      const observation = createObservation(observed, id);
      return { look: () => parts.charging([id], () => observation.look()) };
    },
  });
  const workers = () => options.gateway()?.sessions() ?? 0;
  const leases = () => options.gateway()?.leases() ?? 0;
  const metrics = createMetrics({ workers, leases, logReads: relay.underWay, feeds: feeds.size, now: () => clock.now() });
  const follow = { logs: parts.taskLogs, relay, gateway: options.id, clock };
  const upSinceMs = clock.now();
  const addresses = new WeakMap<Request, string>();
  const app = createGatewayApp(
    { ...parts, version: RELEASE_VERSION },
    {
      clock,
      subscribe: feeds.subscribe,
      async *followLog(request, signal) {
        const urlOf = (id: GatewayId) => parts.gateways.urlFor(request.experiment, id);
        for await (const event of followLog({ ...follow, urlOf }, request, signal)) yield* wireOf(event, metrics);
      },
      metrics: metrics.text,
      mayReadMetrics(request) {
        const { metricsToken } = options;
        if (metricsToken === undefined) return isLoopback(addresses.get(request) ?? "");
        return timingSafeEqual(digest(request.headers.get("authorization") ?? ""), digest(`Bearer ${metricsToken}`));
      },
      async gatewayHealth() {
        const found = Object.entries(await parts.health()).map(([part, ok]) => [part, ok ? "ok" : "down"] as const);
        const status = found.some(([, state]) => state === "down") ? "degraded" : "ok";
        return { status, version: RELEASE_VERSION, gateway: options.id, upSinceMs, workers: workers(), parts: Object.fromEntries(found) };
      },
      onStream: metrics.stream,
    },
  );
  const server = await createHttpServer({
    host: options.host,
    port: options.port,
    fetch(request, { address }) {
      addresses.set(request, address);
      return app.fetch(request);
    },
  });
  return {
    server,
    relay,
    watcher: {
      committed(experiment, results, bytes) {
        metrics.committed(results, bytes);
        feeds.hint(experiment);
      },
      changed: feeds.hint,
      beat: metrics.beat,
      left: metrics.left,
    },
  };
}
