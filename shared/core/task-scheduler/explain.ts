/**
 * Why an experiment or a task waits: facts in, causes out, pure. What fits, what is ready and who comes first is asked of
 * the functions that a pass plans with, so that an explanation can't say other than what a pass does.
 */
import { addCapacity, type Capacity, countFits, NO_CAPACITY } from "#domain/capacity.ts";
import { CAUSE_KINDS, type Cause, type CauseKind, type NearestWorker, type ParentProgress, type Shares, type Why } from "#domain/cause.ts";
import type { Experiment, ExperimentState } from "#domain/experiment.ts";
import type { ExperimentId } from "#domain/id.ts";
import { intersect, isEmptySet, minus, type IndexSet, sizeOf } from "#domain/index-set.ts";
import type { Lease } from "#domain/lease.ts";
import { leaseName } from "#domain/lease.ts";
import type { Plan, PlanSet } from "#domain/plan.ts";
import { type Worker, workerName } from "#domain/worker.ts";
import type { Access } from "./access.ts";
import { demandOf, type Candidate } from "./demand.ts";
import { GATEWAY_SILENT_MS, LEASE_TASKS_MAX, LONG_TAIL_FACTOR } from "./limits.ts";
import { type Claimant, type Demand, reaches, shareOf, standing, timeLeftMs, timeNeededMs, unfit } from "./placement.ts";

/** A segment with tasks that wait. */
export interface Look {
  readonly candidate: Candidate;
  /** Of its pending tasks those that are asked about. */
  readonly of: IndexSet;
  /** False: segments before it must be born first. */
  readonly inOrder: boolean;
}

/** A lease that is open, with tasks that are not committed. */
export interface HeldLease {
  readonly lease: Lease;
  readonly of: IndexSet;
  readonly worker: Worker | undefined;
  /** Mean run time of its set. */
  readonly taskMs: number | undefined;
}

export interface ExplainFacts {
  readonly nowMs: number;
  readonly experiment: Experiment;
  readonly plan: Plan;
  readonly looks: readonly Look[];
  /** Set -> tasks that wait in segments that were not looked at, as far as they are known. */
  readonly unseen: ReadonlyMap<number, number>;
  readonly held: readonly HeldLease[];
  /** What the tasks of a set that are asked about wait for. */
  readonly parents: (set: number) => readonly ParentProgress[];
  readonly workers: readonly Worker[];
  /** What its budget has room for; `undefined`: it has none. */
  readonly allowance: { readonly tasks: number; readonly usedUp: boolean } | undefined;
  /** Tasks that its limit of tasks at once leaves to hand out; `undefined`: it has none. */
  readonly room: number | undefined;
  /** Of the disk that everything is kept on. */
  readonly shortage: { readonly freeBytes: number; readonly reserveBytes: number } | undefined;
  /** Of the resources that the plan names and of the pools of all workers. */
  readonly access: ReadonlyMap<string, Access>;
  /** Gateway -> when it was heard of last. */
  readonly gateways: ReadonlyMap<string, number>;
  readonly usage: ReadonlyMap<ExperimentId, Capacity>;
  /** Owners of the experiments in `usage` that are known. */
  readonly others: readonly Claimant[];
  /** Those ahead in fair share that have tasks which could run where these wait. */
  readonly ahead: readonly Claimant[];
}

const HOLDS: Partial<Record<ExperimentState, "not-submitted" | "paused" | "retrying">> = {
  CREATED: "not-submitted",
  PAUSED: "paused",
  RETRYING: "retrying",
};

/** These stay whatever else of the experiment moves on, so tasks that wait for others are told of them too. */
const LASTING: ReadonlySet<CauseKind> = new Set<CauseKind>([
  "resource-unknown",
  "resource-forbidden",
  "no-workers",
  "draining",
  "no-worker-fits",
  "environment-missing",
]);

/** Causes in the order of {@link CAUSE_KINDS}, then by the number of tasks. */
export function explainWaiting(facts: ExplainFacts): Cause[] {
  const hold = HOLDS[facts.experiment.status];
  const causes: Cause[] = [];
  const sets = Map.groupBy(facts.looks, (l) => l.candidate.segment.key.set);
  for (const [set, looks] of sets) causes.push(...ofSet(facts, set, looks, hold !== undefined));
  causes.push(...ofHeld(facts));
  const waiting = facts.looks.reduce((n, l) => n + sizeOf(l.of), 0) + [...facts.unseen.values()].reduce((a, b) => a + b, 0);
  if (hold !== undefined) causes.push({ why: { kind: hold }, tasks: waiting, exact: facts.unseen.size === 0 });
  const rank = (c: Cause) => CAUSE_KINDS.indexOf(c.why.kind);
  return causes.sort((a, b) => rank(a) - rank(b) || b.tasks - a.tasks);
}

function ofSet(facts: ExplainFacts, set: number, looks: readonly Look[], held: boolean): Cause[] {
  const name = facts.plan.sets[set]?.name ?? "";
  const count = (pick: (l: Look) => IndexSet, from = looks) => from.reduce((n, l) => n + sizeOf(intersect(l.of, pick(l))), 0);
  const inOrder = looks.filter((l) => l.inOrder);
  const takeable = inOrder.filter((l) => isEmptySet(l.candidate.skip));
  const take = count((l) => l.candidate.take, takeable);
  const skip = count((l) => l.candidate.skip);
  const resting = count((l) => minus(l.candidate.ready, l.candidate.take));
  const blocked = count((l) => minus(l.of, l.candidate.ready, l.candidate.skip));
  const late = count((l) => l.candidate.take) - take;
  // What was not looked at comes after what was, and waits like the last of that.
  const unseen = facts.unseen.get(set) ?? 0;
  const last = looks.at(-1) as Look;
  const like = { take: !isEmptySet(last.candidate.take), skip: !isEmptySet(last.candidate.skip) };
  const rest = { take: like.take ? unseen : 0, skip: !like.take && like.skip ? unseen : 0, blocked: like.take || like.skip ? 0 : unseen };
  const found: { why: Why; tasks: number }[] = [];
  const add = (why: Why, tasks: number) => tasks > 0 && found.push({ why, tasks });
  const first = takeable.find((l) => !isEmptySet(intersect(l.of, l.candidate.take))) ?? (looks[0] as Look);
  const placed = placementWhy(facts, demandOf(first.candidate, barredOf(facts)), take + rest.take);
  if (LASTING.has(placed.kind)) add(placed, take + resting + blocked + late + rest.take + rest.blocked);
  else if (!held) for (const { why, tasks } of readyWhy(facts, placed, take + rest.take)) add(why, tasks);
  if (resting > 0) {
    const wakes = looks.flatMap((l) => (l.candidate.wakeAtMs === undefined ? [] : [l.candidate.wakeAtMs]));
    add({ kind: "retry-wait", untilMs: Math.min(...wakes) }, resting);
  }
  add({ kind: "dependency", parents: facts.parents(set) }, blocked + rest.blocked);
  add({ kind: "parent-failed" }, skip + rest.skip);
  if (!held) add({ kind: "in-order" }, late);
  const { foreach, edges } = facts.plan.sets[set] as PlanSet;
  const exact = !facts.unseen.has(set) || (foreach.length === 0 && edges === undefined);
  return found.map(({ why, tasks }) => ({ why, set: name, tasks, exact }));
}

/** What keeps tasks back that are ready: of the experiment, of the installation, of the workers. */
function readyWhy(facts: ExplainFacts, placed: Why, tasks: number): { readonly why: Why; readonly tasks: number }[] {
  const { allowance, shortage, room = tasks, experiment } = facts;
  if (allowance?.tasks === 0) return [{ why: { kind: "budget", usedUp: allowance.usedUp }, tasks }];
  if (shortage !== undefined) return [{ why: { kind: "disk-full", ...shortage }, tasks }];
  const over = Math.max(0, tasks - room);
  return [
    { why: { kind: "at-limit", tasksAtOnce: experiment.tasksAtOnce ?? 0 }, tasks: over },
    { why: placed, tasks: tasks - over },
  ];
}

export const barredOf = (facts: Pick<ExplainFacts, "access">): ReadonlySet<string> =>
  new Set([...facts.access].filter(([, access]) => access !== "usable").map(([pool]) => pool));

/** What keeps tasks that are ready from a worker. */
function placementWhy(facts: ExplainFacts, demand: Demand, waiting: number): Why {
  const ready = facts.workers.filter((w) => w.state === "READY");
  const found = standing(demand, ready, facts.nowMs);
  if (typeof found !== "string") return { kind: "about-to-start", host: found.host };
  const draining = facts.workers.filter((w) => w.state === "DRAINING" && unfit(demand, w, facts.nowMs) === undefined);
  if (found !== "workers-are-full" && draining.length > 0) return { kind: "draining", workers: draining.length };
  const reached = ready.filter((w) => reaches(demand, w));
  if (reached.length === 0) return nothingReached(facts, demand);
  const near = reached.filter((w) => unfit(demand, w, facts.nowMs) === found);
  switch (found) {
    case "no-worker-fits":
      return tooSmall(demand, near);
    case "environment-missing":
      return environmentMissing(demand, near);
    case "ends-too-soon":
      return endsTooSoon(demand, near, facts.nowMs);
    case "workers-are-full":
      return roomTaken(facts, demand, waiting);
    default:
      return found satisfies never;
  }
}

function nothingReached({ plan, access, workers }: ExplainFacts, { barred }: Demand): Why {
  const names = plan.on.length > 0 ? plan.on : [...new Set(workers.map((w) => w.pool))];
  const usable = names.filter((name) => !barred.has(name));
  if (names.length === 0 || usable.length > 0) return { kind: "no-workers", resources: usable };
  const forbidden = names.filter((name) => access.get(name) === "forbidden");
  if (forbidden.length > 0) return { kind: "resource-forbidden", resources: forbidden };
  return { kind: "resource-unknown", resources: names };
}

const nameOf = (w: Worker): NearestWorker => ({ worker: w.key.id, host: w.host, pool: w.pool });

const best = (workers: readonly Worker[], cost: (w: Worker) => number): Worker => workers.reduce((a, b) => (cost(b) < cost(a) ? b : a));

const lacking = (need: Capacity, size: Capacity): Capacity => ({
  cpuMilli: Math.max(0, need.cpuMilli - size.cpuMilli),
  memoryMib: Math.max(0, need.memoryMib - size.memoryMib),
  gpu: Math.max(0, need.gpu - size.gpu),
});

function tooSmall({ need }: Demand, near: readonly Worker[]): Why {
  const nearest = best(near, (w) => shareOf(lacking(need, w.size), need));
  return { kind: "no-worker-fits", need, short: lacking(need, nearest.size), nearest: nameOf(nearest) };
}

function environmentMissing({ packages }: Demand, near: readonly Worker[]): Why {
  const missing = (w: Worker) => packages.filter((kind) => !w.packages.includes(kind));
  const nearest = best(near, (w) => missing(w).length);
  return { kind: "environment-missing", missing: missing(nearest), nearest: nameOf(nearest) };
}

function endsTooSoon(demand: Demand, near: readonly Worker[], nowMs: number): Why {
  const nearest = best(near, (w) => -timeLeftMs(w, nowMs));
  const leftMs = Math.max(0, timeLeftMs(nearest, nowMs));
  return { kind: "ends-too-soon", neededMs: timeNeededMs(demand), leftMs, nearest: nameOf(nearest) };
}

function roomTaken(facts: ExplainFacts, demand: Demand, waiting: number): Why {
  const fit = facts.workers.filter((w) => w.state === "READY" && unfit(demand, w, facts.nowMs) === undefined);
  const all = fit.reduce((sum, w) => addCapacity(sum, w.size), NO_CAPACITY);
  const slots = fit.reduce((n, w) => n + countFits(demand.need, w.size, LEASE_TASKS_MAX), 0);
  const owners = new Map(facts.others.map((o) => [o.experiment, o.owner]));
  const sums = { own: NO_CAPACITY, owners: NO_CAPACITY, others: NO_CAPACITY };
  for (const [experiment, used] of facts.usage) {
    const mine = owners.get(experiment) === demand.owner ? "owners" : "others";
    const whose = experiment === demand.experiment ? "own" : mine;
    sums[whose] = addCapacity(sums[whose], used);
  }
  const percent = (used: Capacity) => Math.min(100, Math.round(100 * shareOf(used, all)));
  const { taskMs } = demand;
  const shares: Shares = {
    slots,
    ownPercent: percent(sums.own),
    ownersPercent: percent(sums.owners),
    othersPercent: percent(sums.others),
    ...(taskMs === undefined
      ? {}
      : { taskMs: Math.round(taskMs), allMs: Math.round((Math.ceil(waiting / Math.max(1, slots)) + 1) * taskMs) }),
  };
  const { ahead } = facts;
  if (ahead.length === 0) return { kind: "room-taken", ...shares };
  return { kind: "behind-others", ahead: ahead.length, aheadOwn: ahead.filter((a) => a.owner === demand.owner).length, ...shares };
}

/** Tasks that a worker has and that don't run there, or not as they should. */
function ofHeld(facts: ExplainFacts): Cause[] {
  const { nowMs, gateways } = facts;
  const sums = new Map<string, { why: Why; set: string; tasks: number; workers: Set<string> }>();
  const add = (h: HeldLease, why: Why, tasks: number) => {
    if (tasks === 0) return;
    const set = facts.plan.sets[h.lease.key.set]?.name ?? "";
    const name = `${set} ${why.kind}`;
    const old = sums.get(name) ?? { why, set, tasks: 0, workers: new Set<string>() };
    sums.set(name, { ...old, why: worse(old.why, why), tasks: old.tasks + tasks, workers: old.workers.add(workerName(h.lease.worker)) });
  };
  for (const h of facts.held) {
    const { worker, of } = h;
    const heardMs = worker?.gateway === undefined ? undefined : gateways.get(worker.gateway);
    const silentMs = nowMs - (heardMs ?? h.lease.assignedAtMs);
    const phases = worker?.phases.get(leaseName(h.lease.key));
    if (worker === undefined || worker.state === "DEAD" || worker.expiresAtMs < nowMs)
      add(h, { kind: "worker-silent", silentMs: Math.max(0, nowMs - (worker?.expiresAtMs ?? nowMs)), workers: 1 }, sizeOf(of));
    else if (silentMs > GATEWAY_SILENT_MS) add(h, { kind: "gateway-down", silentMs, workers: 1 }, sizeOf(of));
    else {
      if (phases !== undefined) add(h, { kind: "at-worker", workers: 1 }, sizeOf(intersect(of, phases.queued)));
      if (phases !== undefined) add(h, { kind: "staging-in" }, sizeOf(intersect(of, phases.stagingIn)));
      addTail(h, phases === undefined ? of : minus(of, phases.queued, phases.stagingIn));
    }
  }
  function addTail(h: HeldLease, running: IndexSet): void {
    const longestMs = nowMs - h.lease.assignedAtMs;
    const expectedMs = (h.taskMs ?? Number.POSITIVE_INFINITY) * sizeOf(h.lease.hold);
    if (longestMs > expectedMs * LONG_TAIL_FACTOR)
      add(h, { kind: "long-tail", longestMs, taskMs: Math.round(h.taskMs as number) }, sizeOf(running));
  }
  return [...sums.values()].map(({ why, set, tasks, workers }) => ({
    why: "workers" in why ? { ...why, workers: workers.size } : why,
    set,
    tasks,
    exact: true,
  }));
}

function worse(a: Why, b: Why): Why {
  if ("silentMs" in a && "silentMs" in b) return b.silentMs > a.silentMs ? b : a;
  if (a.kind === "long-tail" && b.kind === "long-tail") return b.longestMs > a.longestMs ? b : a;
  return a;
}
