/**
 * The task gateway: holds the streams, delivers leases, commits results. It keeps nothing that it could lose: leases are
 * read from the store before they are delivered, results are acknowledged after they are committed (T4).
 *
 * G1 only a lease that is OPEN and names this incarnation is delivered, without what it has committed.
 * G2 a beat of a worker in the store follows a beat of its agent, never the gateway's own timer.
 * G3 results are in the object store under a key of their own before the commit that refers to them.
 */
import { createHash } from "node:crypto";
import { addCapacity, type Capacity, NO_CAPACITY } from "#domain/capacity.ts";
import type { ExperimentId, GatewayId, WorkerId } from "#domain/id.ts";
import { SEGMENT_TASKS, decodeSet, encodeSet, hasIndex, type IndexSet, isEmptySet, minus, setOf, union } from "#domain/index-set.ts";
import { type Lease, type LeaseKey, leaseName, parseLeaseName } from "#domain/lease.ts";
import { outputKey, resultKey } from "#domain/object-owner.ts";
import type { KeptLog } from "#domain/task-log.ts";
import { type OutputFile, RESULT_FORMAT_VERSION, type ResultObject, type TaskResult } from "#domain/result.ts";
import type { Span } from "#domain/pace.ts";
import { FAILURE_CAUSES, type FailureCause } from "#domain/plan.ts";
import { segmentName } from "#domain/segment.ts";
import { PACKAGE_KINDS, type Phases, type WorkerKey, workerName } from "#domain/worker.ts";
import type { Unstaged } from "#core/data-mover/index.ts";
import type { Batch, Hint, Plans, SettleReport, SettleRequest, TaskScheduler } from "#core/task-scheduler/index.ts";
import { BEAT_INTERVAL_MS, dispatchQueue, parseDispatch, type WorkerLifecycle } from "#core/worker-lifecycle/index.ts";
import type { Clock } from "#ports/clock.ts";
import type { Logger } from "#ports/logger.ts";
import type { ObjectStore } from "#ports/object-store.ts";
import type { TaskStore } from "#ports/task-store.ts";
import type { WorkerStore } from "#ports/worker-store.ts";
import type { Channel } from "#protocol/channel.ts";
import type {
  AgentMessage,
  Assignment,
  Beat,
  GatewayMessage,
  Hello,
  LeaseInventory as WireInventory,
  Results,
} from "#protocol/gen/worker.ts";
import { PROTOCOL_VERSION, RELEASE_VERSION } from "#protocol/version.ts";
import { createBlackHoles } from "./black-hole.ts";
import type { LogRelay } from "./log-relay.ts";
import { mayUnblock } from "./unblocking.ts";

export interface GatewayDeps {
  readonly id: GatewayId;
  readonly tasks: TaskStore;
  readonly workers: WorkerStore;
  readonly objects: ObjectStore;
  readonly plans: Plans;
  readonly scheduler: Pick<TaskScheduler, "settle">;
  readonly lifecycle: WorkerLifecycle;
  /** Everything the agent needs to run these tasks of the lease: script, parameters, files; and those that can't get their files. */
  readonly assignment: (
    lease: Lease,
    tasks: IndexSet,
  ) => Promise<{ readonly assignment: Assignment; readonly unstaged: readonly Unstaged[] }>;
  /** Sends a hint to the schedule queue. */
  readonly hint: (hint: Hint) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Makes the names of result objects of this process its own. */
  readonly writer: string;
  /** Where this gateway answers HTTP. */
  readonly url?: string;
  readonly relay?: LogRelay;
  readonly watcher?: GatewayWatcher;
}

/** Told of what happens here: for metrics, and for those who look at an experiment. */
export interface GatewayWatcher {
  /** Results that are in the object store and committed, or found committed. */
  committed(experiment: ExperimentId, results: readonly TaskResult[], bytes: number): void;
  /** Something of the experiment may look different now. */
  changed(experiment: ExperimentId): void;
  beat(worker: string): void;
  left(worker: string): void;
}

/** Results of a lease that is not finished wait for more: each commit costs an object and a write. */
const FLUSH_MS = 5_000;
/** So long when they can make other tasks ready, or some have failed. */
const FLUSH_SOON_MS = 1_000;
/** Commits of an open lease are folded into its segment at least this often; with every flush that can make others ready. */
const FOLD_MS = 5_000;
/** At most one schedule hint for an experiment in this time. */
const HINT_MS = 50;
const GATEWAY_BEAT_MS = 5_000;
/** Between two beats the wall clock goes as far as running time, but for this; else it was stepped, or we were stopped. */
const GATEWAY_STEP_MS = 30_000;

interface Session {
  readonly worker: WorkerKey;
  readonly number: number;
  readonly host: string;
  readonly channel: Channel<GatewayMessage, AgentMessage>;
  /** Lease name -> what was delivered and not settled yet. */
  readonly leases: Map<string, Delivered>;
}

interface Delivered {
  readonly key: LeaseKey;
  readonly reserved: Capacity;
  outstanding: IndexSet;
  buffer: Map<number, TaskResult>;
  flushing: boolean;
  foldedAtMs: number;
}

export interface Gateway {
  /** Serves one worker's stream to its end. `pool` comes from its certificate. */
  serve(identity: { readonly worker: WorkerId; readonly pool: string }, channel: Channel<GatewayMessage, AgentMessage>): Promise<void>;
  /** A message of the dispatch queue. Unknown workers and leases are ignored; a lost answer to a recall is found by the next beat. */
  dispatched(message: string): Promise<void>;
  /** Publishes liveness and usage until `signal` aborts. */
  beat(signal: AbortSignal): Promise<void>;
  sessions(): number;
  /** Leases delivered and not settled. */
  leases(): number;
  drainAll(reason: string): void;
  /** True when the worker holds this lease by what was delivered to it here. */
  holds(worker: WorkerId, lease: string): boolean;
}

const NOBODY_WATCHES: GatewayWatcher = { committed() {}, changed() {}, beat() {}, left() {} };

const isCause = (x: string): x is FailureCause => (FAILURE_CAUSES as readonly string[]).includes(x);

function parseResult(bytes: Uint8Array): TaskResult | undefined {
  try {
    const r = JSON.parse(Buffer.from(bytes).toString("utf8")) as TaskResult;
    const known = r.outcome === "done" || isCause(r.outcome);
    return known && Number.isInteger(r.index) && r.index >= 0 && r.index < SEGMENT_TASKS && Array.isArray(r.outputs) ? r : undefined;
  } catch {
    return undefined;
  }
}

/** In order and not in the future, whatever the worker's clock says. What is not its script's time counts as staging before it. */
function spanOf({ startedAtMs, endedAtMs, usage }: TaskResult, nowMs: number): Span {
  const lastMs = Math.max(1, Math.ceil(nowMs));
  const end = Number.isFinite(endedAtMs) ? Math.min(lastMs, Math.max(0, endedAtMs)) : lastMs;
  const took = Number.isFinite(startedAtMs) ? Math.max(0, Math.min(end, endedAtMs - startedAtMs)) : 0;
  const ran = Math.max(0, Math.min(took, Number(usage?.wallMs) || 0));
  return { startedMs: end - took, beganMs: end - ran, endedMs: end };
}

/** What is not inline was put under the lease, whatever the agent says. */
function storedResult(lease: LeaseKey, result: TaskResult): TaskResult {
  const stored = (content: OutputFile | KeptLog) => {
    if (typeof content !== "object" || content === null) return content;
    const { object: _, ...of } = content;
    return of.inline === undefined && typeof of.sha256 === "string" ? { ...of, object: outputKey(lease, of.sha256) } : of;
  };
  const logs = Object.fromEntries(Object.entries(result.logs ?? {}).map(([stream, log]) => [stream, stored(log)]));
  return {
    ...result,
    outputs: result.outputs.map((output) => stored(output) as OutputFile),
    ...(result.logs === undefined ? {} : { logs }),
  };
}

const phasesOf = ({ phases: p }: WireInventory): { phases?: Phases } =>
  p === undefined
    ? {}
    : { phases: { queued: decodeSet(p.queued), stagingIn: decodeSet(p.stagingIn), stagingOut: decodeSet(p.stagingOut) } };

export function createGateway(deps: GatewayDeps): Gateway {
  const sessions = new Map<string, Session>();
  const startedAtMs = deps.clock.now();
  const settle = createGroupCommit(deps);
  const hint = createHinter(deps);
  const blackHoles = createBlackHoles();
  const watcher = deps.watcher ?? NOBODY_WATCHES;
  let written = 0;

  const send = (s: Session, body: NonNullable<GatewayMessage["body"]>) => s.channel.send({ body });

  function applyReport(s: Session, r: SettleReport, offered: IndexSet): void {
    if (r.undecided) return;
    const name = leaseName(r.lease);
    const entry = s.leases.get(name);
    if (entry !== undefined) entry.outstanding = minus(entry.outstanding, r.committed);
    if (!isEmptySet(r.committed)) send(s, { $case: "acknowledged", value: { lease: name, tasks: encodeSet(r.committed) } });
    if (r.state !== "OPEN") {
      s.leases.delete(name);
      send(s, { $case: "drop", value: { lease: name, tasks: new Uint8Array(0), reason: "the lease is closed" } });
    } else {
      const refused = minus(offered, r.committed, r.hold);
      if (!isEmptySet(refused)) send(s, { $case: "drop", value: { lease: name, tasks: encodeSet(refused), reason: "taken back" } });
    }
    if (r.folded) hint({ experiment: r.lease.experiment, set: r.lease.set, segment: r.lease.segment });
  }

  /** `read`: the lease as it was read strongly a moment ago. */
  async function deliver(s: Session, key: LeaseKey, read?: Lease): Promise<void> {
    const lease = read ?? (await deps.tasks.readLease(key));
    if (lease?.state !== "OPEN" || workerName(lease.worker) !== workerName(s.worker)) return;
    const rest = minus(lease.hold, lease.done, lease.failed);
    const name = leaseName(key);
    if (isEmptySet(rest)) {
      applyReport(s, (await settle({ lease: key, fold: true })) as SettleReport, rest);
      return;
    }
    const { assignment, unstaged } = await deps.assignment(lease, rest);
    if (unstaged.length > 0) await failUnstaged(s, key, unstaged);
    if (assignment.tasks.length === 0) return;
    const entry = s.leases.get(name) ?? {
      key,
      reserved: lease.reserved,
      outstanding: setOf(assignment.tasks.map(({ index }) => index)),
      buffer: new Map(),
      flushing: false,
      foldedAtMs: deps.clock.now(),
    };
    s.leases.set(name, entry);
    send(s, { $case: "assignment", value: assignment });
    watcher.changed(key.experiment);
  }

  /** They end here, by their policy for `staging`: no worker ever sees them. */
  async function failUnstaged(s: Session, key: LeaseKey, unstaged: readonly Unstaged[]): Promise<void> {
    const nowMs = deps.clock.now();
    const usage = { wallMs: 0, cpuMs: 0, memoryPeakBytes: 0, bytesIn: 0, bytesOut: 0 };
    const ends = { outcome: "staging", startedAtMs: nowMs, endedAtMs: nowMs, usage, inputs: [], outputs: [] } as const;
    const results = unstaged.map(({ index, message }) => ({ index, message, ...ends }));
    const batch = await writeResults(s, key, results);
    const r = await settle({ lease: key, batches: [batch], fold: true });
    if (r === undefined) return;
    watcher.committed(
      key.experiment,
      results.filter((one) => hasIndex(r.committed, one.index)),
      batch.bytes,
    );
    applyReport(s, r, setOf(batch.failed.keys()));
  }

  async function writeResults(s: Session, key: LeaseKey, results: readonly TaskResult[]): Promise<Batch & { readonly bytes: number }> {
    const { plan, planHash } = await deps.plans.of(key.experiment);
    const name = leaseName(key);
    const body: ResultObject = {
      formatVersion: RESULT_FORMAT_VERSION,
      lease: name,
      planHash,
      script: plan.sets[key.set]?.script ?? "",
      worker: workerName(s.worker),
      host: s.host,
      agentVersion: RELEASE_VERSION,
      results: results.map((result) => storedResult(key, result)),
    };
    const bytes = Buffer.from(JSON.stringify(body));
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const object = resultKey(key, `${deps.writer}-${s.number}-${++written}-${sha256.slice(0, 16)}`);
    await deps.objects.putIfAbsent(object, bytes);
    return {
      bytes: bytes.length,
      ref: { key: object, sha256 },
      done: setOf(results.filter((r) => r.outcome === "done").map((r) => r.index)),
      failed: new Map(results.flatMap((r) => (r.outcome === "done" ? [] : [[r.index, r.outcome] as const]))),
      runMs: new Map(results.map((r) => [r.index, Math.max(0, r.endedAtMs - r.startedAtMs)])),
      spans: new Map(results.map((r) => [r.index, spanOf(r, deps.clock.now())])),
    };
  }

  /** Its failures count as losses: they are the worker's, and cost no task an attempt. */
  async function shun(s: Session, name: string, key: LeaseKey, tasks: IndexSet): Promise<void> {
    const reason = "task after task fails at once here and succeeds elsewhere";
    deps.logger.warn("a worker is taken for a black hole", { worker: s.worker.id, host: s.host, lease: name });
    await deps.lifecycle.drain(s.worker);
    send(s, { $case: "drain", value: { reason } });
    const r = await settle({ lease: key, back: { tasks, cause: "worker-lost" }, fold: true });
    if (r !== undefined) applyReport(s, r, tasks);
  }

  async function commit(s: Session, name: string, key: LeaseKey, entry: Delivered, results: readonly TaskResult[]): Promise<void> {
    if (blackHoles.judge(workerName(s.worker), key, results)) return shun(s, name, key, setOf(results.map((r) => r.index)));
    const batch = await writeResults(s, key, results);
    const { plan } = await deps.plans.of(key.experiment);
    const committed = union(batch.done, setOf(batch.failed.keys()));
    const late = Math.abs(deps.clock.now() - entry.foldedAtMs) >= FOLD_MS;
    const fold = late || mayUnblock(plan, key, committed, minus(entry.outstanding, committed));
    const r = await settle({ lease: key, batches: [batch], fold });
    if (r === undefined) return;
    const counted = results.filter((one) => hasIndex(r.committed, one.index));
    if (counted.length > 0) watcher.committed(key.experiment, counted, batch.bytes);
    if (r.folded) entry.foldedAtMs = deps.clock.now();
    applyReport(s, r, committed);
  }

  async function flush(s: Session, name: string, key: LeaseKey, entry: Delivered): Promise<void> {
    if (entry.flushing) return;
    entry.flushing = true;
    try {
      while (entry.buffer.size > 0) {
        const results = [...entry.buffer.values()];
        entry.buffer = new Map();
        await commit(s, name, key, entry, results);
      }
    } catch (error) {
      // Nothing was acknowledged: the agent sends these results again.
      deps.logger.warn("results not committed yet", { lease: name, reason: error instanceof Error ? error.message : String(error) });
    } finally {
      entry.flushing = false;
    }
  }

  async function waitForMore(key: LeaseKey, entry: Delivered): Promise<void> {
    const failed = [...entry.buffer.values()].some((r) => r.outcome !== "done");
    const { plan } = await deps.plans.of(key.experiment);
    const here = setOf(entry.buffer.keys());
    const soon = failed || mayUnblock(plan, key, here, minus(entry.outstanding, here));
    await deps.clock.sleep(soon ? FLUSH_SOON_MS : FLUSH_MS);
  }

  async function results(s: Session, message: Results): Promise<void> {
    const key = parseLeaseName(message.lease);
    if (key === undefined) return;
    const known = s.leases.get(message.lease);
    const entry = known ?? {
      key,
      reserved: NO_CAPACITY,
      outstanding: setOf([]),
      buffer: new Map(),
      flushing: false,
      foldedAtMs: deps.clock.now(),
    };
    if (known === undefined) s.leases.set(message.lease, entry);
    for (const bytes of message.results) {
      const r = parseResult(bytes);
      if (r === undefined) deps.logger.warn("a result that can't be read was left out", { worker: s.worker.id, lease: message.lease });
      else entry.buffer.set(r.index, r);
    }
    const complete = isEmptySet(minus(entry.outstanding, setOf(entry.buffer.keys())));
    if (!complete) await waitForMore(key, entry);
    await flush(s, message.lease, key, entry);
  }

  async function giveBack(s: Session, name: string, tasks: IndexSet): Promise<void> {
    const lease = parseLeaseName(name);
    if (lease === undefined || isEmptySet(tasks)) return;
    const r = await settle({ lease, back: { tasks, cause: "given-back" }, fold: true });
    if (r !== undefined) applyReport(s, r, tasks);
  }

  async function onBeat(s: Session, message: Beat): Promise<"go on" | "end"> {
    watcher.beat(workerName(s.worker));
    if (message.draining !== "") await deps.lifecycle.drain(s.worker);
    const inventory = message.leases.flatMap((l) => {
      const lease = parseLeaseName(l.lease);
      return lease === undefined
        ? []
        : [
            {
              lease,
              held: union(decodeSet(l.queued), decodeSet(l.running), decodeSet(l.unacknowledged)),
              gone: decodeSet(l.gone),
              ...phasesOf(l),
            },
          ];
    });
    const report = await deps.lifecycle.beat(s.worker, { session: s.number, sequence: message.sequence, inventory });
    if (report.kind === "dead") {
      send(s, { $case: "startOver", value: { reason: "this incarnation was declared dead" } });
      return "end";
    }
    if (report.kind === "replaced") return "end";
    send(s, { $case: "beatSeen", value: { sequence: message.sequence } });
    if (report.kind === "unknown") return "go on";
    for (const a of report.acknowledge) send(s, { $case: "acknowledged", value: { lease: leaseName(a.lease), tasks: encodeSet(a.tasks) } });
    for (const lease of report.drop) {
      s.leases.delete(leaseName(lease));
      send(s, { $case: "drop", value: { lease: leaseName(lease), tasks: new Uint8Array(0), reason: "no longer held" } });
    }
    for (const f of report.folded) hint({ experiment: f.experiment, set: f.set, segment: f.segment });
    for (const lease of report.deliver) await deliver(s, lease);
    return "go on";
  }

  async function greet(
    identity: { worker: WorkerId; pool: string },
    channel: Session["channel"],
    hello: Hello,
  ): Promise<Session | undefined> {
    const refuse = (reason: string) => {
      channel.send({ body: { $case: "startOver", value: { reason } } });
      channel.close(reason);
      return undefined;
    };
    let key: WorkerKey = { id: identity.worker, incarnation: hello.incarnation };
    if (hello.incarnation === 0) {
      const size = hello.size ?? NO_CAPACITY;
      const packages = PACKAGE_KINDS.filter((kind) => hello.packages.includes(kind));
      const as = {
        packages,
        pool: identity.pool,
        size,
        prefetchPercent: hello.prefetchPercent,
        host: hello.host,
        version: hello.agentVersion,
      };
      key = await deps.lifecycle.register(identity.worker, { ...as, endsAtMs: hello.endsAtMs === 0 ? undefined : hello.endsAtMs });
    }
    const worker = await deps.lifecycle.connect(key, deps.id);
    if (worker === undefined) return refuse("this incarnation was declared dead");
    channel.send({
      body: {
        $case: "welcome",
        value: {
          gatewayId: deps.id,
          gatewayVersion: RELEASE_VERSION,
          incarnation: key.incarnation,
          session: worker.session,
          beatIntervalMs: BEAT_INTERVAL_MS,
        },
      },
    });
    return { worker: key, number: worker.session, host: worker.host, channel, leases: new Map() };
  }

  /** Messages until the stream ends; beats one after the other. */
  async function receive(s: Session): Promise<void> {
    const guarded = (work: Promise<unknown>, what: string) =>
      void work.catch((error: unknown) =>
        deps.logger.warn(`${what} failed; it is repeated by the next beat`, {
          worker: s.worker.id,
          reason: error instanceof Error ? error.message : String(error),
        }),
      );
    let beating: Promise<unknown> = Promise.resolve();
    for (let m = await s.channel.receive(); m !== undefined; m = await s.channel.receive()) {
      const body = m.body;
      if (body?.$case === "beat") {
        const beat = body.value;
        beating = beating.then(async () => (await onBeat(s, beat)) === "end" && s.channel.close("session ended"));
        guarded(beating, "beat");
        beating = beating.catch(() => undefined);
      } else if (body?.$case === "results") guarded(results(s, body.value), "results");
      else if (body?.$case === "logChunk") deps.relay?.received(workerName(s.worker), body.value);
      else if (body?.$case === "released") guarded(giveBack(s, body.value.lease, decodeSet(body.value.tasks)), "release");
    }
  }

  async function serve(identity: { worker: WorkerId; pool: string }, channel: Session["channel"]): Promise<void> {
    const first = await channel.receive();
    if (first?.body?.$case !== "hello" || first.body.value.protocolVersion !== PROTOCOL_VERSION)
      return channel.close("expected Hello of this protocol version");
    const s = await greet(identity, channel, first.body.value);
    if (s === undefined) return;
    const name = workerName(s.worker);
    sessions.get(name)?.channel.close("replaced by a newer stream");
    sessions.set(name, s);
    const sendLog = (body: NonNullable<GatewayMessage["body"]>) => send(s, body);
    deps.relay?.attach(name, sendLog);
    hint({});
    await receive(s);
    deps.relay?.detach(name, sendLog);
    if (sessions.get(name) !== s) return;
    sessions.delete(name);
    watcher.left(name);
    for (const { key: lease } of s.leases.values()) watcher.changed(lease.experiment);
  }

  async function dispatched(message: string): Promise<void> {
    const told = parseDispatch(message);
    // The plan is needed next: it is fetched meanwhile.
    if (told !== undefined && told.recall === undefined) void deps.plans.of(told.lease.experiment).catch(() => undefined);
    const lease = told === undefined ? undefined : await deps.tasks.readLease(told.lease);
    const s = lease?.state === "OPEN" ? sessions.get(workerName(lease.worker)) : undefined;
    if (told === undefined || s === undefined) return;
    const name = leaseName(told.lease);
    if (told.recall !== undefined) send(s, { $case: "release", value: { lease: name, count: told.recall } });
    else if (!s.leases.has(name)) await deliver(s, told.lease, lease);
  }

  function usage(): Map<ExperimentId, Capacity> {
    const sums = new Map<ExperimentId, Capacity>();
    for (const s of sessions.values()) {
      for (const l of s.leases.values()) sums.set(l.key.experiment, addCapacity(sums.get(l.key.experiment) ?? NO_CAPACITY, l.reserved));
    }
    return sums;
  }

  /** After a step of the clock or a stop of this process it is as after a start: workers need time to be heard again. */
  async function beat(signal: AbortSignal): Promise<void> {
    let upSinceMs = startedAtMs;
    let lastMs = deps.clock.now();
    const at = deps.url === undefined ? {} : { url: deps.url };
    while (!signal.aborted) {
      const nowMs = deps.clock.now();
      if (Math.abs(nowMs - lastMs) > GATEWAY_BEAT_MS + GATEWAY_STEP_MS) {
        upSinceMs = nowMs;
        deps.logger.warn("the clock was stepped or this machine slept: workers get time to be heard", { byMs: nowMs - lastMs });
      }
      lastMs = nowMs;
      const record = { id: deps.id, beatAtMs: nowMs, upSinceMs, queue: dispatchQueue(deps.id), usage: usage(), ...at };
      await deps.workers.putGateway(record).catch((error: unknown) => deps.logger.warn("gateway beat failed", { reason: String(error) }));
      await deps.clock.sleep(GATEWAY_BEAT_MS, signal);
    }
    await deps.workers.removeGateway(deps.id).catch(() => undefined);
  }

  return {
    serve,
    dispatched,
    beat,
    sessions: () => sessions.size,
    leases: () => [...sessions.values()].reduce((n, s) => n + s.leases.size, 0),
    drainAll: (reason) => {
      for (const s of sessions.values()) send(s, { $case: "drain", value: { reason } });
    },
    holds: (worker, lease) => [...sessions.values()].some((s) => s.worker.id === worker && s.leases.has(lease)),
  };
}

/** While one settlement of a segment is under way, others for it gather and go together in the next. */
export function createGroupCommit(deps: Pick<GatewayDeps, "scheduler">): (request: SettleRequest) => Promise<SettleReport | undefined> {
  const waiting = new Map<string, { request: SettleRequest; done: (r: SettleReport | undefined) => void; fail: (e: unknown) => void }[]>();
  async function drainSegment(name: string, request: SettleRequest): Promise<void> {
    const { experiment, set, segment } = request.lease;
    for (let group = waiting.get(name) ?? []; group.length > 0; group = waiting.get(name) ?? []) {
      waiting.set(name, []);
      try {
        const reports = await deps.scheduler.settle(
          { experiment, set, segment },
          group.map((g) => g.request),
        );
        const byName = new Map(reports.map((r) => [leaseName(r.lease), r]));
        for (const g of group) g.done(byName.get(leaseName(g.request.lease)));
      } catch (error) {
        for (const g of group) g.fail(error);
      }
    }
    waiting.delete(name);
  }
  return (request) =>
    new Promise((done, fail) => {
      const name = segmentName(request.lease);
      const group = waiting.get(name);
      if (group !== undefined) group.push({ request, done, fail });
      else {
        waiting.set(name, [{ request, done, fail }]);
        void drainSegment(name, request);
      }
    });
}

/** Hints of one experiment within {@link HINT_MS} become one for each segment. */
export function createHinter(deps: Pick<GatewayDeps, "hint" | "clock" | "logger">): (hint: Hint) => void {
  const pending = new Map<string, Hint>();
  let planned = false;
  async function sendAll(): Promise<void> {
    await deps.clock.sleep(HINT_MS);
    planned = false;
    const hints = [...pending.values()];
    pending.clear();
    // A lost hint is found by the timer.
    for (const h of hints)
      await deps.hint(h).catch((error: unknown) => deps.logger.warn("a schedule hint was lost", { reason: String(error) }));
  }
  return (hint) => {
    pending.set(`${hint.experiment}/${hint.set}/${hint.segment}`, hint);
    if (planned) return;
    planned = true;
    void sendAll();
  };
}
