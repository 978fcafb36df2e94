/**
 * Items <-> domain values. Written by hand: an item's size is its price, so sets are packed (encodeSet), what is empty is
 * left out, and tries and causes are sparse binaries in ascending order of task:
 * - tries: per task varint(index - previous index), u8 attempts, u8 losses, varint(seconds of notBefore)
 * - causes: per task varint(index - previous index), u8 place in FAILURE_CAUSES
 * The previous index of the first is 0. Varints are LEB128, unsigned, below 2^53.
 */
import type { AttributeValue } from "@aws-sdk/client-dynamodb";
import type { Budget } from "#domain/budget.ts";
import type { Capacity } from "#domain/capacity.ts";
import {
  type Experiment,
  type ExperimentState,
  type Gate,
  isKeptForATime,
  ownerPlace,
  type RetrySelection,
  type TaskSet,
} from "#domain/experiment.ts";
import type { ExperimentId, GatewayId, ProjectId, UserId } from "#domain/id.ts";
import { decodeSet, encodeSet, type IndexSet, isEmptySet } from "#domain/index-set.ts";
import type { BackCause, CloseCause, Lease, ResultRef } from "#domain/lease.ts";
import { decodePace, encodePace } from "#domain/pace.ts";
import { FAILURE_CAUSES, type FailureCause } from "#domain/plan.ts";
import { isOpen, type Segment, type Tries } from "#domain/segment.ts";
import { hasRoom, type PackageKind, type Worker, type WorkerState } from "#domain/worker.ts";
import type { GatewayRecord } from "#ports/worker-store.ts";
import {
  epochOf,
  experimentKey,
  experimentOf,
  gateKey,
  gatewayKey,
  type ItemKey,
  keptExperimentShard,
  leaseKey,
  liveExperimentShard,
  liveWorkerShard,
  roomShard,
  segmentKey,
  segmentOf,
  setKey,
  spotOf,
  workerKey,
  workerOf,
} from "./keys.ts";

export type Item = Record<string, AttributeValue>;

const COUNT_MAX = 255;
const DAY_S = 86_400;

// Attribute values

export const text = (value: string): AttributeValue => ({ S: value });
export const number = (value: number): AttributeValue => ({ N: String(value) });
export const texts = (values: Iterable<string>): AttributeValue => ({ SS: [...values] });

export const keyItem = ({ pk, sk }: ItemKey): Item => ({ pk: text(pk), sk: text(sk) });
export const keyOf = (item: Item): ItemKey => ({ pk: textOf(item, "pk"), sk: textOf(item, "sk") });

export function textOf(item: Item, name: string): string {
  const value = item[name]?.S;
  if (value === undefined) throw damaged(item, name);
  return value;
}

export function numberOf(item: Item, name: string): number {
  const value = item[name]?.N;
  if (value === undefined) throw damaged(item, name);
  return Number(value);
}

export const maybeTextOf = (item: Item, name: string): string | undefined => item[name]?.S;
export const maybeNumberOf = (item: Item, name: string): number | undefined =>
  item[name] === undefined ? undefined : numberOf(item, name);
const setAt = (item: Item, name: string): IndexSet => decodeSet(item[name]?.B);
const damaged = (item: Item, name: string): Error => new Error(`item ${item.pk?.S} ${item.sk?.S} has no usable attribute ${name}`);

const capacity = (c: Capacity): AttributeValue => ({ L: [number(c.cpuMilli), number(c.memoryMib), number(c.gpu)] });
function capacityOf(value: AttributeValue | undefined): Capacity {
  const [cpuMilli, memoryMib, gpu] = (value?.L ?? []).map((v) => Number(v.N));
  if (cpuMilli === undefined || memoryMib === undefined || gpu === undefined) throw new Error("a capacity has three numbers");
  return { cpuMilli, memoryMib, gpu };
}

/** Leaves out empty sets. */
function sets(named: Readonly<Record<string, IndexSet>>): Item {
  const item: Item = {};
  for (const [name, set] of Object.entries(named)) if (!isEmptySet(set)) item[name] = { B: encodeSet(set) };
  return item;
}

// Experiment, gate, set

export function experimentItem(e: Experiment): Item {
  return {
    ...keyItem(experimentKey(e.id)),
    owner: text(e.owner),
    ...(e.project === undefined ? {} : { project: text(e.project) }),
    ownerAt: text(ownerPlace(e)),
    name: text(e.name),
    status: text(e.status),
    ...(e.prior === undefined ? {} : { prior: text(e.prior) }),
    gen: number(e.generation),
    v: number(e.version),
    plan: text(e.planHash),
    gates: number(e.gates),
    tasks: number(e.taskCount),
    priority: number(e.priority),
    weight: number(e.weight),
    ...(e.budget === undefined ? {} : { budget: budgetValue(e.budget) }),
    at: number(e.createdAtMs),
    ...(e.startedAtMs === undefined ? {} : { started: number(e.startedAtMs) }),
    ...(e.endedAtMs === undefined ? {} : { ended: number(e.endedAtMs) }),
    ...(e.live ? { live: text(liveExperimentShard(e.id)) } : isKeptForATime(e) ? { live: text(keptExperimentShard(e.id)) } : {}),
    ...(e.draft === undefined ? {} : { draft: text(e.draft) }),
    ...(e.derivedFrom === undefined ? {} : { derived: text(e.derivedFrom) }),
    ...(e.labels === undefined ? {} : { labels: { M: mapValues(e.labels, text) } }),
    ...(e.tasksAtOnce === undefined ? {} : { atOnce: number(e.tasksAtOnce) }),
    ...((e.handouts ?? 0) === 0 ? {} : { handouts: number(e.handouts ?? 0) }),
    ...(e.retentionDays === undefined ? {} : { keepDays: number(e.retentionDays) }),
    ...(e.operation === undefined ? {} : { op: { M: { id: text(e.operation.id), select: text(JSON.stringify(e.operation.select)) } } }),
  };
}

export function experimentFrom(item: Item): Experiment {
  const prior = maybeTextOf(item, "prior") as Experiment["prior"];
  const project = maybeTextOf(item, "project") as ProjectId | undefined;
  const startedAtMs = maybeNumberOf(item, "started");
  const endedAtMs = maybeNumberOf(item, "ended");
  const operation = item.op?.M;
  return {
    id: experimentOf(textOf(item, "pk")),
    owner: textOf(item, "owner") as UserId,
    ...(project === undefined ? {} : { project }),
    name: textOf(item, "name"),
    status: textOf(item, "status") as ExperimentState,
    ...(prior === undefined ? {} : { prior }),
    generation: numberOf(item, "gen"),
    version: numberOf(item, "v"),
    planHash: textOf(item, "plan"),
    gates: numberOf(item, "gates"),
    taskCount: numberOf(item, "tasks"),
    priority: numberOf(item, "priority"),
    weight: numberOf(item, "weight"),
    ...(item.budget?.M === undefined ? {} : { budget: budgetFrom(item.budget.M) }),
    createdAtMs: numberOf(item, "at"),
    ...(startedAtMs === undefined ? {} : { startedAtMs }),
    ...(endedAtMs === undefined ? {} : { endedAtMs }),
    live: maybeTextOf(item, "live")?.startsWith("X#") === true,
    ...optionsFrom(item),
    ...(operation === undefined
      ? {}
      : { operation: { id: textOf(operation, "id"), select: JSON.parse(textOf(operation, "select")) as RetrySelection } }),
  };
}

const budgetValue = (budget: Budget): AttributeValue => ({
  M: Object.fromEntries(Object.entries(budget).map(([key, value]) => [key, number(value)])),
});

function budgetFrom(map: Item): Budget {
  const [nanoUsd, coreMs, tasks] = ["nanoUsd", "coreMs", "tasks"].map((key) => maybeNumberOf(map, key));
  return {
    ...(nanoUsd === undefined ? {} : { nanoUsd }),
    ...(coreMs === undefined ? {} : { coreMs }),
    ...(tasks === undefined ? {} : { tasks }),
  };
}

/** What an experiment need not have. */
function optionsFrom(item: Item): Partial<Experiment> {
  const draft = maybeTextOf(item, "draft");
  const derivedFrom = maybeTextOf(item, "derived") as ExperimentId | undefined;
  const tasksAtOnce = maybeNumberOf(item, "atOnce");
  const handouts = maybeNumberOf(item, "handouts");
  const retentionDays = maybeNumberOf(item, "keepDays");
  return {
    ...(draft === undefined ? {} : { draft }),
    ...(derivedFrom === undefined ? {} : { derivedFrom }),
    ...(item.labels?.M === undefined ? {} : { labels: mapValues(item.labels.M, (v) => v.S ?? "") }),
    ...(tasksAtOnce === undefined ? {} : { tasksAtOnce }),
    ...(handouts === undefined ? {} : { handouts }),
    ...(retentionDays === undefined ? {} : { retentionDays }),
  };
}

const mapValues = <A, B>(values: Readonly<Record<string, A>>, to: (value: A) => B): Record<string, B> =>
  Object.fromEntries(
    Object.entries(values)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => [key, to(value)]),
  );

/** What is left of a deleted experiment: no index has it, no condition of a write but "absent" looks at it. */
export const tombstoneItem = (id: ExperimentId, untilMs: number): Item => ({
  ...keyItem(experimentKey(id)),
  gone: { BOOL: true },
  ttl: number(Math.ceil(untilMs / 1000)),
});
export const isTombstone = (item: Item): boolean => item.gone !== undefined;

export const gateItem = (g: Gate): Item => ({
  ...keyItem(gateKey(g.experiment, g.shard)),
  status: text(g.status),
  gen: number(g.generation),
});

export const gateFrom = (item: Item): Gate => ({
  experiment: experimentOf(textOf(item, "pk")),
  shard: Number(textOf(item, "pk").split("#")[3]),
  status: textOf(item, "status") as ExperimentState,
  generation: numberOf(item, "gen"),
});

export const setItem = (s: TaskSet): Item => ({
  ...keyItem(setKey(s.experiment, s.ordinal)),
  count: number(s.count),
  segments: number(s.segments),
  next: number(s.next),
  closed: number(s.closed),
  done: number(s.done),
  failed: number(s.failed),
  skipped: number(s.skipped),
  gen: number(s.generation),
  ...(s.skipAll ? { skipAll: { BOOL: true } } : {}),
});

export const setFrom = (item: Item): TaskSet => ({
  experiment: experimentOf(textOf(item, "pk")),
  ordinal: Number(textOf(item, "sk").split("#")[1]),
  count: numberOf(item, "count"),
  segments: numberOf(item, "segments"),
  next: numberOf(item, "next"),
  closed: numberOf(item, "closed"),
  done: numberOf(item, "done"),
  failed: numberOf(item, "failed"),
  skipped: numberOf(item, "skipped"),
  generation: numberOf(item, "gen"),
  skipAll: item.skipAll !== undefined,
});

// Segment and lease

export const segmentItem = (s: Segment, setCount: number): Item => ({
  ...keyItem(segmentKey(s.key)),
  v: number(s.version),
  epoch: number(s.epoch),
  ...sets({ leased: s.leased, done: s.done, failed: s.failed, skipped: s.skipped }),
  ...(s.tries.size === 0 ? {} : { tries: { B: encodeTries(s.tries) } }),
  ...(s.closed ? { closed: { BOOL: true } } : {}),
  gen: number(s.generation),
  ...(s.pace === undefined ? {} : { pace: { B: encodePace(s.pace) } }),
  ...(s.runMs === 0 ? {} : { runMs: number(s.runMs) }),
  ...(s.failedMs === 0 ? {} : { failedMs: number(s.failedMs) }),
  ...(isOpen(s, setCount) ? { open: text(s.key.experiment) } : {}),
});

export const segmentFrom = (item: Item): Segment => ({
  key: segmentOf(textOf(item, "pk")),
  version: numberOf(item, "v"),
  epoch: numberOf(item, "epoch"),
  leased: setAt(item, "leased"),
  done: setAt(item, "done"),
  failed: setAt(item, "failed"),
  skipped: setAt(item, "skipped"),
  tries: decodeTries(item.tries?.B),
  closed: item.closed !== undefined,
  generation: numberOf(item, "gen"),
  ...(item.pace?.B === undefined ? {} : { pace: decodePace(item.pace.B) }),
  runMs: maybeNumberOf(item, "runMs") ?? 0,
  failedMs: maybeNumberOf(item, "failedMs") ?? 0,
});

export const leaseItem = (l: Lease): Item => ({
  ...keyItem(leaseKey(l.key)),
  worker: text(l.worker.id),
  inc: number(l.worker.incarnation),
  nonce: text(l.nonce),
  state: text(l.state),
  rev: number(l.rev),
  ...sets({ hold: l.hold, done: l.done, failed: l.failed }),
  ...(l.causes.size === 0 ? {} : { causes: { B: encodeCauses(l.causes) } }),
  ...(l.refs.length === 0 ? {} : { refs: { L: l.refs.map(refValue) } }),
  res: capacity(l.reserved),
  ...(l.pace === undefined ? {} : { pace: { B: encodePace(l.pace) } }),
  ...(l.runMs === 0 ? {} : { runMs: number(l.runMs) }),
  ...(l.failedMs === 0 ? {} : { failedMs: number(l.failedMs) }),
  at: number(l.assignedAtMs),
  ...(l.closeCause === undefined ? {} : { cause: text(l.closeCause) }),
  ...(l.back === undefined
    ? {}
    : { back: { M: Object.fromEntries([...l.back].map(([cause, tasks]) => [cause, { B: encodeSet(tasks) }])) } }),
});

export function leaseFrom(item: Item): Lease {
  const key = keyOf(item);
  const closeCause = maybeTextOf(item, "cause") as CloseCause | undefined;
  return {
    key: { ...segmentOf(key.pk), epoch: epochOf(key) },
    worker: { id: textOf(item, "worker") as Lease["worker"]["id"], incarnation: numberOf(item, "inc") },
    nonce: textOf(item, "nonce"),
    state: textOf(item, "state") as Lease["state"],
    rev: numberOf(item, "rev"),
    hold: setAt(item, "hold"),
    done: setAt(item, "done"),
    failed: setAt(item, "failed"),
    causes: decodeCauses(item.causes?.B),
    refs: (item.refs?.L ?? []).map((v) => refFrom(v.M ?? {})),
    reserved: capacityOf(item.res),
    ...(item.pace?.B === undefined ? {} : { pace: decodePace(item.pace.B) }),
    runMs: maybeNumberOf(item, "runMs") ?? 0,
    failedMs: maybeNumberOf(item, "failedMs") ?? 0,
    assignedAtMs: numberOf(item, "at"),
    ...(closeCause === undefined ? {} : { closeCause }),
    ...(item.back === undefined ? {} : { back: backOf(item.back) }),
  };
}

const backOf = (value: AttributeValue): NonNullable<Lease["back"]> =>
  new Map(
    Object.entries(value.M ?? {})
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([cause, { B }]) => [cause as BackCause, decodeSet(B)]),
  );

const refValue = (r: ResultRef): AttributeValue => ({ M: { key: text(r.key), sha: text(r.sha256), mask: { B: encodeSet(r.mask) } } });
const refFrom = (item: Item): ResultRef => ({ key: textOf(item, "key"), sha256: textOf(item, "sha"), mask: setAt(item, "mask") });

// Worker and gateway

export const workerItem = (w: Worker): Item => ({
  ...keyItem(workerKey(w.key)),
  pool: text(w.pool),
  state: text(w.state),
  size: capacity(w.size),
  cap: capacity(w.cap),
  freeCpu: number(w.free.cpuMilli),
  freeMemory: number(w.free.memoryMib),
  freeGpu: number(w.free.gpu),
  ...(w.leases.size === 0 ? {} : { leases: texts(w.leases) }),
  session: number(w.session),
  ...(w.gateway === undefined ? {} : { gateway: text(w.gateway) }),
  beat: number(w.beat),
  expires: number(w.expiresAtMs),
  ...(w.endsAtMs === undefined ? {} : { ends: number(w.endsAtMs) }),
  ...(w.packages.length === 0 ? {} : { packages: { L: w.packages.map(text) } }),
  ...(w.phases.size === 0 ? {} : { phases: phasesValue(w.phases) }),
  host: text(w.host),
  version: text(w.version),
  live: text(liveWorkerShard(w.key)),
  spot: text(spotOf(w.key)),
  ...(hasRoom(w) ? { room: text(roomShard(w.key)) } : {}),
});

export const workerFrom = (item: Item): Worker => ({
  key: workerOf(textOf(item, "pk")),
  pool: textOf(item, "pool"),
  state: textOf(item, "state") as WorkerState,
  size: capacityOf(item.size),
  cap: capacityOf(item.cap),
  free: { cpuMilli: numberOf(item, "freeCpu"), memoryMib: numberOf(item, "freeMemory"), gpu: numberOf(item, "freeGpu") },
  leases: new Set([...(item.leases?.SS ?? [])].sort()),
  session: numberOf(item, "session"),
  gateway: maybeTextOf(item, "gateway") as GatewayId | undefined,
  beat: numberOf(item, "beat"),
  expiresAtMs: numberOf(item, "expires"),
  endsAtMs: maybeNumberOf(item, "ends"),
  packages: (item.packages?.L ?? []).map((v) => v.S as PackageKind),
  phases: phasesOf(item.phases),
  host: textOf(item, "host"),
  version: textOf(item, "version"),
});

export const phasesValue = (phases: Worker["phases"]): AttributeValue => ({
  M: Object.fromEntries(
    [...phases].map(([lease, { queued, stagingIn, stagingOut }]) => [
      lease,
      { L: [queued, stagingIn, stagingOut].map((set) => ({ B: encodeSet(set) })) },
    ]),
  ),
});

function phasesOf(value: AttributeValue | undefined): Worker["phases"] {
  const entries = Object.entries(value?.M ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return new Map(
    entries.map(([lease, { L }]) => {
      const [queued, stagingIn, stagingOut] = [0, 1, 2].map((i) => decodeSet(L?.[i]?.B)) as [IndexSet, IndexSet, IndexSet];
      return [lease, { queued, stagingIn, stagingOut }];
    }),
  );
}

/** A gateway that has not been seen for a day is swept by the table. */
export const gatewayItem = (g: GatewayRecord): Item => ({
  ...keyItem(gatewayKey(g.id)),
  beat: number(g.beatAtMs),
  up: number(g.upSinceMs),
  queue: text(g.queue),
  usage: { M: Object.fromEntries([...g.usage].map(([id, c]) => [id, capacity(c)])) },
  ...(g.url === undefined ? {} : { url: text(g.url) }),
  ttl: number(Math.ceil(g.beatAtMs / 1000) + DAY_S),
});

export const gatewayFrom = (item: Item): GatewayRecord => ({
  id: textOf(item, "sk") as GatewayId,
  beatAtMs: numberOf(item, "beat"),
  upSinceMs: numberOf(item, "up"),
  queue: textOf(item, "queue"),
  ...(item.url === undefined ? {} : { url: textOf(item, "url") }),
  usage: new Map(
    Object.entries(item.usage?.M ?? {})
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([id, c]) => [id as ExperimentId, capacityOf(c)]),
  ),
});

// Sparse binaries

export function encodeTries(tries: ReadonlyMap<number, Tries>): Uint8Array {
  const bytes: number[] = [];
  let previous = 0;
  for (const [index, t] of [...tries].sort(([a], [b]) => a - b)) {
    writeVarint(bytes, index - previous);
    bytes.push(Math.min(COUNT_MAX, t.attempts), Math.min(COUNT_MAX, t.losses));
    writeVarint(bytes, Math.ceil(t.notBeforeMs / 1000));
    previous = index;
  }
  return Uint8Array.from(bytes);
}

export function decodeTries(stored: Uint8Array | undefined): Map<number, Tries> {
  const tries = new Map<number, Tries>();
  const bytes = { stored: stored ?? new Uint8Array(0), at: 0 };
  let index = 0;
  while (bytes.at < bytes.stored.length) {
    index += readVarint(bytes);
    const attempts = readByte(bytes);
    const losses = readByte(bytes);
    tries.set(index, { attempts, losses, notBeforeMs: readVarint(bytes) * 1000 });
  }
  return tries;
}

export function encodeCauses(causes: ReadonlyMap<number, FailureCause>): Uint8Array {
  const bytes: number[] = [];
  let previous = 0;
  for (const [index, cause] of [...causes].sort(([a], [b]) => a - b)) {
    writeVarint(bytes, index - previous);
    bytes.push(FAILURE_CAUSES.indexOf(cause));
    previous = index;
  }
  return Uint8Array.from(bytes);
}

export function decodeCauses(stored: Uint8Array | undefined): Map<number, FailureCause> {
  const causes = new Map<number, FailureCause>();
  const bytes = { stored: stored ?? new Uint8Array(0), at: 0 };
  let index = 0;
  while (bytes.at < bytes.stored.length) {
    index += readVarint(bytes);
    const cause = FAILURE_CAUSES[readByte(bytes)];
    if (cause === undefined) throw new RangeError("not a stored failure cause");
    causes.set(index, cause);
  }
  return causes;
}

interface Cursor {
  readonly stored: Uint8Array;
  at: number;
}

function readByte(bytes: Cursor): number {
  const byte = bytes.stored[bytes.at++];
  if (byte === undefined) throw new RangeError("a stored binary ends too early");
  return byte;
}

function writeVarint(bytes: number[], value: number): void {
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
}

function readVarint(bytes: Cursor): number {
  let value = 0;
  let factor = 1;
  for (;;) {
    const byte = readByte(bytes);
    value += (byte % 128) * factor;
    if (byte < 128) return value;
    factor *= 128;
    if (factor > Number.MAX_SAFE_INTEGER) throw new RangeError("a stored number is too large");
  }
}
