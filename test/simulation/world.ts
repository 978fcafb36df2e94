/**
 * One seeded world: the real scheduler, gateway, lifecycle and agent over memory adapters, with faults between them.
 *
 * Faults: a store write that is applied or lost or applied late while its caller is told "unknown"; stale and partial
 * hints; lost, doubled, late and reordered messages; streams that break or go silent; processes that die at any await;
 * workers that freeze and wake late; clocks that differ; tasks that fail or kill their worker; pause, cancel and retry
 * at any moment; in every fifth world the wall clock of everybody jumps by an hour, forward and back. Then faults stop and the repairers alone must finish everything.
 */
import { createMemoryInputStore } from "#adapters/memory/input-store.ts";
import { createMemoryTable, type MemoryTable } from "#adapters/memory/table.ts";
import { createMemoryTaskStore } from "#adapters/memory/task-store.ts";
import { createMemoryCostStore } from "#adapters/memory/cost-store.ts";
import { createMemoryWorkerStore } from "#adapters/memory/worker-store.ts";
import { createPlans, createTaskScheduler, type Hint, type Plans, type TaskScheduler } from "#core/task-scheduler/index.ts";
import { createWorkerLifecycle, dispatchMessage, type WorkerLifecycle } from "#core/worker-lifecycle/index.ts";
import type { Experiment } from "#domain/experiment.ts";
import { type GatewayId, makeId, type WorkerId } from "#domain/id.ts";
import { decodeSet, type IndexSet, SEGMENT_TASKS } from "#domain/index-set.ts";
import type { Lease } from "#domain/lease.ts";
import type { Plan } from "#domain/plan.ts";
import type { TaskResult } from "#domain/result.ts";
import type { Logger } from "#ports/logger.ts";
import type { TaskStore, WriteOutcome } from "#ports/task-store.ts";
import type { WorkerStore } from "#ports/worker-store.ts";
import type { Channel } from "#protocol/channel.ts";
import type { AgentMessage, GatewayMessage } from "#protocol/gen/worker.ts";
import { createAgent } from "../../worker/agent/agent.ts";
import { createGateway, type Gateway } from "../../worker/gateway/gateway.ts";
import { createChecker, Violation } from "./checker.ts";
import { createKernel, type Kernel, type Process } from "./kernel.ts";
import { createObjects } from "./objects.ts";
import { assignmentOf, planOf, planSet, submission, workflowOf } from "./plan.ts";

const FAULTS_MS = 10 * 60_000;
const END_MS = 3 * 3_600_000;
const TIMER_MS = 60_000;
const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };

export interface Report {
  readonly violation?: string;
  readonly steps: number;
  readonly tasks: number;
  readonly leases: number;
}

/** What one process is made of. */
interface Room {
  readonly tasks: TaskStore;
  readonly workers: WorkerStore;
  readonly plans: Plans;
  readonly scheduler: TaskScheduler;
  readonly lifecycle: WorkerLifecycle;
}

interface Odds {
  readonly unknown: number;
  readonly crash: number;
  readonly dropMessage: number;
  readonly stale: number;
  readonly fail: number;
  /** Some calls hang for seconds: that is where races are. */
  readonly slow: number;
  readonly cancels: boolean;
  /** The experiment is deleted as soon as that is possible, and must be gone at the end. */
  readonly deletes: boolean;
  /** The experiment's limit of tasks that workers hold. */
  readonly tasksAtOnce: number | undefined;
  /** A third of the seeds: retries racing with skips, closes and completions. */
  readonly focus: boolean;
  readonly poison: ReadonlySet<string>;
}

export async function runWorld(seed: number): Promise<Report> {
  const kernel = createKernel(seed);
  const world = createWorld(kernel, seed);
  try {
    await world.go();
    return { steps: kernel.steps, ...world.counts() };
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    return { violation: error.message, steps: kernel.steps, ...world.counts() };
  }
}

/** Every fourth world a workflow; else a root set, one task or two for each of its tasks, and a barrier behind them. */
function drawPlan(random: Kernel["random"], seed: number): Plan {
  if (seed % 4 === 3) {
    const sizes = { sets: 1 + random.below(4), tasks: SEGMENT_TASKS + random.below(3 * SEGMENT_TASKS), barrier: 1 + random.below(8) };
    return workflowOf(sizes, random.below);
  }
  const roots = SEGMENT_TASKS + random.below(2 * SEGMENT_TASKS);
  const factor = random.pick([1, 1, 2]);
  const sets = [
    planSet("p", roots, {}),
    planSet("c", roots * factor, { foreach: [0], factor }),
    planSet("b", 1 + random.below(SEGMENT_TASKS), { after: [1] }),
  ];
  return planOf(sets);
}

function drawOdds(random: Kernel["random"]): Odds {
  return {
    unknown: random.pick([0, 0.05, 0.2]),
    crash: random.pick([0, 0.002, 0.01]),
    dropMessage: random.pick([0, 0.2, 0.5]),
    stale: random.pick([0, 0.2, 0.5]),
    fail: random.pick([0, 0.02, 0.3]),
    slow: random.pick([0, 0.01, 0.05]),
    cancels: random.chance(0.15),
    deletes: random.chance(0.15),
    tasksAtOnce: random.pick([undefined, undefined, undefined, 6]),
    focus: random.chance(0.33),
    poison: new Set(random.chance(0.3) ? [`0/${random.below(2)}/${random.below(SEGMENT_TASKS)}`] : []),
  };
}

const LATENCY_MS = 8;
const WRITES = new Set([
  ...["createExperiment", "turn", "assign", "commit", "settle", "skip", "skipSet", "reopen", "reopenSet"],
  ...["removeSegment", "removeSet", "removeExperiment"],
  ...["register", "drain", "markDead", "removeDead", "putToken"],
]);
const HINTS = new Set(["openSegments", "liveExperiments", "workersWithRoom"]);

/** Keeps the first violation: it may be found deep inside a process that carries on. */
function createVerdict() {
  const verdict = {
    violation: undefined as Violation | undefined,
    guard<T>(work: () => T): T | undefined {
      try {
        return work();
      } catch (error) {
        if (!(error instanceof Violation)) throw error;
        verdict.violation ??= error;
        return undefined;
      }
    },
  };
  return verdict;
}

function createWorld(kernel: Kernel, seed: number) {
  const { random } = kernel;
  const table = createMemoryTable();
  const rawTasks = createMemoryTaskStore(table);
  const rawWorkers = createMemoryWorkerStore(table);
  const objects = new Map([["p/h", ""]]);
  const plan = drawPlan(random, seed);
  const odds = drawOdds(random);
  const checker = createChecker(table, plan);
  let faults = true;
  const verdict = createVerdict();
  const { guard } = verdict;
  const startMs = kernel.nowMs();
  const experimentId = makeId("experiment", kernel.nowMs(), random.bytes(10));
  const workerIds: WorkerId[] = [0, 1, 2].map(() => makeId("worker", kernel.nowMs(), random.bytes(10)));
  const gateways: { process: Process; gateway: Gateway; id: GatewayId }[] = [];
  const agents = new Map<WorkerId, Process>();

  /** Applies a write and checks everything. */
  async function apply(write: () => Promise<WriteOutcome>): Promise<WriteOutcome> {
    const check = checker.around();
    const outcome = await write();
    guard(check);
    return outcome;
  }

  /** A write seen through the network: a third of the unknown ones are applied, a third are lost, a third come late. */
  async function faulty(p: Process, write: () => Promise<WriteOutcome>): Promise<WriteOutcome> {
    maybeCrash(p);
    if (!faults || !random.chance(odds.unknown)) return apply(write);
    const how = random.below(3);
    if (how === 0) await apply(write);
    if (how === 1) kernel.at(random.below(120_000), () => void apply(write));
    return { kind: "unknown" };
  }

  function maybeCrash(p: Process): void {
    if (faults && random.chance(odds.crash)) p.kill();
  }

  /** Every method becomes a call of the process: latency, faults, crash points. */
  function through<T extends object>(p: Process, raw: T): T {
    return new Proxy(raw, {
      get(target, property) {
        const method = Reflect.get(target, property) as (...args: unknown[]) => Promise<unknown>;
        const name = String(property);
        return (...args: unknown[]) =>
          p.call(faults && random.chance(odds.slow) ? 20_000 : LATENCY_MS, async () => {
            if (WRITES.has(name)) return faulty(p, () => method(...args) as Promise<WriteOutcome>);
            maybeCrash(p);
            if (name === "heartbeat" || name === "connect") {
              if (!faults || !random.chance(odds.unknown)) return method(...args);
              if (random.chance(0.5)) await method(...args);
              return { kind: "unknown" };
            }
            const answer = await method(...args);
            const lagging = faults && HINTS.has(name) && random.chance(odds.stale);
            return lagging ? (answer as unknown[]).filter(() => random.chance(0.5)) : answer;
          });
      },
    });
  }

  const isLate = () => faults && random.chance(odds.unknown);
  const objectsFor = (process: Process) => createObjects(objects, kernel, { process, latencyMs: LATENCY_MS, maybeCrash, isLate });
  // --- messages
  function post(deliver: () => void, delayMs: number): void {
    if (faults && random.chance(odds.dropMessage)) return;
    const copies = faults && random.chance(0.1) ? 2 : 1;
    for (let i = 0; i < copies; i++) kernel.at(delayMs + random.below(faults && random.chance(0.1) ? 30_000 : 10), deliver);
  }
  let passPlanned = false;
  const hint = async (h: Hint, delayMs: number) => {
    post(() => {
      if (passPlanned && random.chance(0.5)) return;
      passPlanned = true;
      kernel.at(5, () => {
        passPlanned = false;
        invoke("schedule", (room) => room.scheduler.schedule([h]));
      });
    }, delayMs);
  };
  const dispatch = async (lease: Lease, _gateway?: GatewayId, recall?: number) => {
    post(() => {
      for (const g of gateways) if (g.process.alive) void g.gateway.dispatched(dispatchMessage(lease.key, recall)).catch(() => undefined);
    }, 0);
  };

  function rooms(p: Process): Room {
    const tasks = through(p, rawTasks);
    const workers = through(p, rawWorkers);
    const plans = createPlans({ store: tasks, objects: objectsFor(p), decodePlan: () => plan });
    const scheduler = createTaskScheduler({
      store: tasks,
      workers,
      costs: createMemoryCostStore(),
      plans,
      access: async () => "usable",
      objects: objectsFor(p),
      inputs: createMemoryInputStore(),
      clock: p.clock,
      random: p.random,
      logger: quiet,
      dispatch,
      hint,
    });
    const lifecycle = createWorkerLifecycle({ tasks, workers, scheduler, clock: p.clock, random: p.random, logger: quiet });
    return { tasks, workers, plans, scheduler, lifecycle };
  }

  let invocations = 0;
  /** One function invocation: a process of its own. */
  function invoke(name: string, work: (room: Room) => Promise<unknown>): void {
    const p = kernel.process(`${name}-${++invocations}`, random.below(20_000) - 10_000);
    void work(rooms(p)).catch((error: unknown) => {
      if (error instanceof Violation) verdict.violation ??= error;
    });
  }

  // --- gateways
  function startGateway(): void {
    const p = kernel.process("gateway", random.below(20_000) - 10_000);
    const id = makeId("gateway", kernel.nowMs(), random.bytes(10));
    const { tasks, workers, plans, scheduler, lifecycle } = rooms(p);
    const gateway = createGateway({
      id,
      tasks,
      workers,
      objects: objectsFor(p),
      plans,
      scheduler,
      lifecycle,
      assignment: async (lease, indices) => ({ assignment: assignmentOf(plan, lease, indices), unstaged: [] }),
      hint: (h) => hint(h, 0),
      clock: p.clock,
      logger: quiet,
      writer: id,
    });
    const me = { process: p, gateway, id };
    gateways.push(me);
    p.onKill.push(() => {
      gateways.splice(gateways.indexOf(me), 1);
      kernel.at(1_000 + random.below(20_000), startGateway);
    });
    void gateway.beat(new AbortController().signal);
  }

  // --- streams
  function connect(agent: Process): Channel<AgentMessage, GatewayMessage> {
    const target = gateways.length === 0 ? undefined : random.pick(gateways);
    if (target === undefined) throw new Error("no gateway");
    const [near, far] = channelPair(kernel, agent, target.process, (m) => watch(m));
    const worker = [...agents].find(([, p]) => p === agent)?.[0] as WorkerId;
    void target.gateway.serve({ worker, pool: "sim" }, far).catch(() => far.close("error"));
    if (faults && random.chance(0.3)) kernel.at(random.below(180_000), () => faults && near.close("broken"));
    return near;
  }
  /** What a gateway tells an agent to be committed must be so at that moment. */
  function watch(m: GatewayMessage): void {
    const body = m.body;
    if (body?.$case === "acknowledged") guard(() => checker.acknowledged(body.value.lease, decodeSet(body.value.tasks)));
  }

  // --- agents
  let runs = 0;
  function startAgent(id: WorkerId): void {
    const p = kernel.process(`agent-${id}`, 0);
    agents.set(id, p);
    const started = new Set<string>();
    const agent = createAgent({
      dial: () => p.call(LATENCY_MS, () => connect(p)),
      signUploads: async () => [],
      executor: { run: (attempt, signal) => execute(p, started, attempt.assignment.lease, attempt.task.index, signal) },
      clock: { ...p.clock, now: kernel.nowMs }, // running time, as in agent/main.ts
      random,
      logger: quiet,
      size: { cpuMilli: 2000, memoryMib: 0, gpu: 0 },
      prefetchPercent: random.pick([0, 100]),
      host: "sim",
      packages: [],
      endsAtMs: 0,
    });
    p.onKill.push(() => kernel.at(500 + random.below(60_000), () => startAgent(id)));
    void agent.run(new AbortController().signal);
  }

  async function execute(p: Process, started: Set<string>, lease: string, index: number, signal: AbortSignal): Promise<TaskResult> {
    const attempt = `${lease}/${index}`;
    guard(() => {
      if (started.has(attempt)) throw new Violation(`attempt ${attempt} started twice in one life of its worker`);
      started.add(attempt);
      checker.mayStart(lease, index);
    });
    const message = `run ${++runs}`;
    checker.runs.set(attempt, message);
    const startedAtMs = p.clock.now();
    const [, set, segment] = lease.split("/");
    if (odds.poison.has(`${set}/${segment}/${index}`)) await p.clock.sleep(50).then(() => p.kill());
    await p.clock.sleep(random.chance(0.05) ? random.below(40_000) : random.below(3_000), signal);
    const fails = faults && random.chance(odds.fail);
    const outcome = fails ? random.pick(["exit", "signal", "timeout", "staging"] as const) : "done";
    const usage = { wallMs: 1, cpuMs: 1, memoryPeakBytes: 0, bytesIn: 0, bytesOut: 0 };
    return { index, outcome, message, startedAtMs, endedAtMs: p.clock.now(), usage, inputs: [], outputs: [] };
  }

  // --- what users and operators do
  async function submit(): Promise<void> {
    const owner = makeId("user", kernel.nowMs(), random.bytes(10));
    const limit = odds.tasksAtOnce === undefined ? {} : { tasksAtOnce: odds.tasksAtOnce };
    const made = submission(plan, { id: experimentId, owner, nowMs: kernel.nowMs() });
    const { records } = made;
    const experiment = { ...made.experiment, ...limit };
    const create = () => apply(() => rawTasks.createExperiment(experiment, records));
    await create();
    // The same request, late: whatever has become of the experiment meanwhile.
    kernel.at(random.below(2 * FAULTS_MS), () => void create());
    await apply(() => rawTasks.turn({ post: { ...experiment, status: "RUNNING", version: 1, live: true }, expectVersion: 0 }));
    await hint({ experiment: experiment.id }, 0);
  }

  function timer(): void {
    invoke("sweep", ({ scheduler }) => scheduler.sweep());
    invoke("reap", ({ lifecycle }) => lifecycle.reap());
    if (!faults) {
      invoke("resume", ({ scheduler }) =>
        scheduler.control.turn(experimentId, { from: ["PAUSED"], change: () => ({ status: "RUNNING" }) }),
      );
      if (odds.deletes) invoke("delete", ({ scheduler }) => scheduler.control.startDeletion(experimentId));
    }
    kernel.at(TIMER_MS, timer);
  }

  const open = () => [...table.leases.values()].filter((l) => l.state === "OPEN");
  const settled = (): boolean => {
    if (faults || open().length > 0 || checker.orphans(objects).length > 0) return false;
    const e = table.experiments.get(experimentId);
    // Whatever is late has come by then.
    if (odds.deletes) return e === undefined && kernel.nowMs() > startMs + 2 * FAULTS_MS;
    return e !== undefined && ["COMPLETED", "FAILED", "CANCELED"].includes(e.status) && !e.live;
  };

  return {
    counts: () => ({ tasks: checker.runs.size, leases: table.leases.size }),
    async go(): Promise<void> {
      startGateway();
      startGateway();
      for (const id of workerIds) startAgent(id);
      await submit();
      timer();
      const meddle = createMeddling(kernel, { experiment: experimentId, table, odds, gateways, agents, faulty: () => faults, invoke });
      kernel.at(random.below(5_000), meddle);
      // Not drawn from the world's chance: all other worlds stay what they were.
      if (seed % 5 === 4)
        for (const [i, ms] of [3_600_000, -3_600_000, -3_600_000].entries())
          kernel.at((i + 1) * (97_000 + (seed % 89) * 1_000), () => kernel.stepWall(ms));
      kernel.at(FAULTS_MS, () => {
        faults = false;
        for (const p of agents.values()) p.frozenUntilMs = 0;
      });
      const endMs = kernel.nowMs() + END_MS;
      await kernel.run(() => verdict.violation !== undefined || settled() || kernel.nowMs() > endMs);
      if (verdict.violation !== undefined) throw verdict.violation;
      if (!settled())
        throw new Violation(
          `stuck: the experiment is ${table.experiments.get(experimentId)?.status} after three hours; open leases ${open().length}, orphaned objects ${checker.orphans(objects).join(" ")}`,
        );
      // What was acknowledged and skipped is looked at when all is quiet.
      checker.final(objects);
    },
  };
}

interface Meddling {
  readonly experiment: Experiment["id"];
  readonly table: MemoryTable;
  readonly odds: Odds;
  readonly gateways: readonly { readonly process: Process; readonly gateway: Gateway }[];
  readonly agents: ReadonlyMap<WorkerId, Process>;
  readonly faulty: () => boolean;
  invoke(name: string, work: (room: Room) => Promise<unknown>): void;
}

/** What users, operators and fate do, at any moment until faults end. */
function createMeddling({ random, ...kernel }: Pick<Kernel, "random" | "nowMs" | "at">, at: Meddling): () => void {
  const { experiment: id, odds, invoke } = at;
  function meddle(): void {
    if (random.chance(0.25))
      invoke("pause", ({ scheduler }) => scheduler.control.turn(id, { from: ["RUNNING"], change: () => ({ status: "PAUSED" }) }));
    if (random.chance(0.6))
      invoke("resume", ({ scheduler }) => scheduler.control.turn(id, { from: ["PAUSED"], change: () => ({ status: "RUNNING" }) }));
    if (random.chance(0.15)) retry();
    if (random.chance(0.2)) complete();
    if (odds.cancels && random.chance(0.02))
      invoke("cancel", ({ scheduler }) =>
        scheduler.control.turn(id, { from: ["RUNNING", "PAUSED", "RETRYING"], change: () => ({ status: "CANCELED" }) }),
      );
    if (random.chance(0.3)) edit();
    if (odds.deletes && random.chance(0.05))
      invoke("cancel", ({ scheduler }) =>
        scheduler.control.turn(id, { from: ["RUNNING", "PAUSED", "RETRYING"], change: () => ({ status: "CANCELED" }) }),
      );
    if (odds.deletes && random.chance(0.5)) remove();
    if (random.chance(0.2)) forcedSteal();
    if (random.chance(0.4)) agreedSteal();
    if (odds.focus) for (let i = 0; i < 3; i++) random.pick([retry, passNow, complete, complete])();
    if (random.chance(0.15)) random.pick([...at.agents.values()]).kill();
    if (random.chance(0.1)) random.pick([...at.agents.values()]).frozenUntilMs = kernel.nowMs() + random.below(300_000);
    if (random.chance(0.05) && at.gateways.length > 0) random.pick(at.gateways).process.kill();
    if (at.faulty()) kernel.at(random.below(odds.focus ? 4_000 : 30_000), meddle);
  }
  const retry = () =>
    invoke("retry", async ({ scheduler }) =>
      scheduler.control
        .startRetry(id, { id: "op", select: { kind: "all-failed" } })
        .then(({ experiment: e }) => e && scheduler.control.carryOn(e)),
    );
  const remove = () =>
    invoke("delete", async ({ scheduler }) => {
      const { experiment: e } = await scheduler.control.startDeletion(id);
      if (e?.status === "DELETING") await scheduler.control.carryOn(e);
    });
  const edit = () =>
    invoke("edit", ({ scheduler }) =>
      scheduler.control.turn(id, { from: ["RUNNING", "PAUSED"], change: () => ({ priority: random.below(100) }) }),
    );
  const passNow = () => invoke("schedule", ({ scheduler }) => scheduler.schedule([{ experiment: id }]));
  const complete = () => invoke("complete", ({ scheduler }) => scheduler.control.completeIfDone(id));
  function agreedSteal(): void {
    const open = [...at.table.leases.values()].filter((l) => l.state === "OPEN");
    if (open.length > 0)
      for (const g of at.gateways)
        void g.gateway.dispatched(dispatchMessage(random.pick(open).key, 1 + random.below(4))).catch(() => undefined);
  }
  function forcedSteal(): void {
    const open = [...at.table.leases.values()].filter((l) => l.state === "OPEN");
    if (open.length === 0) return;
    const { key, hold } = random.pick(open);
    const tasks = hold.map((w) => w & Math.floor(random.next() * 2 ** 32)) as IndexSet;
    invoke("steal", ({ scheduler }) => scheduler.settle(key, [{ lease: key, back: { tasks, cause: "given-back" }, fold: true }]));
  }
  return meddle;
}

/** Two ends of one stream: in order, with latency; both see its end, some time after it. A dead process closes it. */
function channelPair(
  kernel: Kernel,
  agent: Process,
  gateway: Process,
  watch: (m: GatewayMessage) => void,
): [Channel<AgentMessage, GatewayMessage>, Channel<GatewayMessage, AgentMessage>] {
  interface End {
    inbox: unknown[];
    waiting: ((m: unknown) => void) | undefined;
    ended: boolean;
    readonly process: Process;
    lastMs: number;
  }
  const a: End = { inbox: [], waiting: undefined, ended: false, process: agent, lastMs: 0 };
  const b: End = { inbox: [], waiting: undefined, ended: false, process: gateway, lastMs: 0 };
  let open = true;
  const offer = (end: End, message: unknown) => {
    // A message waits for a frozen process; order is kept.
    const at = Math.max(end.lastMs, kernel.nowMs() + kernel.random.below(10), end.process.frozenUntilMs);
    end.lastMs = at;
    kernel.at(at - kernel.nowMs(), () => {
      if (!end.process.alive || (end.ended && message !== undefined)) return;
      if (message === undefined) end.ended = true;
      const take = end.waiting;
      end.waiting = undefined;
      if (take !== undefined) take(message);
      else end.inbox.push(message);
    });
  };
  const close = () => {
    if (!open) return;
    open = false;
    offer(a, undefined);
    offer(b, undefined);
  };
  agent.onKill.push(close);
  gateway.onKill.push(close);
  const end = (me: End, other: End) => ({
    send: (m: unknown) => {
      if (!open || !me.process.alive) return;
      if (me === b) watch(m as GatewayMessage);
      offer(other, m);
    },
    backlog: () => 0,
    receive: () =>
      new Promise<unknown>((resolve) => {
        if (me.inbox.length > 0) resolve(me.inbox.shift());
        else if (me.ended) resolve(undefined);
        else me.waiting = resolve;
      }),
    close,
  });
  return [end(a, b) as Channel<AgentMessage, GatewayMessage>, end(b, a) as Channel<GatewayMessage, AgentMessage>];
}
