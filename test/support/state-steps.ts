/**
 * Random steps for state stores: each is read against what is stored, so that most are applied, and twisted now and then, so
 * that some are refused. The same step means the same write for every store that holds the same.
 */
import fc from "fast-check";
import type { MemorySnapshot } from "#adapters/memory/table.ts";
import { EXPERIMENT_STATES, type TaskSet } from "#domain/experiment.ts";
import { emptySet, firstOf, minus } from "#domain/index-set.ts";
import type { Lease } from "#domain/lease.ts";
import { pendingOf, type Segment, segmentName } from "#domain/segment.ts";
import type { Worker } from "#domain/worker.ts";
import type { StateSubject } from "./dynamo-state.ts";
import {
  aCommit,
  anAssign,
  anExperiment,
  anUnbornSegment,
  aSegmentKey,
  aSet,
  aSettle,
  aWorker,
  experimentId,
  gatewayId,
  NOW_MS,
  workerId,
} from "./state.ts";

const ACTS = [
  "create",
  "register",
  "connect",
  "heartbeat",
  "drain",
  "markDead",
  "removeDead",
  "assign",
  "assign",
  "assign",
  "commit",
  "commit",
  "settle",
  "settle",
  "settle",
  "skip",
  "skipSet",
  "reopen",
  "reopenSet",
  "turn",
] as const;

export interface Step {
  readonly act: (typeof ACTS)[number];
  readonly pick: number;
  readonly size: number;
  /** 0..4: what is wrong with it; more: nothing. */
  readonly twist: number;
}

export const anyStep: fc.Arbitrary<Step> = fc.record({
  act: fc.constantFrom(...ACTS),
  pick: fc.nat(1000),
  size: fc.oneof(fc.nat(8), fc.nat(100)),
  twist: fc.nat(15),
});

/** What every run starts with: one experiment of two small sets, three workers. */
export const BEGINNING: readonly Step[] = [
  { act: "create", pick: 0, size: 2, twist: 99 },
  ...[0, 1, 2].map((pick): Step => ({ act: "register", pick, size: 0, twist: 99 })),
];

type Write = (subject: StateSubject) => Promise<unknown>;

/** The write that a step means where `stored` is stored; `undefined` when there is nothing to do it to. */
export function meaningOf(step: Step, stored: MemorySnapshot): Write | undefined {
  switch (step.act) {
    case "create":
    case "turn":
      return experimentWrite(step, stored);
    case "register":
    case "connect":
    case "heartbeat":
    case "drain":
    case "markDead":
    case "removeDead":
      return workerWrite(step, stored);
    case "assign":
      return assignWrite(step, stored);
    case "commit":
    case "settle":
      return leaseWrite(step, stored);
    default:
      return setWrite(step, stored);
  }
}

const one = <T>(from: readonly T[], pick: number): T | undefined => from[pick % Math.max(1, from.length)];

function experimentWrite({ act, pick, size, twist }: Step, stored: MemorySnapshot): Write | undefined {
  if (act === "create") {
    const id = experimentId(1 + (pick % 2));
    const gates = 1 + (size % 3);
    const sets = [30, 4100].map((count, ordinal) => aSet({ experiment: id, ordinal, count }));
    return ({ tasks }) => tasks.createExperiment(anExperiment({ id, gates }), sets);
  }
  const e = one(stored.experiments, pick);
  if (e === undefined) return undefined;
  const version = twist === 0 ? e.version - 1 : e.version;
  const status = size % 3 === 0 ? (one(EXPERIMENT_STATES, size) ?? "RUNNING") : "RUNNING";
  const gates = twist === 1 ? e.gates + 1 : e.gates;
  const post = { ...e, gates, status, version: version + 1, generation: e.generation + (size % 2), live: size % 4 > 0 };
  return ({ tasks }) => tasks.turn({ post, expectVersion: version });
}

function workerWrite({ act, pick, size, twist }: Step, stored: MemorySnapshot): Write | undefined {
  if (act === "register") {
    const id = workerId(pick % 3);
    return async ({ workers }) => {
      const head = Math.max(0, (await workers.readHead(id)) + (twist === 0 ? 1 : twist === 1 ? -1 : 0));
      return workers.register({ worker: aWorker({ key: { id, incarnation: head + 1 } }), expectHead: head });
    };
  }
  const w = one(stored.workers, pick);
  if (w === undefined) return undefined;
  const key = twist === 4 ? { ...w.key, incarnation: 99 } : w.key;
  const session = twist === 0 ? w.session + 1 : w.session;
  switch (act) {
    case "connect":
      return ({ workers }) => workers.connect(key, gatewayId(size % 2), NOW_MS + size);
    case "heartbeat":
      return ({ workers }) =>
        workers.heartbeat(key, { session, beat: twist === 1 ? w.beat : w.beat + 1 + size, expiresAtMs: NOW_MS + size });
    case "drain":
      return ({ workers }) => workers.drain(key);
    case "markDead":
      return ({ workers }) => workers.markDead(key, twist === 1 ? w.beat + 1 : w.beat);
    default:
      return ({ workers }) => workers.removeDead(key);
  }
}

function segmentOf(set: TaskSet, number: number, stored: MemorySnapshot): Segment {
  const key = aSegmentKey(number, set.ordinal, set.experiment);
  const generation = stored.experiments.find((e) => e.id === set.experiment)?.generation ?? 1;
  return stored.segments.find((s) => segmentName(s.key) === segmentName(key)) ?? anUnbornSegment(key, generation);
}

const generationOf = (set: TaskSet, stored: MemorySnapshot): number =>
  stored.experiments.find((e) => e.id === set.experiment)?.generation ?? 1;

function assignWrite({ pick, size, twist }: Step, stored: MemorySnapshot): Write | undefined {
  const set = one(stored.sets, pick);
  if (set === undefined) return undefined;
  const gates = stored.experiments.find((e) => e.id === set.experiment)?.gates ?? 1;
  const segment = segmentOf(set, size % (set.segments + (twist === 0 ? 2 : 0)), stored);
  const workers = [...new Map(stored.workers.map((w): [string, Worker] => [w.key.id, w])).values()].slice(
    pick % 3,
    (pick % 3) + 1 + (size % 2),
  );
  if (workers.length === 0) return undefined;
  let left = pendingOf(segment, set.count);
  const plans = workers.map((w) => {
    const hold = firstOf(left, 1 + (size % 20));
    left = minus(left, hold);
    const reserved = { cpuMilli: twist === 1 ? 9000 : 500 + size * 20, memoryMib: 64, gpu: twist === 2 ? 3 : 0 };
    return { worker: w.key, session: twist === 3 ? w.session + 1 : w.session, hold, reserved };
  });
  const from = { segment: twist === 4 ? { ...segment, epoch: 0 } : segment, born: segment.version > 0, setCount: set.count, gates };
  const change = anAssign(from, plans);
  const generation = generationOf(set, stored) - (pick % 17 === 0 ? 1 : 0);
  return ({ tasks }) => tasks.assign({ ...change, gate: { ...change.gate, generation } });
}

function leaseWrite({ act, pick, size, twist }: Step, stored: MemorySnapshot): Write | undefined {
  const open = stored.leases.filter((l) => l.state === "OPEN" || twist === 0);
  const found = one(open, pick);
  if (found === undefined) return undefined;
  const lease = twist === 1 ? { ...found, rev: found.rev + 1 } : found;
  if (act === "commit") {
    const rest = minus(lease.hold, lease.done, lease.failed);
    const done = firstOf(rest, size);
    const change = aCommit({ ...lease, state: "OPEN" }, done, firstOf(minus(rest, done), size % 3));
    const post = { ...change.post, refs: [{ key: `r/${pick}`, sha256: "e".repeat(64), mask: done }], runMs: lease.runMs + size };
    return ({ tasks }) => tasks.commit({ ...change, post });
  }
  const set = stored.sets.find((s) => s.experiment === lease.key.experiment && s.ordinal === lease.key.set);
  if (set === undefined) return undefined;
  const segment = segmentOf(set, lease.key.segment, stored);
  const others = stored.leases.filter(
    (l) => l.state === "OPEN" && segmentName(l.key) === segmentName(lease.key) && l.key.epoch !== lease.key.epoch,
  );
  const leases: Lease[] = [lease, ...others.slice(0, size % 3)].map((l) =>
    twist === 2 ? { ...l, worker: { id: workerId(pick % 3), incarnation: 1 } } : l,
  );
  const from = twist === 3 ? { ...segment, version: segment.version - 1 } : segment;
  const give = size % 2 === 0 ? firstOf(lease.hold, size) : emptySet();
  const change = aSettle(from, leases, { give, setCount: set.count });
  const tries = new Map(segment.tries).set(size, { attempts: size * 3, losses: 1, notBeforeMs: NOW_MS + size });
  const settle = { ...change, segment: { ...change.segment, post: { ...change.segment.post, tries } } };
  return ({ tasks }) => tasks.settle(settle);
}

function setWrite({ act, pick, size, twist }: Step, stored: MemorySnapshot): Write | undefined {
  const set = one(stored.sets, pick);
  if (set === undefined) return undefined;
  const key = { experiment: set.experiment, ordinal: twist === 4 ? 9 : set.ordinal };
  const current = generationOf(set, stored);
  const gate = { experiment: set.experiment, shard: 0, generation: twist === 0 ? current + 1 : current };
  if (act === "skipSet") return ({ tasks }) => tasks.skipSet(gate, key);
  if (act === "reopenSet") return ({ tasks }) => tasks.reopenSet(key, set.generation + (twist === 1 ? 0 : 1));
  const segment = segmentOf(set, size % set.segments, stored);
  const version = segment.version - (twist === 2 ? 1 : 0);
  const post = { ...segment, version: version + 1 };
  const expect = { version };
  const setCount = set.count;
  if (act === "reopen") {
    const generation = segment.generation + (twist === 1 ? 0 : 1);
    const sums = segment.closed ? ({ closed: -1, done: -1, failed: 0, skipped: -size } as const) : undefined;
    const change = { segment: { post: { ...post, generation, failed: emptySet(), skipped: emptySet(), closed: false }, expect, setCount } };
    return ({ tasks }) => tasks.reopen(sums === undefined ? change : { ...change, sums });
  }
  const skipped = firstOf(pendingOf(segment, set.count), size);
  const sums = size % 2 === 0 ? { sums: { closed: 1, done: 0, failed: 0, skipped: size } as const } : {};
  const unborn = segment.version === 0 && twist !== 3;
  const born = unborn ? { ...post, version: 1 } : post;
  return ({ tasks }) =>
    tasks.skip({ gate, segment: { post: { ...born, skipped }, expect: unborn ? "unborn" : expect, setCount }, ...sums });
}
