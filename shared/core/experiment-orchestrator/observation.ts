/**
 * Observation: how an experiment stands, look by look, and what happened in between. What it tells is read from the store, so
 * it is right whoever did it: another gateway, another process. It remembers what it has told; losing that costs a repetition.
 */
import type { ExperimentId } from "#domain/id.ts";
import { hasIndex, type IndexSet, emptySet, isEmptySet, members, minus, SEGMENT_TASKS } from "#domain/index-set.ts";
import type { Lease } from "#domain/lease.ts";
import type { FailureCause } from "#domain/plan.ts";
import type { Segment } from "#domain/segment.ts";
import { type WorkerKey, workerName } from "#domain/worker.ts";
import type { ExperimentView } from "./index.ts";
import { findExperiment } from "./look.ts";
import type { OrchestratorDeps } from "./orchestrator.ts";
import { createLook, segmentsOf } from "./view.ts";

/** `node-lost`: given up because workers were lost with it again and again. */
export interface TaskFailure {
  readonly set: string;
  readonly number: number;
  readonly cause: FailureCause | "node-lost";
  readonly attempt?: number;
  readonly worker?: string;
  readonly exitCode?: number;
  readonly signal?: string;
  readonly message?: string;
}

export interface WorkerSeen {
  readonly worker: string;
  readonly host?: string;
  readonly pool?: string;
}

export interface Observed {
  readonly view: ExperimentView;
  /** Failed since the last look; at the first look some of those that have failed already. */
  readonly failures: readonly TaskFailure[];
  /** How many more, by set. */
  readonly moreFailures: ReadonlyMap<string, number>;
  /** Have tasks now, and had none at the last look. */
  readonly joined: readonly WorkerSeen[];
  /** Had tasks at the last look, and are dead. */
  readonly lost: readonly WorkerSeen[];
}

export interface Observation {
  /** One at a time. Throws `not-found` once the experiment is deleted. */
  look(): Promise<Observed>;
}

export type ObservationDeps = Pick<OrchestratorDeps, "tasks" | "workers" | "plans" | "results" | "scheduler">;

/** Told one by one in one look. */
const FAILURES_TOLD_MAX = 100;
/** Of those, with what their result objects say; each may be large. */
const FAILURES_DETAILED_MAX = 20;

async function describeFailure(
  deps: ObservationDeps,
  at: { readonly set: string; readonly segment: number; readonly index: number },
  leases: readonly Lease[],
  detailed: boolean,
): Promise<TaskFailure> {
  const { set, segment, index } = at;
  const lease = leases.find((l) => hasIndex(l.failed, index));
  const known = { set, number: segment * SEGMENT_TASKS + index, cause: lease?.causes.get(index) ?? ("node-lost" as const) };
  if (lease === undefined) return known;
  const attempt = { ...known, attempt: lease.key.epoch, worker: workerName(lease.worker) };
  // A result that is missing or damaged hides no failure.
  const read = detailed ? await deps.results.attempts([lease], index).catch(() => []) : [];
  const { exitCode, signal, message } = read[0]?.result ?? {};
  return {
    ...attempt,
    ...(exitCode === undefined ? {} : { exitCode }),
    ...(signal === undefined ? {} : { signal }),
    ...(message === undefined ? {} : { message }),
  };
}

async function describeWorker(deps: ObservationDeps, key: WorkerKey): Promise<WorkerSeen> {
  const item = await deps.workers.readWorker(key);
  return { worker: workerName(key), ...(item === undefined ? {} : { host: item.host, pool: item.pool }) };
}

export function createObservation(deps: ObservationDeps, id: ExperimentId): Observation {
  const lookAtAll = createLook(deps);
  const failed = new Map<string, IndexSet>();
  let failedCounts: readonly number[] = [];
  let generation = -1;
  let workers = new Map<string, { readonly key: WorkerKey; readonly seen: WorkerSeen }>();

  async function failuresOf(s: Segment, set: string, told: TaskFailure[], more: Map<string, number>): Promise<void> {
    const name = `${s.key.set}/${s.key.segment}`;
    const fresh = minus(s.failed, failed.get(name) ?? emptySet());
    failed.set(name, s.failed);
    if (isEmptySet(fresh)) return;
    const leases = told.length < FAILURES_TOLD_MAX ? await deps.results.leases(s.key) : [];
    for (const index of members(fresh)) {
      if (told.length >= FAILURES_TOLD_MAX) more.set(set, (more.get(set) ?? 0) + 1);
      else told.push(await describeFailure(deps, { set, segment: s.key.segment, index }, leases, told.length < FAILURES_DETAILED_MAX));
    }
  }

  /** Within a generation failed tasks only become more: segments are read again only of sets whose sum has changed. */
  async function failures(view: ExperimentView, now: number) {
    const told: TaskFailure[] = [];
    const more = new Map<string, number>();
    const counts = view.sets.map((s) => s.failed);
    if (now !== generation) failedCounts = counts.map(() => -1);
    generation = now;
    const changed = counts.some((n, i) => n !== failedCounts[i]);
    for (const t of changed ? await deps.tasks.readSets(id) : []) {
      if (counts[t.ordinal] === failedCounts[t.ordinal]) continue;
      for await (const s of segmentsOf(deps, t)) await failuresOf(s, view.sets[t.ordinal]?.set ?? "", told, more);
    }
    failedCounts = counts;
    return { failures: told, moreFailures: more };
  }

  async function workersNow(keys: ReadonlyMap<string, WorkerKey>): Promise<Pick<Observed, "joined" | "lost">> {
    const joined: WorkerSeen[] = [];
    const lost: WorkerSeen[] = [];
    const now: typeof workers = new Map();
    for (const [name, key] of keys) {
      const known = workers.get(name)?.seen;
      const seen = known ?? (await describeWorker(deps, key));
      if (known === undefined) joined.push(seen);
      now.set(name, { key, seen });
    }
    for (const [name, { key, seen }] of workers) {
      if (now.has(name)) continue;
      const item = await deps.workers.readWorker(key);
      if (item === undefined || item.state === "DEAD") lost.push(seen);
    }
    workers = now;
    return { joined, lost };
  }

  return {
    async look() {
      const holders = new Map<string, WorkerKey>();
      const onLease = (l: Lease) => void holders.set(workerName(l.worker), l.worker);
      const experiment = await findExperiment(deps, id);
      const view = await lookAtAll(experiment, onLease);
      return { view, ...(await failures(view, experiment.generation)), ...(await workersNow(holders)) };
    },
  };
}
