/** What the HTTP application needs, in memory: two users, an administrator, experiments and one task with an output. */
import { createHash, randomBytes } from "node:crypto";
import { createFakeClock } from "./fake-clock.ts";
import { createMemoryAccountStore } from "../../shared/adapters/memory/account-store.ts";
import { createMemoryAuthorization } from "../../shared/adapters/memory/authorization.ts";
import { createMemoryIdempotencyStore } from "../../shared/adapters/memory/idempotency-store.ts";
import { createMemoryProjectStore } from "../../shared/adapters/memory/project-store.ts";
import { createMemoryMessageQueue } from "../../shared/adapters/memory/message-queue.ts";
import { createMemoryRateLimiter } from "../../shared/adapters/memory/rate-limiter.ts";
import { createMemoryStorage } from "../../shared/adapters/memory/storage.ts";
import { createMemoryResourceStore } from "../../shared/adapters/memory/resource-store.ts";
import { createAccounts, createDeparture, createProjects } from "../../shared/core/accounts/index.ts";
import { hashPassword, SALT_BYTES } from "../../shared/core/accounts/password.ts";
import type { Authorization } from "../../shared/ports/authorization.ts";
import type { UserRecord } from "../../shared/ports/account-store.ts";
import type { ExperimentFile, ExperimentOrchestrator, LogPlace, OutputView } from "../../shared/core/experiment-orchestrator/index.ts";
import { compilePlan } from "../../shared/core/experiment-orchestrator/compile.ts";
import { costOf } from "../../shared/core/costs/index.ts";
import { createDeadLetters } from "../../shared/core/dead-letters/index.ts";
import { createResourceRegistry } from "../../shared/core/resource-registry/index.ts";
import { SchedulerError } from "../../shared/domain/error.ts";
import type { Experiment, ExperimentState } from "../../shared/domain/experiment.ts";
import { type ExperimentId, type IdKind, makeId, personalProject } from "../../shared/domain/id.ts";
import type { Plan } from "../../shared/domain/plan.ts";
import type { Worker } from "../../shared/domain/worker.ts";
import type { HttpDeps, User } from "../../functions/http/deps.ts";

/** Hashes that take no time. */
const CHEAP = { memoryKib: 64, passes: 1, lanes: 1 };

let made = 0;
const id = <K extends IdKind>(kind: K) =>
  makeId(
    kind,
    1_700_000_000_000 + made++,
    Uint8Array.from({ length: 10 }, (_, i) => (made * 31 + i) & 255),
  );

const aUser = (name: string): User => ({ id: id("user"), name, scopes: ["admin"], by: { kind: "session", id: id("session") } });
export const ALICE = aUser("alice");
export const BOB = aUser("bob");
export const ADMIN = aUser("admin");
/** A storage resource of Alice's with a file /in.txt. */
export const STORAGE = "files";
export const PASSWORD = "correct horse battery";
const passwordHash = await hashPassword(PASSWORD, randomBytes(SALT_BYTES), CHEAP);
const recordOf = ({ id: key, name }: User): UserRecord => ({
  ...{ id: key, name, passwordHash, disabled: false, era: 0, profile: {}, createdAtMs: 1, version: 1 },
});
export const tokenOf = (user: User): string => `token-of-${user.name}`;
export const EXPIRED_TOKEN = "expired";

export const OUTPUT_TEXT = "it rained\n";
const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const notFound = (): never => {
  throw new SchedulerError("not-found", "there is no such thing");
};

interface Held {
  experiment: Experiment;
  readonly plan: Plan;
  readonly file?: ExperimentFile;
}

export interface FakeOutput extends OutputView {
  readonly text: string;
}

export interface FakeHttp {
  readonly deps: HttpDeps;
  readonly experiments: Map<string, Held>;
  readonly outputs: FakeOutput[];
  /** What was logged as an error. */
  readonly errors: string[];
  /** The next submits fail with this. */
  failSubmit: SchedulerError | undefined;
  /** Holds back every create until it is resolved. */
  hold: Promise<void> | undefined;
  nowMs: number;
  /** Where logs are, by `<experiment> <task>`; all others wait. */
  readonly logs: Map<string, LogPlace>;
  gatewayUrl: string | undefined;
}

export const anOutput = (task: string, path: string, text = OUTPUT_TEXT, name = "OUT"): FakeOutput => ({
  task,
  name,
  path,
  bytes: Buffer.byteLength(text),
  sha256: sha256(text),
  text,
});

function pageOf(
  fake: FakeHttp,
  wanted: (e: Experiment) => boolean,
  { limit, cursor }: { readonly limit: number; readonly cursor?: string },
) {
  const mine = [...fake.experiments.values()].map((held) => held.experiment).filter(wanted);
  const from = Number(cursor ?? 0);
  return { items: mine.slice(from, from + limit), ...(from + limit < mine.length ? { cursor: String(from + limit) } : {}) };
}

function fakeOrchestrator(fake: FakeHttp): ExperimentOrchestrator {
  const get = (key: ExperimentId): Held => fake.experiments.get(key) ?? notFound();
  const turn = (key: ExperimentId, status: ExperimentState): Experiment => {
    const held = get(key);
    held.experiment = {
      ...held.experiment,
      status,
      startedAtMs: held.experiment.startedAtMs ?? 2,
      ...(status === "RUNNING" ? {} : { endedAtMs: 3 }),
    };
    return held.experiment;
  };
  const setAt = (key: ExperimentId, name: string) => get(key).plan.sets.find((set) => set.name === name) ?? notFound();
  return {
    async create({ owner, project, plan, priority, budget, file, derivedFrom, id: key = id("experiment") }) {
      await fake.hold;
      const known = fake.experiments.get(key);
      if (known !== undefined) return known.experiment;
      const taskCount = plan.sets.reduce((n, set) => n + set.count, 0);
      const common = {
        ...(project === undefined ? {} : { project }),
        ...(budget === undefined ? {} : { budget }),
        generation: 0,
        version: 0,
        planHash: "secret-hash",
        gates: 1,
        weight: 1,
        createdAtMs: 1,
        live: false,
      };
      const experiment: Experiment = { id: key, owner, name: plan.name, status: "CREATED", priority, taskCount, ...common };
      const lineage = derivedFrom === undefined ? {} : { derivedFrom };
      fake.experiments.set(experiment.id, { experiment: { ...experiment, ...lineage }, plan, ...(file === undefined ? {} : { file }) });
      return experiment;
    },
    async submit(key) {
      if (fake.failSubmit !== undefined) throw fake.failSubmit;
      const { status } = get(key).experiment;
      if (status === "CANCELED") throw new SchedulerError("conflict", "it was canceled before");
      return status === "CREATED" ? turn(key, "RUNNING") : get(key).experiment;
    },
    cancel: async (key) => turn(key, "CANCELED"),
    pause: async (key) => turn(key, "PAUSED"),
    resume: async (key) => turn(key, "RUNNING"),
    async edit(key, change) {
      const held = get(key);
      const { priority = held.experiment.priority, weight = held.experiment.weight, budget = held.experiment.budget } = change;
      held.experiment = { ...held.experiment, priority, weight, ...(budget === undefined ? {} : { budget }) };
      return held.experiment;
    },
    async remove(key) {
      get(key);
      turn(key, "DELETING");
    },
    async timeline(key) {
      get(key);
      return { fromMs: 1, stepMs: 256, partial: false, sets: [] };
    },
    async failures(key) {
      get(key);
      return { failed: 0, counted: 0, groups: [] };
    },
    file: async (key) => get(key).file ?? notFound(),
    async resubmit(key, { owner, project, as }) {
      const { experiment, plan } = get(key);
      return this.create({ owner, project, plan, priority: experiment.priority, id: as });
    },
    retry: async (key) => turn(key, "RETRYING"),
    find: async (key) => get(key).experiment,
    async view(key) {
      const { experiment, plan } = get(key);
      const { budget: _, ...e } = experiment;
      const done = e.status === "COMPLETED";
      const sets = plan.sets.map(({ name, count }) => ({
        set: name,
        total: count,
        done: done ? count : 0,
        failed: 0,
        skipped: 0,
        leased: done ? 0 : 1,
      }));
      return { ...e, project: e.project ?? personalProject(e.owner), labels: plan.labels, tasks: e.taskCount, sets };
    },
    list: async (owner, page) => pageOf(fake, (e) => e.owner === owner, page),
    listProject: async (project, page) => pageOf(fake, (e) => e.project === project, page),
    async tasks(key, filter) {
      const sets = get(key).plan.sets.filter((set) => filter.set === undefined || set.name === filter.set);
      const all = sets.flatMap((set) => Array.from({ length: set.count }, (_, number) => ({ set: set.name, number })));
      const items = all
        .slice(0, filter.limit)
        .map(({ set, number }) => ({ task: `${set}/${number}`, set, number, state: "QUEUED" as const, parameters: {}, attempts: 0 }));
      return { items };
    },
    async task(key, set, number) {
      if (number >= setAt(key, set).count) notFound();
      return { task: `${set}/${number}`, set, number, state: "QUEUED", parameters: { A: "1" }, attempts: 0, dependsOn: [], history: [] };
    },
    async outputs(key, { limit, cursor }) {
      get(key);
      const from = Number(cursor ?? 0);
      const items = fake.outputs.slice(from, from + limit).map(({ text: _, ...view }) => view);
      return { items, ...(from + limit < fake.outputs.length ? { cursor: String(from + limit) } : {}) };
    },
    async output(key, { set, number, name }) {
      get(key);
      const found = fake.outputs.find((output) => output.task === `${set}/${number}` && output.name === name) ?? notFound();
      const { text, ...view } = found;
      async function* content() {
        yield Buffer.from(text);
      }
      return { view, content: content() };
    },
  };
}

const workers: Worker[] = [
  {
    key: { id: id("worker"), incarnation: 1 },
    pool: "local",
    state: "READY",
    size: { cpuMilli: 2000, memoryMib: 1024, gpu: 0 },
    cap: { cpuMilli: 4000, memoryMib: 2048, gpu: 0 },
    free: { cpuMilli: 1000, memoryMib: 512, gpu: 0 },
    leases: new Set(["x"]),
    session: 1,
    gateway: undefined,
    beat: 1,
    expiresAtMs: 5,
    endsAtMs: undefined,
    packages: ["pip"],
    phases: new Map(),
    host: "node-1",
    version: "0.1.0",
  },
];

const fakeTaskLogs = (fake: () => FakeHttp): HttpDeps["taskLogs"] => ({
  locate: async (key, { set, number }) => fake().logs.get(`${key} ${set}/${number}`) ?? { kind: "waiting", state: "QUEUED" },
  async read(result, stream, from) {
    const data = Buffer.from(result[stream] ?? "");
    const offset = Math.min(from, data.length);
    return { extent: { bytes: data.length, omittedAt: 0, omitted: 0 }, offset, data: data.subarray(offset) };
  },
});

const refuse = (): never => {
  throw new SchedulerError("unauthenticated", "name or password is wrong, or the token is not valid");
};

const alicesStorage = (resource: string): Parameters<HttpDeps["authorization"]["write"]>[0] => {
  const object = { type: "storage_resource", id: resource } as const;
  return [
    { object, relation: "owner", subject: { type: "user", id: ALICE.id } },
    { object, relation: "deployment", subject: { type: "deployment", id: "main" } },
  ];
};

/** A machine of the administrator's and a folder of Alice's. */
function openResources(authorization: Authorization) {
  const resources = createMemoryResourceStore();
  const files = id("resource");
  void resources.putResource({ kind: "LOCAL", id: id("resource"), name: "local", owner: ADMIN.id, createdAtMs: 1 });
  void resources.putResource({ kind: "POSIX", id: files, name: STORAGE, owner: ALICE.id, root: "/files", createdAtMs: 1 });
  void authorization.write(alicesStorage(files));
  const storage = createMemoryStorage();
  storage.place("/in.txt", Buffer.from("in"));
  return { resources, storage };
}

/** Looked up late: the orchestrator is made last. */
const ofExperiments = (fake: () => FakeHttp, orchestrator: () => ExperimentOrchestrator) => ({
  experiments: {
    list: (...asked: Parameters<ExperimentOrchestrator["list"]>) => orchestrator().list(...asked),
    cancel: (key: ExperimentId) => orchestrator().cancel(key),
    remove: (key: ExperimentId) => orchestrator().remove(key),
  },
  planOf: async (e: Experiment) => (fake().experiments.get(e.id) ?? notFound()).plan,
});

/** Tokens are names, and every password is the same. */
const knownByName = (accounts: HttpDeps["accounts"], users: ReadonlyMap<string, User>): HttpDeps["accounts"] => ({
  ...accounts,
  login: async (name, password) => {
    const user = [...users.values()].find((one) => one.name === name);
    if (user === undefined || password !== PASSWORD) return refuse();
    // A whole user record, as the room gives it: the hash must not get out.
    const expiresAtMs = 4_000_000_000_000;
    return { token: tokenOf(user), expiresAtMs, refreshToken: "art_refresh", refreshExpiresAtMs: expiresAtMs, user: recordOf(user) };
  },
  authenticate: async (token) => {
    const user = users.get(token) ?? refuse();
    return { user: recordOf(user), scopes: user.scopes, by: user.by };
  },
});

export function createFakeHttp(options: Partial<HttpDeps> = {}): FakeHttp {
  const users = new Map([ALICE, BOB, ADMIN].map((user) => [tokenOf(user), user]));
  const authorization = createMemoryAuthorization();
  const deployment = { type: "deployment", id: "main" } as const;
  void authorization.write([{ object: deployment, relation: "admin", subject: { type: "user", id: ADMIN.id } }]);
  const { resources, storage } = openResources(authorization);
  const store = createMemoryAccountStore();
  for (const user of users.values()) void store.createUser(recordOf(user));
  const errors: string[] = [];
  const clock = { now: (): number => fake.nowMs };
  const random = { bytes: randomBytes };
  const accounts = createAccounts({ store, clock, random, tokenKey: randomBytes(32), passwordCost: CHEAP });
  const projects = createProjects({
    ...{ store: createMemoryProjectStore(), authorization, deploymentId: "main", clock, random },
    tasks: { listProject: (project, page) => orchestrator.listProject(project, page) },
  });
  const deps: HttpDeps = {
    accounts: knownByName(accounts, users),
    signIn: { registration: "closed" },
    get orchestrator() {
      return orchestrator;
    },
    scheduler: {
      explain: async (key) => {
        const { experiment } = fake.experiments.get(key) ?? notFound();
        return { experiment, waiting: 1, running: 0, causes: [{ why: { kind: "paused" }, tasks: 1, exact: true }], upstream: [] };
      },
    },
    compilePlan,
    costs: { of: async () => costOf({ "write-units": 1_500_000 }) },
    charging: (_payers, work) => work(),
    authorization,
    projects,
    departure: createDeparture({
      store,
      projects,
      authorization,
      deploymentId: "main",
      ...ofExperiments(
        () => fake,
        () => orchestrator,
      ),
    }),
    taskLogs: fakeTaskLogs(() => fake),
    gateways: { urlFor: async () => fake.gatewayUrl },
    deploymentId: "main",
    resources: createResourceRegistry({ store: resources, clock, random }),
    openStorage: () => storage,
    workers: { list: async () => workers },
    deadLetters: createDeadLetters({ messages: createMemoryMessageQueue({ clock: createFakeClock() }), queues: async () => ["schedule"] }),
    idempotency: createMemoryIdempotencyStore(clock),
    rate: { limiter: createMemoryRateLimiter(clock), perSecond: 1_000, burst: 1_000_000 },
    corsOrigins: [],
    health: async () => ({ state: true }),
    deadLetterCount: async () => 0,
    clock,
    logger: { info: () => undefined, warn: () => undefined, error: (_message, facts) => void errors.push(JSON.stringify(facts)) },
    version: "0.1.0",
    ...options,
  };
  const fake: FakeHttp = {
    deps,
    experiments: new Map(),
    outputs: [anOutput("hello/0", "out.txt")],
    errors,
    failSubmit: undefined,
    hold: undefined,
    nowMs: 1_000,
    logs: new Map(),
    gatewayUrl: undefined,
  };
  const orchestrator = options.orchestrator ?? fakeOrchestrator(fake);
  return fake;
}

export const EXPERIMENT_YAML = `name: greetings
parameters:
  WHO: {type: string, description: whom}
scripts:
  HELLO: |
    #!/bin/bash
    echo "hello $WHO" > "$OUT"
tasks:
  hello:
    script: HELLO
    task_inputs:
      WHO: [ann, ben, cy]
    task_outputs:
      OUT: "out.txt"
`;
