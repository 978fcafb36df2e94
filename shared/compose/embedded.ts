/** What every process of the embedded default opens: state in DynamoDB's API, objects in a folder, the queue in a file. */
import { createDynamoAccountStore } from "#adapters/dynamodb/account-store.ts";
import { createDynamoClient, createDynamoTable } from "#adapters/dynamodb/client.ts";
import { createDynamoIdempotencyStore } from "#adapters/dynamodb/idempotency-store.ts";
import { createDynamoInputStore } from "#adapters/dynamodb/input-store.ts";
import { createDynamoRateLimiter } from "#adapters/dynamodb/rate-limiter.ts";
import { createDynamoResourceStore } from "#adapters/dynamodb/resource-store.ts";
import { createTable } from "#adapters/dynamodb/table.ts";
import { createDynamoTaskStore } from "#adapters/dynamodb/task-store.ts";
import { createDynamoWorkerStore } from "#adapters/dynamodb/worker-store.ts";
import { openFileObjectStore } from "#adapters/file/object-store.ts";
import { createPinoLogger } from "#adapters/pino/logger.ts";
import { createPosixStorage } from "#adapters/posix/storage.ts";
import { createSpiceDbAuthorization } from "#adapters/spicedb/authorization.ts";
import { openSqliteMessageQueue } from "#adapters/sqlite/message-queue.ts";
import { createSystemClock } from "#adapters/system/clock.ts";
import { createSystemRandom } from "#adapters/system/random.ts";
import { type Config, dataPaths, deploymentKey, readSecret } from "#config";
import { createDataMover, createResults } from "#core/data-mover/index.ts";
import { createResourceRegistry } from "#core/resource-registry/index.ts";
import { createPlans, createTaskScheduler, type Hint } from "#core/task-scheduler/index.ts";
import { createWorkerLifecycle, dispatchMessage, dispatchQueue } from "#core/worker-lifecycle/index.ts";
import { SchedulerError } from "#domain/error.ts";
import type { ExperimentId } from "#domain/id.ts";
import { decodePlan } from "#domain/plan-encoding.ts";
import type { Storage } from "#ports/storage.ts";

export const SCHEDULE_QUEUE = "schedule";
/** The object that everything of this installation hangs on in the authorization system. */
export const DEPLOYMENT_ID = "airavata";
export async function openEmbedded(config: Config, part: string) {
  const paths = dataPaths(config);
  const clock = createSystemClock();
  const random = createSystemRandom();
  const logger = createPinoLogger({ level: config.logLevel, to: "stderr", facts: { part } });
  // Emulators take any credentials; AWS's own endpoint takes the SDK's chain.
  const client = createDynamoClient(
    config.dynamodbEndpoint === undefined
      ? {}
      : { endpoint: config.dynamodbEndpoint, region: "us-east-1", credentials: { accessKeyId: "local", secretAccessKey: "local" } },
  );
  await createTable(client, config.table);
  const table = createDynamoTable({ client, table: config.table, clock, random });
  const signingKey = await deploymentKey(config, "signed-urls");
  const objects = await openFileObjectStore({ folder: paths.objects, baseUrl: config.objectsUrl, signingKey, clock });
  const queue = await openSqliteMessageQueue({ file: paths.queue, clock });
  const presharedKey = await readSecret(paths.spicedbKey);
  const authorization = createSpiceDbAuthorization({ endpoint: config.spicedb, presharedKey, transport: "plaintext" });
  const stores = {
    tasks: createDynamoTaskStore(table),
    workers: createDynamoWorkerStore(table),
    accounts: createDynamoAccountStore(table),
    resources: createDynamoResourceStore(table),
    inputs: createDynamoInputStore(table),
    idempotency: createDynamoIdempotencyStore(table),
    limiter: createDynamoRateLimiter(table),
  };
  return { config, clock, random, logger, objects, queue, authorization, signingKey, ...stores };
}

export type Embedded = Awaited<ReturnType<typeof openEmbedded>>;

/** The rooms that share one process's stores. */
export function openRooms(e: Embedded) {
  const plans = createPlans({ store: e.tasks, objects: e.objects, decodePlan });
  const hint = (h: Hint, delayMs = 0): Promise<void> => e.queue.send(SCHEDULE_QUEUE, JSON.stringify(h), { delayMs });
  const scheduler = createTaskScheduler({
    store: e.tasks,
    workers: e.workers,
    plans,
    clock: e.clock,
    random: e.random,
    logger: e.logger,
    hint,
    dispatch: async (lease, gateway, recall) => {
      if (gateway !== undefined) await e.queue.send(dispatchQueue(gateway), dispatchMessage(lease.key, recall));
    },
  });
  const lifecycle = createWorkerLifecycle({
    tasks: e.tasks,
    workers: e.workers,
    scheduler,
    clock: e.clock,
    random: e.random,
    logger: e.logger,
  });
  const registry = createResourceRegistry({ store: e.resources, clock: e.clock, random: e.random });
  const storage = async (experiment: ExperimentId, name: string): Promise<Storage> => {
    const resource = await registry.read(name);
    if (resource.kind !== "POSIX") throw new SchedulerError("invalid-input", `${name} is a compute resource, not a storage resource`);
    const { owner } = await plans.of(experiment);
    const may = await e.authorization.check({ type: "user", id: owner }, "use", { type: "storage_resource", id: resource.id });
    if (!may) throw new SchedulerError("forbidden", `the owner of ${experiment} may not use the storage resource ${name}`);
    return createPosixStorage({ root: resource.root });
  };
  const data = createDataMover({ tasks: e.tasks, objects: e.objects, inputs: e.inputs, plans, storage, clock: e.clock });
  const results = createResults({ tasks: e.tasks, objects: e.objects });
  return { plans, scheduler, lifecycle, registry, data, results, hint };
}
