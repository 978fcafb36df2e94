/**
 * The agent: takes assignments, runs what fits, reports until acknowledged. No I/O of its own: the wire and the machine
 * are handed in, so that the simulator runs this very code.
 *
 * A1 a (lease, task) once seen in an incarnation never starts again; a lease that was dropped is a tombstone.
 * A2 it admits by its real size, whatever the store says is free.
 * A3 a result is kept and sent again until it is acknowledged or its lease is dropped.
 * A4 a new incarnation begins only when nothing of the old one runs.
 */
import { type Capacity, fitsCapacity, minusCapacity } from "#domain/capacity.ts";
import { hasIndex, decodeSet, emptySet, encodeSet, type IndexSet, isEmptySet, members, minus, setOf, union } from "#domain/index-set.ts";
import type { PackageKind } from "#domain/worker.ts";
import type { Channel } from "#protocol/channel.ts";
import type { AgentMessage, Assignment, GatewayMessage, LeaseInventory, Phases, Task } from "#protocol/gen/worker.ts";
import { PROTOCOL_VERSION, RELEASE_VERSION } from "#protocol/version.ts";
import type { Executor, LiveLogs, Phase } from "./executor.ts";
import { PHASE_BEAT_MS, PHASE_REPORTED_MS } from "./limits.ts";
import { createLogReads, type LogReads } from "./log-reads.ts";

export interface AgentDeps {
  /** Opens a stream; rejects when there is none to be had now. */
  readonly dial: () => Promise<Channel<AgentMessage, GatewayMessage>>;
  readonly signUploads: (
    lease: string,
    files: readonly { readonly sha256: string; readonly bytes: number }[],
  ) => Promise<readonly string[]>;
  readonly executor: Executor;
  readonly clock: { now(): number; sleep(ms: number, signal?: AbortSignal): Promise<void> };
  readonly random: { next(): number };
  readonly logger: { info(message: string, facts?: Readonly<Record<string, string | number>>): void };
  readonly size: Capacity;
  readonly prefetchPercent: number;
  readonly host: string;
  readonly packages: readonly PackageKind[];
  /** 0 = no end. */
  readonly endsAtMs: number;
}

/** Results wait this long for company before they are sent, unless their lease is finished. */
const RESULTS_WAIT_MS = 20;
/** Results not acknowledged by then are sent again. */
const RESEND_MS = 20_000;
const REDIAL_MS_MAX = 15_000;
const REDIAL_MS_MIN = 100;
/** Faults of the machine in a row after which the worker takes no more work. */
const FAULTS_MAX = 3;
const TOMBSTONES_MAX = 100_000;
const RESULTS_PER_MESSAGE = 256;
/** Bytes of results in one message, before framing. */
const RESULT_BYTES_PER_MESSAGE = 2 * 1024 * 1024;

interface Running {
  readonly abort: AbortController;
  phase: Phase;
  sinceMs: number;
  logs?: LiveLogs;
}

interface Held {
  readonly assignment: Assignment;
  readonly queued: Map<number, Task>;
  readonly running: Map<number, Running>;
  readonly unacknowledged: Map<number, { readonly bytes: Uint8Array; sentAtMs: number }>;
  seen: IndexSet;
  acknowledged: IndexSet;
}

export interface Agent {
  /** Works until `signal` aborts and what was running has ended, or until it has drained. */
  run(signal: AbortSignal): Promise<void>;
  /** Takes no more work, gives back what has not started, ends when the rest is acknowledged. */
  drain(reason: string): void;
  /** What it holds: for tests and status. */
  inventory(): LeaseInventory[];
}

/** Absent while everything goes fast. */
function phasesOf(held: Held, queued: IndexSet, nowMs: number): Phases | undefined {
  const slow = [...held.running].filter(([, r]) => nowMs - r.sinceMs >= PHASE_REPORTED_MS);
  if (slow.length === 0) return undefined;
  const inPhase = (phase: Phase) => encodeSet(setOf(slow.flatMap(([i, r]) => (r.phase === phase ? [i] : []))));
  return { queued: encodeSet(queued), stagingIn: inPhase("staging-in"), stagingOut: inPhase("staging-out") };
}

const need = (a: Assignment): Capacity => a.need ?? { cpuMilli: 1000, memoryMib: 0, gpu: 0 };

/** Where an attempt's output can be read; `undefined`: it is not here. */
function logsOf(held: Held | undefined, index: number): LiveLogs | "waiting" | undefined {
  const running = held?.running.get(index);
  return running?.logs ?? (running !== undefined || held?.queued.has(index) ? "waiting" : undefined);
}

export function createAgent(deps: AgentDeps): Agent {
  const leases = new Map<string, Held>();
  const tombstones = new Set<string>();
  const ending = new Set<Promise<void>>();
  let incarnation = 0;
  let sequence = 0;
  let free = deps.size;
  let faults = 0;
  let draining = "";
  let channel: Channel<AgentMessage, GatewayMessage> | undefined;
  let beatIntervalMs = 15_000;
  let lastHeardMs = 0;
  let beatAtMs = 0;
  let life = new AbortController();

  const send = (body: NonNullable<AgentMessage["body"]>) => channel?.send({ body });

  const logReads = readLogs();
  function readLogs(): LogReads {
    return createLogReads({
      find: (name, index) => logsOf(leases.get(name), index),
      send: (value) => send({ $case: "logChunk", value }),
      backlog: () => channel?.backlog() ?? 0,
      clock: deps.clock,
    });
  }

  function bury(name: string): void {
    leases.delete(name);
    tombstones.add(name);
    if (tombstones.size > TOMBSTONES_MAX) tombstones.delete(tombstones.keys().next().value as string);
  }

  function forgetIfDone(name: string, held: Held): void {
    if (held.queued.size + held.running.size + held.unacknowledged.size > 0) return;
    const gone = minus(held.seen, held.acknowledged);
    if (isEmptySet(gone)) bury(name);
  }

  function accept(a: Assignment): void {
    if (tombstones.has(a.lease) || draining !== "") {
      const tasks = encodeSet(setOf(a.tasks.map((t) => t.index)));
      if (!leases.has(a.lease)) tombstones.add(a.lease);
      send({ $case: "released", value: { lease: a.lease, tasks } });
      return;
    }
    let held = leases.get(a.lease);
    if (held === undefined) {
      held = {
        assignment: { ...a, tasks: [] },
        queued: new Map(),
        running: new Map(),
        unacknowledged: new Map(),
        seen: emptySet(),
        acknowledged: emptySet(),
      };
      leases.set(a.lease, held);
    }
    const seen = held.seen;
    const fresh = a.tasks.filter((t) => !hasIndex(seen, t.index));
    for (const t of fresh) held.queued.set(t.index, t);
    held.seen = union(seen, setOf(fresh.map((t) => t.index)));
    startWhatFits();
  }

  function startWhatFits(): void {
    for (const [name, held] of leases) {
      const size = need(held.assignment);
      for (const [index, task] of held.queued) {
        if (!fitsCapacity(size, free)) break;
        held.queued.delete(index);
        start(name, held, task, size);
      }
    }
  }

  function start(name: string, held: Held, task: Task, size: Capacity): void {
    const abort = new AbortController();
    const running: Running = { abort, phase: "staging-in", sinceMs: deps.clock.now() };
    held.running.set(task.index, running);
    free = minusCapacity(free, size);
    const mine = life;
    const publish = (logs: LiveLogs) => {
      running.logs = logs;
      const grown = () => logReads.touch(name, task.index);
      logs.stdout.onGrowth = grown;
      logs.stderr.onGrowth = grown;
      grown();
    };
    const signUploads: Parameters<Executor["run"]>[0]["signUploads"] = (files) => deps.signUploads(name, files);
    const run = deps.executor
      .run({ assignment: held.assignment, task, signUploads, enter: (to) => enter(running, to), publish }, abort.signal)
      .then((result) => {
        if (mine === life) finished(name, held, task.index, abort, size, result);
      });
    ending.add(run);
    void run.finally(() => ending.delete(run));
  }

  /** Whoever looks at a slow task sees where it is soon; fast ones cost nothing. */
  function enter(running: Running, phase: Phase): void {
    const now = deps.clock.now();
    const slow = now - running.sinceMs >= PHASE_REPORTED_MS;
    running.phase = phase;
    running.sinceMs = now;
    if (slow && now - beatAtMs >= PHASE_BEAT_MS) beat();
  }

  function finished(
    name: string,
    held: Held,
    index: number,
    abort: AbortController,
    size: Capacity,
    result: Awaited<ReturnType<Executor["run"]>>,
  ): void {
    free = minusCapacity(free, { cpuMilli: -size.cpuMilli, memoryMib: -size.memoryMib, gpu: -size.gpu });
    logReads.touch(name, index);
    const wanted = held.running.delete(index) && !abort.signal.aborted && leases.get(name) === held;
    if (wanted && result.outcome === "worker-fault") {
      faults++;
      deps.logger.info("an attempt could not be tried here", { lease: name, task: index, reason: result.message });
      send({ $case: "released", value: { lease: name, tasks: encodeSet(setOf([index])) } });
      if (faults >= FAULTS_MAX) drain(`this worker can't run tasks: ${result.message}`);
    } else if (wanted) {
      faults = 0;
      const bytes = Buffer.from(JSON.stringify(result));
      held.unacknowledged.set(index, { bytes, sentAtMs: 0 });
      if (held.queued.size + held.running.size === 0) sendResults(name, held);
      else void later(name, held);
    }
    startWhatFits();
  }

  const planned = new Set<Held>();
  async function later(name: string, held: Held): Promise<void> {
    if (planned.has(held)) return;
    planned.add(held);
    await deps.clock.sleep(RESULTS_WAIT_MS);
    planned.delete(held);
    sendResults(name, held);
  }

  function sendResults(name: string, held: Held): void {
    if (channel === undefined || leases.get(name) !== held) return;
    const now = deps.clock.now();
    let batch: Uint8Array[] = [];
    let size = 0;
    const flush = () => {
      if (batch.length > 0) send({ $case: "results", value: { lease: name, results: batch } });
      batch = [];
      size = 0;
    };
    for (const entry of held.unacknowledged.values()) {
      if (entry.sentAtMs !== 0 && now - entry.sentAtMs < RESEND_MS) continue;
      entry.sentAtMs = now;
      batch.push(entry.bytes);
      size += entry.bytes.length;
      if (batch.length >= RESULTS_PER_MESSAGE || size >= RESULT_BYTES_PER_MESSAGE) flush();
    }
    flush();
  }

  function acknowledge(name: string, tasks: IndexSet): void {
    const held = leases.get(name);
    if (held === undefined) return;
    const known = members(tasks).filter((i) => held.unacknowledged.delete(i));
    held.acknowledged = union(held.acknowledged, setOf(known));
    forgetIfDone(name, held);
  }

  function drop(name: string, tasks: IndexSet): void {
    const held = leases.get(name);
    const all = isEmptySet(tasks);
    if (held !== undefined) {
      for (const i of all ? members(held.seen) : members(tasks)) {
        held.queued.delete(i);
        held.unacknowledged.delete(i);
        held.running.get(i)?.abort.abort();
      }
    }
    if (all) bury(name);
    startWhatFits();
  }

  /** The latest of the queue go first: they would have started last. */
  function release(name: string, count: number): void {
    const held = leases.get(name);
    const tasks = held === undefined ? [] : [...held.queued.keys()].slice(-count || held.queued.size);
    for (const i of count === 0 ? [] : tasks) held?.queued.delete(i);
    send({ $case: "released", value: { lease: name, tasks: encodeSet(setOf(count === 0 ? [] : tasks)) } });
  }

  function drain(reason: string): void {
    if (draining !== "") return;
    draining = reason;
    deps.logger.info("draining", { reason });
    for (const [name, held] of leases) release(name, held.queued.size);
    beat();
  }

  function inventory(): LeaseInventory[] {
    return [...leases].map(([lease, held]) => {
      const queued = setOf(held.queued.keys());
      const running = setOf(held.running.keys());
      const unacknowledged = setOf(held.unacknowledged.keys());
      const gone = minus(held.seen, queued, running, unacknowledged, held.acknowledged);
      return {
        phases: phasesOf(held, queued, deps.clock.now()),
        lease,
        queued: encodeSet(queued),
        running: encodeSet(running),
        unacknowledged: encodeSet(unacknowledged),
        gone: encodeSet(gone),
      };
    });
  }

  function beat(): void {
    if (incarnation === 0) return;
    beatAtMs = deps.clock.now();
    send({ $case: "beat", value: { sequence: ++sequence, leases: inventory(), draining } });
  }

  /** A4: everything of this life is killed and has ended before the next begins. */
  async function startOver(reason: string): Promise<void> {
    deps.logger.info("starting over", { reason });
    life.abort();
    for (const held of leases.values()) for (const { abort } of held.running.values()) abort.abort();
    leases.clear();
    tombstones.clear();
    await Promise.all(ending);
    life = new AbortController();
    free = deps.size;
    incarnation = 0;
    sequence = 0;
  }

  async function handle(message: GatewayMessage): Promise<"go on" | "redial"> {
    const body = message.body;
    lastHeardMs = deps.clock.now();
    switch (body?.$case) {
      case "assignment":
        accept(body.value);
        break;
      case "acknowledged":
        acknowledge(body.value.lease, decodeSet(body.value.tasks));
        break;
      case "drop":
        drop(body.value.lease, decodeSet(body.value.tasks));
        break;
      case "release":
        release(body.value.lease, body.value.count);
        break;
      case "drain":
        drain(body.value.reason);
        break;
      case "logRead":
        logReads.read(body.value);
        break;
      case "logCancel":
        logReads.cancel(body.value.id);
        break;
      case "startOver":
        await startOver(body.value.reason);
        return "redial";
      default:
        break;
    }
    return "go on";
  }

  const isDrained = () =>
    draining !== "" && [...leases.values()].every((h) => h.queued.size + h.running.size + h.unacknowledged.size === 0);

  /** Beats, resends and watches the stream until it ends. */
  async function pulse(mine: Channel<AgentMessage, GatewayMessage>, stop: AbortSignal): Promise<void> {
    while (channel === mine && !stop.aborted) {
      await deps.clock.sleep(beatIntervalMs * (0.9 + 0.2 * deps.random.next()), stop);
      if (channel !== mine || stop.aborted) return;
      if (deps.clock.now() - lastHeardMs > 3 * beatIntervalMs) return mine.close("the gateway went silent");
      for (const [name, held] of leases) sendResults(name, held);
      beat();
    }
  }

  /** One stream from Hello to its end. */
  async function serve(stop: AbortSignal): Promise<boolean> {
    const mine = await deps.dial();
    const { size, host, endsAtMs, prefetchPercent } = deps;
    const packages = [...deps.packages];
    mine.send({
      body: {
        $case: "hello",
        value: {
          protocolVersion: PROTOCOL_VERSION,
          agentVersion: RELEASE_VERSION,
          incarnation,
          size,
          host,
          endsAtMs,
          prefetchPercent,
          packages,
        },
      },
    });
    const first = await mine.receive();
    if (first?.body?.$case === "startOver") await startOver(first.body.value.reason);
    if (first?.body?.$case !== "welcome") {
      mine.close("no welcome");
      return false;
    }
    if (incarnation !== first.body.value.incarnation) {
      incarnation = first.body.value.incarnation;
      sequence = 0;
    }
    beatIntervalMs = first.body.value.beatIntervalMs;
    lastHeardMs = deps.clock.now();
    channel = mine;
    const ended = new AbortController();
    const close = () => mine.close("the worker stops");
    stop.addEventListener("abort", close, { once: true });
    for (const [name, held] of leases) {
      for (const entry of held.unacknowledged.values()) entry.sentAtMs = 0;
      sendResults(name, held);
    }
    beat();
    void pulse(mine, ended.signal);
    for (let m = await mine.receive(); m !== undefined && !stop.aborted; m = await mine.receive()) {
      if ((await handle(m)) === "redial" || isDrained()) break;
    }
    channel = undefined;
    logReads.clear();
    ended.abort();
    stop.removeEventListener("abort", close);
    mine.close("done");
    return true;
  }

  async function run(stop: AbortSignal): Promise<void> {
    let failures = 0;
    while (!stop.aborted && !isDrained()) {
      const served = await serve(stop).catch((error: unknown) => {
        deps.logger.info("no stream to the gateway", { reason: error instanceof Error ? error.message : String(error) });
        return false;
      });
      failures = served ? 0 : failures + 1;
      if (stop.aborted || isDrained()) break;
      await deps.clock.sleep(REDIAL_MS_MIN + deps.random.next() * Math.min(REDIAL_MS_MAX, 500 * 2 ** Math.min(failures, 10)), stop);
    }
    await startOver("the worker stops");
  }

  return { run, drain, inventory };
}
