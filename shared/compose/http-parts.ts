/** What the HTTP application needs, wherever it runs. */
import { createOidcIdentityProvider } from "#adapters/oidc/identity-provider.ts";
import { createAccounts, createDeparture, createProjects } from "#core/accounts/index.ts";
import { createCosts } from "#core/costs/index.ts";
import { createDeadLetters } from "#core/dead-letters/index.ts";
import { compilePlan, createExperimentOrchestrator, createTaskLogs } from "#core/experiment-orchestrator/index.ts";
import { type Config, deploymentKey } from "#config";
import type { MessageQueue } from "#ports/message-queue.ts";
import { createGateways } from "./gateways.ts";
import { createDeadLetterCount, createHealth } from "./health.ts";
import { openStorage, type Rooms, type RoomStores } from "./rooms.ts";
import { SCHEDULE_QUEUE } from "./scheduling.ts";
import { DEPLOYMENT_ID, type State } from "./state.ts";

const WORKERS_LISTED = 10_000;
const OUTPUT_URL_LIFETIME_MS = 3_600_000;

export type HttpStores = RoomStores & State & { readonly queue: MessageQueue };

/** What a client needs to sign in there. */
function issuerOf({ issuer: found }: Config) {
  if (found === undefined) return {};
  const { issuer, clientId, scope, audience } = found;
  return { issuer: { issuer, clientId, scope, audience } };
}

export async function openHttpParts(s: HttpStores, rooms: Rooms) {
  const { clock, random, logger, config } = s;
  const accounts = createAccounts({
    ...{ store: s.accounts, clock, random, tokenKey: await deploymentKey(config, "access-tokens") },
    issuer: config.issuer && {
      provider: createOidcIdentityProvider({ ...config.issuer, clock }),
      makesAccounts: config.issuer.makesAccounts,
    },
  });
  const orchestrator = createExperimentOrchestrator({
    tasks: s.tasks,
    workers: s.workers,
    objects: s.objects,
    plans: rooms.plans,
    scheduler: rooms.scheduler,
    results: rooms.results,
    data: rooms.data,
    hint: rooms.hint,
    clock,
    random,
  });
  const projects = createProjects({ ...s, store: s.projects, deploymentId: DEPLOYMENT_ID });
  const queues = async () => [SCHEDULE_QUEUE, ...(await s.workers.gateways()).map((gateway) => gateway.queue)];
  const deadLetters = createDeadLetters({ messages: s.queue, queues });
  return {
    accounts,
    projects,
    departure: createDeparture({
      ...{ store: s.accounts, projects, authorization: s.authorization, deploymentId: DEPLOYMENT_ID, experiments: orchestrator },
      planOf: async (experiment) => (await rooms.plans.of(experiment.id, experiment)).plan,
    }),
    signIn: { registration: config.registration, ...issuerOf(config) },
    orchestrator,
    scheduler: rooms.scheduler,
    taskLogs: createTaskLogs({ workers: s.workers, objects: s.objects, results: rooms.results, plans: rooms.plans, orchestrator }),
    gateways: createGateways({ workers: s.workers, clock }),
    compilePlan,
    costs: createCosts({ store: s.costs }),
    charging: s.meter.charging,
    authorization: s.authorization,
    deploymentId: DEPLOYMENT_ID,
    resources: rooms.registry,
    openStorage,
    workers: { list: () => rooms.lifecycle.list(WORKERS_LISTED) },
    deadLetters,
    idempotency: s.idempotency,
    rate: { limiter: s.limiter, ...config.rate },
    corsOrigins: config.corsOrigins,
    health: createHealth(s),
    deadLetterCount: createDeadLetterCount(s, deadLetters),
    signOutput: (o: Parameters<Rooms["data"]["signDownload"]>[0]) => rooms.data.signDownload(o, clock.now() + OUTPUT_URL_LIFETIME_MS),
    clock,
    logger,
  };
}
