/** The part that runs the functions: HTTP, the scheduler's queue, the timers. */
import { join } from "node:path";
import { readConfig } from "#config";
import { openEmbedded } from "#compose/embedded.ts";
import { openHttpParts } from "#compose/http-parts.ts";
import { openRooms } from "#compose/rooms.ts";
import { SCHEDULE_QUEUE } from "#compose/scheduling.ts";
import { RELEASE_VERSION } from "#protocol/version.ts";
import { createHttpApp, createLambdaHandler, isArchivePath, isExportPath, isFilePath } from "#functions/http/index.ts";
import { createScheduleHandler } from "#functions/queue/schedule-tasks.ts";
import { announceReady, exitWithParent } from "./child.ts";
import { prepareInstallation } from "./first-start.ts";
import { createFunctionsHost } from "./functions-host.ts";
import { watchSpace } from "./space-watch.ts";

const SWEEP_MS = 60_000;
/** Sizes of the functions, for what their time would cost. */
const HTTP_MEMORY_MIB = 512;
const QUEUE_MEMORY_MIB = 512;
const TIMER_MEMORY_MIB = 256;

async function main(): Promise<void> {
  const e = await openEmbedded(readConfig(process.env), "functions");
  const rooms = openRooms(e);
  const { clock, logger, meter } = e;
  const parts = await openHttpParts(e, rooms);
  await prepareInstallation(e, {
    accounts: parts.accounts,
    registry: rooms.registry,
    passwordFile: join(e.config.dataDir, "admin-password"),
  });
  const app = createHttpApp({ ...parts, version: RELEASE_VERSION });
  const http = createLambdaHandler(app);
  const schedule = createScheduleHandler(rooms.scheduler, logger);
  const timer = (work: () => Promise<unknown>) => () => meter.invocation({ memoryMib: TIMER_MEMORY_MIB }, async () => void (await work()));
  const host = createFunctionsHost({
    http: {
      handler: (event) => meter.invocation({ memoryMib: HTTP_MEMORY_MIB, http: true }, () => http(event)),
      streams: [{ matches: (path) => isArchivePath(path) || isFilePath(path) || isExportPath(path), fetch: app.fetch }],
      host: "127.0.0.1",
      port: Number(process.env.AIRAVATA_HTTP_PORT ?? "0"),
    },
    messages: e.queue,
    queues: [
      {
        queue: SCHEDULE_QUEUE,
        handler: (event) => meter.invocation({ memoryMib: QUEUE_MEMORY_MIB }, () => schedule(event)),
        concurrency: 2,
        batchSize: 10,
        visibilityMs: 60_000,
      },
    ],
    timers: [
      { name: "sweep-experiments", everyMs: SWEEP_MS, handler: timer(() => rooms.scheduler.sweep()) },
      { name: "reap-workers", everyMs: SWEEP_MS, handler: timer(() => rooms.lifecycle.reap()) },
    ],
    clock,
    logger,
    graceMs: 3_000,
  });
  const { url } = await host.start();
  const stop = new AbortController();
  const metering = meter.run(stop.signal);
  void watchSpace(e, { signal: stop.signal, freed: () => rooms.scheduler.sweep() });
  const leave = () =>
    void host
      .stop()
      .then(() => stop.abort())
      .then(() => metering)
      .then(() => process.exit(0));
  process.on("SIGTERM", leave);
  exitWithParent(leave);
  announceReady({ url: url ?? "", port: Number(new URL(url ?? "http://x:0").port) });
}

await main();
