/** A gateway and workers in virtual time, over memory, without faults: the real scheduler, gateway, lifecycle and agent. */
import { createMemoryInputStore } from "#adapters/memory/input-store.ts";
import { createMemoryTable, type MemoryTable } from "#adapters/memory/table.ts";
import { createMemoryTaskStore } from "#adapters/memory/task-store.ts";
import { createMemoryCostStore } from "#adapters/memory/cost-store.ts";
import { createMemoryWorkerStore } from "#adapters/memory/worker-store.ts";
import { createResults } from "#core/data-mover/index.ts";
import { createExperimentOrchestrator, type ExperimentOrchestrator } from "#core/experiment-orchestrator/index.ts";
import { createPlans, createTaskScheduler, type Hint } from "#core/task-scheduler/index.ts";
import { createWorkerLifecycle, dispatchMessage } from "#core/worker-lifecycle/index.ts";
import type { Budget } from "#domain/budget.ts";
import type { Experiment } from "#domain/experiment.ts";
import { makeId } from "#domain/id.ts";
import { members, minus, setOf } from "#domain/index-set.ts";
import type { Plan } from "#domain/plan.ts";
import type { TaskResult } from "#domain/result.ts";
import type { CostStore } from "#ports/cost-store.ts";
import type { Logger } from "#ports/logger.ts";
import type { ObjectStore } from "#ports/object-store.ts";
import type { Channel } from "#protocol/channel.ts";
import type { AgentMessage, GatewayMessage } from "#protocol/gen/worker.ts";
import { createAgent } from "../../worker/agent/agent.ts";
import { createGateway } from "../../worker/gateway/gateway.ts";
import { createKernel, type Kernel } from "../simulation/kernel.ts";
import { assignmentOf, submission } from "../simulation/plan.ts";

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };
const TIMER_MS = 60_000;

export interface SimulatedWorker {
  readonly host: string;
  readonly cores: number;
  readonly prefetchPercent: number;
  /** How long a task takes here, and how it ends. */
  readonly run: (index: number) => { readonly ms: number; readonly outcome: TaskResult["outcome"]; readonly stagingMs?: number };
  /** When it comes, after the start. */
  readonly joinsAtMs?: number;
}

export interface Cluster {
  readonly kernel: Kernel;
  readonly table: MemoryTable;
  readonly experiment: Experiment["id"];
  /** What it cost by now, as meters would have saved it. */
  readonly costs: CostStore;
  readonly orchestrator: ExperimentOrchestrator;
  /** As a user sees it. */
  stateOf(set: string, number: number): Promise<string>;
  /** The host's streams carry nothing any more, either way. */
  silence(host: string): void;
  /** Runs until `done` or for so long. Gives the running time since the start. */
  run(done: () => boolean, limitMs: number): Promise<number>;
}

export async function createCluster(
  plan: Plan,
  workers: readonly SimulatedWorker[],
  budget: Budget = {},
  /** Why a task can't get its inputs. */
  unstaged: (index: number) => string | undefined = () => undefined,
): Promise<Cluster> {
  const kernel = createKernel(1);
  const { random } = kernel;
  const table = createMemoryTable();
  const tasks = createMemoryTaskStore(table);
  const workerStore = createMemoryWorkerStore(table);
  const objects = new Map<string, Uint8Array>([["p/h", new Uint8Array(0)]]);
  const store = {
    putIfAbsent: async (key: string, body: Uint8Array) => void objects.set(key, body),
    get: async (key: string) => objects.get(key),
  } as unknown as ObjectStore;
  const p = kernel.process("all", 0);
  const { clock } = p;
  const costs = createMemoryCostStore();
  const plans = createPlans({ store: tasks, objects: store, decodePlan: () => plan });
  const hint = async (h: Hint, delayMs: number) => kernel.at(delayMs + 5, () => void scheduler.schedule([h]));
  const scheduler = createTaskScheduler({
    ...{
      store: tasks,
      workers: workerStore,
      costs,
      plans,
      objects: store,
      inputs: createMemoryInputStore(),
      clock,
      random,
      logger: quiet,
      hint,
    },
    access: async () => "usable",
    dispatch: async (lease, _gateway, recall) => kernel.at(5, () => void gateway.dispatched(dispatchMessage(lease.key, recall))),
  });
  const lifecycle = createWorkerLifecycle({ tasks, workers: workerStore, scheduler, clock, random, logger: quiet });
  const id = makeId("gateway", clock.now(), random.bytes(10));
  const gateway = createGateway({
    ...{ id, tasks, workers: workerStore, objects: store, plans, scheduler, lifecycle, clock, logger: quiet, writer: id },
    assignment: async (lease, indices) => {
      const missing = members(indices).filter((index) => unstaged(index) !== undefined);
      const assignment = assignmentOf(plan, lease, minus(indices, setOf(missing)));
      return { assignment, unstaged: missing.map((index) => ({ index, message: unstaged(index) ?? "" })) };
    },
    hint: (h) => hint(h, 0),
  });
  const silent = new Set<string>();
  const begin = (worker: SimulatedWorker) => {
    const me = makeId("worker", clock.now(), random.bytes(10));
    const agent = createAgent({
      dial: async () => {
        const [near, far] = createPair(kernel, () => silent.has(worker.host));
        void gateway.serve({ worker: me, pool: "sim" }, far);
        return near;
      },
      signUploads: async () => [],
      executor: {
        async run({ task: { index }, enter }, signal) {
          const { ms, outcome, stagingMs } = worker.run(index);
          const startedAtMs = clock.now();
          if (stagingMs !== undefined) await clock.sleep(stagingMs, signal);
          enter("running");
          await clock.sleep(ms, signal);
          enter("staging-out");
          if (stagingMs !== undefined) await clock.sleep(stagingMs, signal);
          const usage = { wallMs: ms, cpuMs: ms, memoryPeakBytes: 0, bytesIn: 0, bytesOut: 0 };
          return { index, outcome, startedAtMs, endedAtMs: clock.now(), usage, inputs: [], outputs: [] };
        },
      },
      ...{
        clock: { ...clock, now: kernel.nowMs },
        random,
        logger: quiet,
        host: worker.host,
        prefetchPercent: worker.prefetchPercent,
        endsAtMs: 0,
        packages: [],
      },
      size: { cpuMilli: worker.cores * 1000, memoryMib: 0, gpu: 0 },
    });
    void agent.run(new AbortController().signal);
  };
  const experiment = makeId("experiment", clock.now(), random.bytes(10));
  const draft = submission(plan, { id: experiment, owner: makeId("user", clock.now(), random.bytes(10)), nowMs: clock.now() });
  await tasks.createExperiment(draft.experiment, draft.records);
  await tasks.turn({ post: { ...draft.experiment, status: "RUNNING", version: 1, live: true, budget }, expectVersion: 0 });
  const results = createResults({ tasks, objects: store });
  const data = { open: () => Promise.reject(new Error("no files here")) };
  const orchestrator = createExperimentOrchestrator({
    ...{ tasks, workers: workerStore, objects: store, plans, scheduler, results, data, clock, random, hint: (h: Hint) => hint(h, 0) },
  });
  const startMs = kernel.nowMs();
  for (const w of workers) kernel.at(w.joinsAtMs ?? 0, () => begin(w));
  const tick = () => {
    void scheduler.sweep();
    void lifecycle.reap();
    kernel.at(TIMER_MS, tick);
  };
  kernel.at(50, tick);
  void gateway.beat(new AbortController().signal);
  return {
    ...{ kernel, table, experiment, costs, orchestrator },
    silence: (host) => void silent.add(host),
    stateOf: async (set, number) => (await orchestrator.task(experiment, set, number)).state,
    async run(done, limitMs) {
      await kernel.run(() => done() || kernel.nowMs() - startMs > limitMs);
      return kernel.nowMs() - startMs;
    },
  };
}

/** Two ends of one stream, in order, with some latency. */
function createPair(
  kernel: Kernel,
  isSilent: () => boolean,
): [Channel<AgentMessage, GatewayMessage>, Channel<GatewayMessage, AgentMessage>] {
  const end = () => ({ inbox: [] as unknown[], waiting: undefined as ((m: unknown) => void) | undefined, ended: false });
  const [a, b] = [end(), end()];
  const offer = (to: ReturnType<typeof end>, m: unknown) =>
    kernel.at(1, () => {
      if (isSilent()) return;
      if (m === undefined) to.ended = true;
      if (to.waiting === undefined) to.inbox.push(m);
      else to.waiting(m);
      to.waiting = undefined;
    });
  const close = () => {
    for (const e of [a, b]) offer(e, undefined);
  };
  const side = (me: ReturnType<typeof end>, other: ReturnType<typeof end>) => ({
    send: (m: unknown) => void offer(other, m),
    backlog: () => 0,
    receive: () =>
      new Promise<unknown>((resolve) => {
        if (me.inbox.length > 0) resolve(me.inbox.shift());
        else if (me.ended) resolve(undefined);
        else me.waiting = resolve;
      }),
    close,
  });
  return [side(a, b) as Channel<AgentMessage, GatewayMessage>, side(b, a) as Channel<GatewayMessage, AgentMessage>];
}
