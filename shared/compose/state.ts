/** What every process of a deployment opens, whatever keeps its objects and messages: the table, time, chance, logs. */
import { createDynamoAccountStore } from "#adapters/dynamodb/account-store.ts";
import { type CapacityCounter, createDynamoClient, createDynamoTable } from "#adapters/dynamodb/client.ts";
import { createDynamoCostStore } from "#adapters/dynamodb/cost-store.ts";
import { createDynamoIdempotencyStore } from "#adapters/dynamodb/idempotency-store.ts";
import { createDynamoInputStore } from "#adapters/dynamodb/input-store.ts";
import { createDynamoProjectStore } from "#adapters/dynamodb/project-store.ts";
import { createDynamoRateLimiter } from "#adapters/dynamodb/rate-limiter.ts";
import { createDynamoResourceStore } from "#adapters/dynamodb/resource-store.ts";
import { createTable } from "#adapters/dynamodb/table.ts";
import { createDynamoTaskStore } from "#adapters/dynamodb/task-store.ts";
import { createDynamoWorkerStore } from "#adapters/dynamodb/worker-store.ts";
import { createPinoLogger } from "#adapters/pino/logger.ts";
import { createSystemClock } from "#adapters/system/clock.ts";
import { createSystemRandom } from "#adapters/system/random.ts";
import { createAsyncScope } from "#adapters/system/scope.ts";
import type { Config } from "#config";
import { createMeter, type Setting } from "#core/costs/index.ts";

/** The object that everything of this installation hangs on in the authorization system. */
export const DEPLOYMENT_ID = "airavata";

/** Emulators that are named by their address take any credentials; AWS's own endpoints take the SDK's chain. */
const LOCAL_CREDENTIALS = { region: "us-east-1", credentials: { accessKeyId: "local", secretAccessKey: "local" } } as const;

const dynamoClient = (config: Config) =>
  createDynamoClient(config.dynamodbEndpoint === undefined ? {} : { endpoint: config.dynamodbEndpoint, ...LOCAL_CREDENTIALS });

/** Makes the table when it is missing: for installations without anybody who deploys. */
export const ensureTable = (config: Config): Promise<void> => createTable(dynamoClient(config), config.table);

export function openState(config: Config, part: string) {
  const clock = createSystemClock();
  const random = createSystemRandom();
  const logger = createPinoLogger({ level: config.logLevel, to: "stderr", facts: { part } });
  const onCapacity: CapacityCounter = ({ readUnits, writeUnits, payers }) => {
    meter.add("read-units", readUnits, payers);
    meter.add("write-units", writeUnits, payers);
  };
  const table = createDynamoTable({ client: dynamoClient(config), table: config.table, clock, random, onCapacity });
  const costs = createDynamoCostStore(table);
  const meter = createMeter({ store: costs, scope: createAsyncScope<Setting>(), clock, random, logger });
  return {
    config,
    clock,
    random,
    logger,
    meter,
    costs,
    tasks: createDynamoTaskStore(table),
    workers: createDynamoWorkerStore(table),
    accounts: createDynamoAccountStore(table),
    projects: createDynamoProjectStore(table),
    resources: createDynamoResourceStore(table),
    inputs: createDynamoInputStore(table),
    idempotency: createDynamoIdempotencyStore(table),
    limiter: createDynamoRateLimiter(table),
  };
}

export type State = ReturnType<typeof openState>;
