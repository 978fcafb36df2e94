/** The part that runs the functions: HTTP, the scheduler's queue, the timers. */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { deploymentKey, readConfig } from "#config";
import { createHealth } from "#compose/health.ts";
import { DEPLOYMENT_ID, openEmbedded, openRooms, SCHEDULE_QUEUE, type Embedded } from "#compose/embedded.ts";
import { type Accounts, createAccounts } from "#core/accounts/index.ts";
import { compilePlan, createExperimentOrchestrator } from "#core/experiment-orchestrator/index.ts";
import type { ResourceRegistry } from "#core/resource-registry/index.ts";
import { RELEASE_VERSION } from "#protocol/version.ts";
import { createHttpApp, createLambdaHandler, isArchivePath } from "#functions/http/index.ts";
import { createScheduleHandler } from "#functions/queue/schedule-tasks.ts";
import { announceReady, exitWithParent } from "./child.ts";
import { createFunctionsHost } from "./functions-host.ts";
import { SAMPLE_DATA } from "./sample-data.ts";

export const ADMINISTRATOR = "admin";
const SWEEP_MS = 60_000;
const WORKERS_LISTED = 10_000;

/** The first start makes an administrator and opens the machine and the sample data to every user. Idempotent. */
async function prepare(e: Embedded, accounts: Accounts, registry: ResourceRegistry): Promise<void> {
  const passwordFile = join(e.config.dataDir, "admin-password");
  const deployment = { type: "deployment", id: DEPLOYMENT_ID } as const;
  let admin = await e.accounts.findUser(ADMINISTRATOR);
  if (admin === undefined) {
    if (!existsSync(passwordFile)) writeFileSync(passwordFile, `${randomBytes(18).toString("base64url")}\n`, { mode: 0o600 });
    admin = await accounts.createUser(ADMINISTRATOR, readFileSync(passwordFile, "utf8").trim());
  }
  await e.authorization.write([{ object: deployment, relation: "admin", subject: { type: "user", id: admin.id } }]);
  const known = new Map((await registry.list()).map((r) => [r.name, r]));
  const wanted = [
    { kind: "LOCAL", name: "local" },
    { kind: "POSIX", name: "vega", root: SAMPLE_DATA },
  ] as const;
  for (const resource of wanted) {
    const made = known.get(resource.name) ?? (await registry.register({ owner: admin.id, resource }));
    const object = { type: resource.kind === "LOCAL" ? "compute_resource" : "storage_resource", id: made.id } as const;
    await e.authorization.write([
      { object, relation: "owner", subject: { type: "user", id: admin.id } },
      { object, relation: "user", subject: { type: "user", id: "*" } },
      { object, relation: "deployment", subject: deployment },
    ]);
  }
}

async function main(): Promise<void> {
  const e = await openEmbedded(readConfig(process.env), "functions");
  const rooms = openRooms(e);
  const { clock, random, logger } = e;
  const accounts = createAccounts({ store: e.accounts, clock, random, tokenKey: await deploymentKey(e.config, "access-tokens") });
  await prepare(e, accounts, rooms.registry);
  const orchestrator = createExperimentOrchestrator({
    tasks: e.tasks,
    workers: e.workers,
    objects: e.objects,
    plans: rooms.plans,
    scheduler: rooms.scheduler,
    results: rooms.results,
    data: rooms.data,
    hint: rooms.hint,
    clock,
    random,
  });
  const app = createHttpApp({
    accounts,
    orchestrator,
    compilePlan,
    authorization: e.authorization,
    deploymentId: DEPLOYMENT_ID,
    resources: rooms.registry,
    workers: { list: () => rooms.lifecycle.list(WORKERS_LISTED) },
    idempotency: e.idempotency,
    rate: { limiter: e.limiter, ...e.config.rate },
    corsOrigins: e.config.corsOrigins,
    health: createHealth(e),
    signOutput: (o) => e.objects.signGet(`c/${o.sha256}`, clock.now() + 3_600_000),
    clock,
    logger,
    version: RELEASE_VERSION,
  });
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
