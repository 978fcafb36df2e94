/** The part that runs the functions: HTTP, the scheduler's queue, the timers. */
import { join } from "node:path";
import { readConfig } from "#config";
import { openEmbedded } from "#compose/embedded.ts";
import { openHttpParts } from "#compose/http-parts.ts";
import { openRooms } from "#compose/rooms.ts";
import { SCHEDULE_QUEUE } from "#compose/scheduling.ts";
import { RELEASE_VERSION } from "#protocol/version.ts";
import { createHttpApp, createLambdaHandler, isArchivePath } from "#functions/http/index.ts";
import { createScheduleHandler } from "#functions/queue/schedule-tasks.ts";
import { announceReady, exitWithParent } from "./child.ts";
import { prepareInstallation } from "./first-start.ts";
import { createFunctionsHost } from "./functions-host.ts";

const SWEEP_MS = 60_000;

async function main(): Promise<void> {
  const e = await openEmbedded(readConfig(process.env), "functions");
  const rooms = openRooms(e);
  const { clock, logger } = e;
  const parts = await openHttpParts(e, rooms);
  await prepareInstallation(e, {
    accounts: parts.accounts,
    registry: rooms.registry,
    passwordFile: join(e.config.dataDir, "admin-password"),
  });
  const app = createHttpApp({ ...parts, version: RELEASE_VERSION });
  const host = createFunctionsHost({
    http: {
      handler: createLambdaHandler(app),
      streams: [{ matches: isArchivePath, fetch: app.fetch }],
      host: "127.0.0.1",
      port: Number(process.env.AIRAVATA_HTTP_PORT ?? "0"),
    },
    messages: e.queue,
    queues: [
      {
        queue: SCHEDULE_QUEUE,
        handler: createScheduleHandler(rooms.scheduler, logger),
        concurrency: 2,
        batchSize: 10,
        visibilityMs: 60_000,
      },
    ],
    timers: [
      { name: "sweep-experiments", everyMs: SWEEP_MS, handler: async () => void (await rooms.scheduler.sweep()) },
      { name: "reap-workers", everyMs: SWEEP_MS, handler: async () => void (await rooms.lifecycle.reap()) },
    ],
    clock,
    logger,
    graceMs: 3_000,
  });
  const { url } = await host.start();
  const leave = () => void host.stop().then(() => process.exit(0));
  process.on("SIGTERM", leave);
  exitWithParent(leave);
  announceReady({ url: url ?? "", port: Number(new URL(url ?? "http://x:0").port) });
}

await main();
