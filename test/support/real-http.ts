/**
 * The real application over the real rooms of accounts, projects and experiments, in memory; permissions by whatever is given.
 * Alice and Bob each have a project with an experiment in it, a personal experiment, a storage resource and an API token; no
 * workers, so nothing runs.
 */
import { randomBytes } from "node:crypto";
import { createMemoryAccountStore } from "../../shared/adapters/memory/account-store.ts";
import { createMemoryInputStore } from "../../shared/adapters/memory/input-store.ts";
import { createMemoryObjectStore } from "../../shared/adapters/memory/object-store.ts";
import { createMemoryProjectStore } from "../../shared/adapters/memory/project-store.ts";
import { createMemoryResourceStore } from "../../shared/adapters/memory/resource-store.ts";
import { createMemoryTable } from "../../shared/adapters/memory/table.ts";
import { createMemoryTaskStore } from "../../shared/adapters/memory/task-store.ts";
import { createMemoryWorkerStore } from "../../shared/adapters/memory/worker-store.ts";
import { createAccounts, createDeparture, createProjects } from "../../shared/core/accounts/index.ts";
import { createDataMover, createResults } from "../../shared/core/data-mover/index.ts";
import { createExperimentOrchestrator } from "../../shared/core/experiment-orchestrator/index.ts";
import { createResourceRegistry } from "../../shared/core/resource-registry/index.ts";
import { createPlans, createTaskScheduler, openToAll } from "../../shared/core/task-scheduler/index.ts";
import { decodePlan } from "../../shared/domain/plan-encoding.ts";
import type { UserId } from "../../shared/domain/id.ts";
import type { Authorization } from "../../shared/ports/authorization.ts";
import type { Logger } from "../../shared/ports/logger.ts";
import { createGatewayApp, createHttpApp, type HttpApp } from "../../functions/http/index.ts";
import type { HttpDeps } from "../../functions/http/deps.ts";
import { createFakeHttp, EXPERIMENT_YAML, PASSWORD } from "./fake-http-deps.ts";
import { createFakeLive } from "./fake-live.ts";
import type { Named } from "./route-requests.ts";

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };

export interface Person {
  readonly id: UserId;
  readonly name: string;
  /** Of a sign-in. */
  readonly token: string;
  readonly refreshToken: string;
  /** Of an API token that may do everything. */
  readonly apiToken: string;
  readonly named: Named;
  readonly personalExperiment: string;
}

export interface RealHttp {
  readonly app: HttpApp;
  /** What the gateway serves of the API. */
  readonly gateway: HttpApp;
  readonly deps: HttpDeps;
  readonly clock: { nowMs: number };
  readonly alice: Person;
  readonly bob: Person;
  readonly admin: Pick<Person, "id" | "token">;
  /** Everything stored, as text: equal when nothing was changed. Without sessions, which requests don't change but logins do. */
  stored(): Promise<string>;
  call(method: string, path: string, as: string | undefined, body?: unknown, headers?: Record<string, string>): Promise<Response>;
}

function stores() {
  const table = createMemoryTable();
  return {
    table,
    tasks: createMemoryTaskStore(table),
    workers: createMemoryWorkerStore(table),
    accounts: createMemoryAccountStore(),
    projects: createMemoryProjectStore(table.projects),
    resources: createMemoryResourceStore(),
  };
}

function openDeps(s: ReturnType<typeof stores>, authorization: Authorization, clock: { nowMs: number }): HttpDeps {
  const time = { now: () => clock.nowMs, sleep: async () => undefined };
  const random = { next: () => 0.5, bytes: (n: number) => new Uint8Array(randomBytes(n)) };
  const objects = createMemoryObjectStore({ clock: time });
  const plans = createPlans({ store: s.tasks, objects, decodePlan });
  const inputs = createMemoryInputStore();
  const hint = async () => undefined;
  const common = { tasks: s.tasks, workers: s.workers, objects, plans, clock: time, random, hint };
  const fake = createFakeHttp();
  const scheduler = createTaskScheduler({
    ...{
      store: s.tasks,
      workers: s.workers,
      plans,
      objects,
      inputs,
      clock: time,
      random,
      logger: quiet,
      hint,
      dispatch: hint,
      access: openToAll,
    },
    costs: { readCost: async () => new Map() } as unknown as Parameters<typeof createTaskScheduler>[0]["costs"],
  });
  const results = createResults({ tasks: s.tasks, objects });
  const storage = () => Promise.reject(new Error("no storage here"));
  const data = createDataMover({ tasks: s.tasks, objects, inputs, plans, storage, clock: time });
  const projects = createProjects({ store: s.projects, tasks: s.tasks, authorization, deploymentId: "main", clock: time, random });
  const orchestrator = createExperimentOrchestrator({ ...common, scheduler, results, data });
  return {
    ...fake.deps,
    accounts: createAccounts({
      ...{ store: s.accounts, clock: time, random, tokenKey: randomBytes(32) },
      passwordCost: { memoryKib: 64, passes: 1, lanes: 1 },
    }),
    projects,
    orchestrator,
    departure: createDeparture({
      ...{ store: s.accounts, projects, authorization, deploymentId: "main", experiments: orchestrator },
      planOf: async (experiment) => (await plans.of(experiment.id, experiment)).plan,
    }),
    authorization,
    resources: createResourceRegistry({ store: s.resources, clock: time, random }),
    clock: time,
  };
}

const answered = async (response: Response, status: number): Promise<Record<string, string>> => {
  const text = await response.text();
  if (response.status !== status) throw new Error(`${response.status} instead of ${status}: ${text}`);
  return JSON.parse(text) as Record<string, string>;
};

export async function openRealHttp(authorization: Authorization): Promise<RealHttp> {
  const clock = { nowMs: 1_800_000_000_000 };
  const s = stores();
  const deps = openDeps(s, authorization, clock);
  const app = createHttpApp(deps);
  const gateway = createGatewayApp(deps, createFakeLive().deps);
  const call: RealHttp["call"] = (method, path, as, body, headers = {}) => {
    const yaml = typeof body === "string";
    const all = {
      ...(as === undefined ? {} : { authorization: `Bearer ${as}` }),
      ...(body === undefined ? {} : { "content-type": yaml ? "application/yaml" : "application/json" }),
      ...headers,
    };
    const text = yaml ? body : JSON.stringify(body);
    return app.fetch(new Request(`http://test${path}`, { method, headers: all, ...(body === undefined ? {} : { body: text }) }));
  };

  async function signIn(name: string) {
    const { id } = await deps.accounts.createUser(name, PASSWORD);
    const { token, refreshToken } = await deps.accounts.login(name, PASSWORD);
    return { id, name, token, refreshToken };
  }

  async function settle(name: string): Promise<Person> {
    const person = await signIn(name);
    const { token } = person;
    const project = await answered(await call("POST", "/v1/projects", token, { name: `${name}s` }), 201);
    const experiment = await answered(await call("POST", `/v1/experiments?project=${project.id}`, token, EXPERIMENT_YAML), 201);
    const own = await answered(await call("POST", "/v1/experiments", token, EXPERIMENT_YAML), 201);
    const api = await answered(await call("POST", "/v1/tokens", token, { name: `${name}s`, scopes: ["admin"] }), 201);
    const resource = await deps.resources.register({ owner: person.id, resource: { kind: "POSIX", name: `${name}s`, root: `/${name}` } });
    const object = { type: "storage_resource", id: resource.id } as const;
    await authorization.write([{ object, relation: "owner", subject: { type: "user", id: person.id } }]);
    const named = { experiments: experiment.id, projects: project.id, tokens: api.id, users: name, storage: `${name}s` } as Named;
    return { ...person, apiToken: api.value as string, named, personalExperiment: own.id as string };
  }

  const admin = await signIn("admin");
  const deployment = { type: "deployment", id: deps.deploymentId } as const;
  await authorization.write([{ object: deployment, relation: "admin", subject: { type: "user", id: admin.id } }]);
  const [alice, bob] = [await settle("alice"), await settle("bob")];

  async function stored(): Promise<string> {
    const users = (await s.accounts.listUsers({ limit: 100 })).items;
    const tokens = await Promise.all(users.map((user) => s.accounts.listTokens(user.id)));
    const projects = [...s.table.projects.values()];
    const relations = await Promise.all([alice, bob].map((p) => authorization.relationsOf({ type: "project", id: p.named.projects })));
    const { experiments, sets } = s.table.snapshot();
    return JSON.stringify([users, tokens, projects, relations, experiments, sets, await s.resources.listResources()]);
  }

  return { app, gateway, deps, clock, alice, bob, admin, stored, call };
}
