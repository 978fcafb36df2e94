/** The part that is always on: the task gateway, and the server of signed object URLs. */
import { randomBytes } from "node:crypto";
import { createServer, type Server } from "node:http";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createSignedObjectHandler, SIGNED_SERVER_OPTIONS } from "#adapters/file/signed-http.ts";
import { readConfig } from "#config";
import { type Embedded, openEmbedded } from "#compose/embedded.ts";
import { openRooms } from "#compose/rooms.ts";
import { dispatchQueue } from "#core/worker-lifecycle/index.ts";
import { SchedulerError } from "#domain/error.ts";
import { ID_RANDOM_BYTES, makeId, type WorkerId } from "#domain/id.ts";
import { parseLeaseName } from "#domain/lease.ts";
import { deliveryOf } from "#gateway/assignment.ts";
import { loadOrCreateAuthority } from "#gateway/certificates.ts";
import { createGateway, type Gateway } from "#gateway/gateway.ts";
import { createGatewayServer } from "#gateway/server.ts";
import { announceReady, exitWithParent } from "./child.ts";
import { openGatewayHttp } from "./gateway-http.ts";

const TOKEN_LIFETIME_MS = 3_600_000;
const GRACE_MS = 3_000;
const POOL_BYTES_MAX = 1024;

/** Which pool a worker joined for: kept beside its certificate's name, so that no worker can choose. */
const poolKey = (worker: WorkerId): string => `w/${worker}`;
async function poolOf(e: Embedded, worker: WorkerId): Promise<string> {
  const bytes = await e.objects.get(poolKey(worker), POOL_BYTES_MAX);
  if (bytes === undefined) throw new SchedulerError("unauthenticated", "this worker never joined here; join with a new token");
  return Buffer.from(bytes).toString("utf8");
}

async function consume(e: Embedded, queue: string, gateway: Gateway, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const messages = await e.queue.receive(queue, { limit: 10, waitMs: 20_000, visibilityMs: 30_000, signal });
    // A message is a hint: one that fails is made good by the worker's next beat.
    await Promise.all(
      messages.map((m) =>
        gateway.dispatched(m.body).catch((error: unknown) => e.logger.warn("delivery failed", { lease: m.body, reason: String(error) })),
      ),
    );
    await e.queue.remove(
      queue,
      messages.map((m) => m.receipt),
    );
  }
}

/** A folder's signed URLs are served here; a bucket serves its own. */
async function serveObjects(e: Embedded): Promise<Server | undefined> {
  if (e.files === undefined) return undefined;
  const { store, signingKey: key } = e.files;
  const server = createServer(SIGNED_SERVER_OPTIONS, createSignedObjectHandler({ store, key, clock: e.clock, logger: e.logger }));
  const { port } = new URL(e.config.objectsUrl);
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(Number(port), "127.0.0.1", resolve));
  return server;
}

async function main(): Promise<void> {
  const e = await openEmbedded(readConfig(process.env), "gateway");
  const rooms = openRooms(e);
  const id = makeId("gateway", e.clock.now(), e.random.bytes(ID_RANDOM_BYTES));
  let taking: Gateway | undefined;
  const tokenFile = process.env.AIRAVATA_METRICS_TOKEN_FILE;
  const http = await openGatewayHttp(e, rooms, {
    id,
    host: "127.0.0.1",
    port: Number(process.env.AIRAVATA_GATEWAY_HTTP_PORT ?? "0"),
    metricsToken: tokenFile === undefined ? undefined : readFileSync(tokenFile, "utf8").trim(),
    gateway: () => taking,
  });
  const gateway = createGateway({
    id,
    url: http.server.url,
    relay: http.relay,
    watcher: http.watcher,
    tasks: e.tasks,
    workers: e.workers,
    objects: e.objects,
    plans: rooms.plans,
    scheduler: rooms.scheduler,
    lifecycle: rooms.lifecycle,
    assignment: (lease, tasks) =>
      e.meter.charging([lease.key.experiment], async () => deliveryOf(lease, await rooms.data.stage(lease, tasks))),
    hint: (h) => rooms.hint(h),
    clock: e.clock,
    logger: e.logger,
    writer: `${id}-${randomBytes(4).toString("hex")}`,
  });
  taking = gateway;
  const authorityDir = join(e.config.dataDir, "authority");
  mkdirSync(authorityDir, { recursive: true, mode: 0o700 });
  const authority = await loadOrCreateAuthority(authorityDir);
  const server = await createGatewayServer({
    host: "127.0.0.1",
    port: Number(process.env.AIRAVATA_GATEWAY_PORT ?? "0"),
    authority,
    logger: e.logger,
    handlers: {
      async join(request) {
        const { worker, pool } = await rooms.lifecycle.join(request.token);
        const certificatePem = await authority.issueClient({ workerId: worker, publicKeySpki: request.publicKeySpki });
        await e.objects.putIfAbsent(poolKey(worker), Buffer.from(pool));
        return { workerId: worker, pool, certificatePem };
      },
      serve: async (worker, channel) => gateway.serve({ worker, pool: await poolOf(e, worker) }, channel),
      async signUploads(worker, request) {
        if (!gateway.holds(worker, request.lease)) throw new SchedulerError("forbidden", "this worker does not hold that lease");
        const lease = parseLeaseName(request.lease);
        if (lease === undefined) throw new SchedulerError("invalid-input", "there is no lease of that name");
        return e.meter.charging([lease.experiment], () => rooms.data.signUploads(lease, request.files));
      },
    },
  });
  const objects = await serveObjects(e);
  for (let n = 1; n <= Number(process.env.AIRAVATA_WORKERS ?? "0"); n++) {
    const { token } = await rooms.lifecycle.issueToken("local", TOKEN_LIFETIME_MS);
    writeFileSync(join(e.config.dataDir, "run", `worker-${n}.token`), token, { mode: 0o600 });
  }

  const stop = new AbortController();
  void consume(e, dispatchQueue(id), gateway, stop.signal);
  const beating = gateway.beat(stop.signal);
  const metering = e.meter.run(stop.signal);
  const leave = () => {
    if (stop.signal.aborted) return;
    stop.abort();
    objects?.close();
    void Promise.all([server.close(GRACE_MS), beating, metering]).then(() => process.exit(0));
  };
  process.on("SIGTERM", leave);
  exitWithParent(leave);
  announceReady({ port: server.port, httpPort: http.server.port });
}

await main();
