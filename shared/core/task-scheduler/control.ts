/** Changes of an experiment's status: one transaction over the experiment and all its gates (T6), and the sagas behind them. */
import type { Experiment, ExperimentState, TaskSet } from "#domain/experiment.ts";
import { EXPERIMENT_TRANSITIONS } from "#domain/experiment.ts";
import type { ExperimentId, GatewayId } from "#domain/id.ts";
import { emptySet, hasIndex, isEmptySet, minus, SEGMENT_TASKS } from "#domain/index-set.ts";
import type { Lease } from "#domain/lease.ts";
import { isFinished, type Segment } from "#domain/segment.ts";
import type { Clock } from "#ports/clock.ts";
import type { Random } from "#ports/random.ts";
import type { TaskStore } from "#ports/task-store.ts";
import type { WorkerStore } from "#ports/worker-store.ts";
import type { DeletionReport } from "./deletion.ts";
import { isSetClosed } from "./eligibility.ts";
import { sumsOf } from "./fold.ts";
import { MORE_HINT_MS, WRITE_JITTER_MS, WRITE_TRIES } from "./limits.ts";
import type { Plans } from "./plans.ts";
import { selectedFailures } from "./selection.ts";
import type { Settlement } from "./settlement.ts";

interface Deps {
  readonly store: TaskStore;
  readonly workers: Pick<WorkerStore, "readWorker">;
  readonly dispatch: (lease: Lease, gateway: GatewayId | undefined, recall?: number) => Promise<void>;
  readonly plans: Plans;
  readonly settlement: Settlement;
  readonly removeAll: (experiment: Experiment) => Promise<DeletionReport>;
  readonly hint: (hint: { readonly experiment: ExperimentId }, delayMs: number) => Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
}

export interface TurnRequest {
  readonly from: readonly ExperimentState[];
  /** The post-image's changes, or `undefined` to leave it as it is. */
  readonly change: (now: Experiment) => Partial<Experiment> | undefined;
  /** As it was read a moment ago: it is read again only when the turn is refused. */
  readonly known?: Experiment | undefined;
}

export type TurnReport = { readonly kind: "turned" | "unchanged" | "undecided"; readonly experiment: Experiment | undefined };

export interface Control {
  /** Turns when the status is in `from`; otherwise `unchanged`. Idempotent: an unknown outcome is read back. */
  turn(id: ExperimentId, request: TurnRequest): Promise<TurnReport>;
  /** COMPLETED or FAILED when every set is closed. */
  completeIfDone(id: ExperimentId): Promise<boolean>;
  /** Starts a retry of the selected tasks; `unchanged` when the state does not allow it. */
  startRetry(id: ExperimentId, operation: NonNullable<Experiment["operation"]>): Promise<TurnReport>;
  /**
   * Turns it to DELETING when it was never started or has ended with no lease open; a canceled one is rid of its leases
   * first. `unchanged` otherwise, and when it is DELETING already.
   */
  startDeletion(id: ExperimentId): Promise<TurnReport>;
  /**
   * Carries on what a turn began, at once after its hint and again by the timer; safe to run by several at once and again.
   * DELETING: everything of it goes, then itself. RETRYING: back to where it came from. CANCELED: its open leases are taken back, then it leaves the live index.
   * PAUSED: the gateways of its open leases are told to take back what has not started; a lost message costs nothing but
   * that those tasks still run.
   */
  carryOn(experiment: Experiment): Promise<void>;
}

const SEGMENT_PAGE = 100;
const LEASE_PAGE = 100;

export function createControl(deps: Deps): Control {
  const { store } = deps;

  async function turn(id: ExperimentId, request: TurnRequest): Promise<TurnReport> {
    let known = request.known;
    for (let i = 0; i < WRITE_TRIES; i++) {
      if (i > 0) await deps.clock.sleep(deps.random.next() * WRITE_JITTER_MS * i);
      const now = known ?? (await store.readExperiment(id));
      known = undefined;
      if (now === undefined || !request.from.includes(now.status)) return { kind: "unchanged", experiment: now };
      const change = request.change(now);
      if (change === undefined) return { kind: "unchanged", experiment: now };
      const post: Experiment = { ...now, ...change, version: now.version + 1 };
      if (post.status !== now.status && !EXPERIMENT_TRANSITIONS[now.status].includes(post.status))
        return { kind: "unchanged", experiment: now };
      const outcome = await store.turn({ post, expectVersion: now.version });
      if (outcome.kind === "done") return { kind: "turned", experiment: post };
    }
    return { kind: "undecided", experiment: undefined };
  }

  async function completeIfDone(id: ExperimentId): Promise<boolean> {
    // The generation is read before the sets: within one generation their sums only grow.
    const before = await store.readExperiment(id);
    if (before === undefined || (before.status !== "RUNNING" && before.status !== "PAUSED")) return false;
    const sets = await store.readSets(id);
    if (!sets.every(isSetClosed)) return false;
    const failed = sets.some((s) => s.skipAll || s.failed + s.skipped > 0);
    const { kind } = await turn(id, {
      from: ["RUNNING", "PAUSED"],
      change: (now) =>
        now.generation === before.generation
          ? { status: failed ? "FAILED" : "COMPLETED", endedAtMs: deps.clock.now(), live: false }
          : undefined,
    });
    return kind === "turned";
  }

  async function startRetry(id: ExperimentId, operation: NonNullable<Experiment["operation"]>): Promise<TurnReport> {
    return turn(id, {
      from: ["RUNNING", "PAUSED", "COMPLETED", "FAILED"],
      change: (now) => ({
        status: "RETRYING",
        prior: now.status === "PAUSED" ? "PAUSED" : "RUNNING",
        generation: now.generation + 1,
        live: true,
        operation,
      }),
    });
  }

  const beginDeletion = (id: ExperimentId): Promise<TurnReport> =>
    turn(id, {
      from: ["CREATED", "COMPLETED", "FAILED", "CANCELED"],
      change: (now) => (now.live ? undefined : { status: "DELETING", live: true }),
    });

  async function startDeletion(id: ExperimentId): Promise<TurnReport> {
    const report = await beginDeletion(id);
    if (report.experiment?.status !== "CANCELED" || !report.experiment.live) return report;
    await sweepCanceled(id);
    return beginDeletion(id);
  }

  async function reopenSegment(segment: Segment, { generation, operation }: Experiment, count: number): Promise<boolean> {
    const select = operation?.select ?? { kind: "all-failed" };
    const leases = select.kind === "causes" && !isEmptySet(segment.failed) ? await allLeases(segment.key) : [];
    const selected = selectedFailures(select, segment, leases);
    const cleared = { ...segment, failed: minus(segment.failed, selected), skipped: emptySet() };
    const tries = new Map([...segment.tries].filter(([i]) => !hasIndex(selected, i)));
    const reopens = segment.closed && !isFinished(cleared, count);
    const post = { ...cleared, tries, generation, version: segment.version + 1, closed: segment.closed && !reopens };
    const outcome = await store.reopen({
      segment: { post, expect: { version: segment.version }, setCount: count },
      ...(reopens ? { sums: sumsOf(segment, -1) } : {}),
    });
    return outcome.kind === "done";
  }

  async function reopenSet(set: TaskSet, experiment: Experiment): Promise<boolean> {
    const { generation } = experiment;
    let clean = true;
    for (let from = 0; from < set.next; from += SEGMENT_PAGE) {
      for (const s of await store.readSegments(set.experiment, set.ordinal, from, SEGMENT_PAGE)) {
        if (s.generation < generation && !(await reopenSegment(s, experiment, set.count))) clean = false;
      }
    }
    if (
      set.generation < generation &&
      (await store.reopenSet({ experiment: set.experiment, ordinal: set.ordinal }, generation)).kind === "unknown"
    )
      clean = false;
    return clean;
  }

  async function finishRetry(id: ExperimentId): Promise<void> {
    for (let i = 0; i < WRITE_TRIES; i++) {
      const now = await store.readExperiment(id);
      if (now?.status !== "RETRYING") return;
      let clean = true;
      for (const set of await store.readSets(id)) clean = (await reopenSet(set, now)) && clean;
      if (clean) {
        await turn(id, {
          from: ["RETRYING"],
          change: (x) => (x.generation === now.generation ? { status: x.prior ?? "RUNNING" } : undefined),
        });
        return;
      }
      await deps.clock.sleep(deps.random.next() * WRITE_JITTER_MS * (i + 1));
    }
  }

  async function allLeases(segment: Segment["key"]): Promise<Lease[]> {
    const found: Lease[] = [];
    let cursor: string | undefined;
    do {
      const page = await store.listLeases(segment, { limit: LEASE_PAGE, ...(cursor === undefined ? {} : { cursor }) });
      found.push(...page.items);
      cursor = page.cursor;
    } while (cursor !== undefined);
    return found;
  }

  /** The open leases of every segment that has some. */
  async function* leasedSegments(id: ExperimentId): AsyncGenerator<{ key: Segment["key"]; open: readonly Lease[] }> {
    for (const set of await store.readSets(id)) {
      for (let from = 0; from < set.next; from += SEGMENT_PAGE) {
        for (const s of await store.readSegments(id, set.ordinal, from, SEGMENT_PAGE)) {
          const open = isEmptySet(s.leased) ? [] : (await allLeases(s.key)).filter((l) => l.state === "OPEN");
          if (open.length > 0) yield { key: s.key, open };
        }
      }
    }
  }

  async function sweepCanceled(id: ExperimentId): Promise<void> {
    let clean = true;
    for await (const { key, open } of leasedSegments(id)) {
      const done = await deps.settlement.settle(
        key,
        open.map((lease) => ({ lease: lease.key, back: { tasks: "all" as const, cause: "canceled" as const }, fold: true })),
      );
      clean = clean && done.every((r) => !r.undecided && r.state !== "OPEN");
    }
    if (clean) await turn(id, { from: ["CANCELED"], change: () => ({ live: false }) });
  }

  async function recallPaused(id: ExperimentId): Promise<void> {
    for await (const { open } of leasedSegments(id))
      for (const lease of open) await deps.dispatch(lease, (await deps.workers.readWorker(lease.worker))?.gateway, SEGMENT_TASKS);
  }

  async function carryOn(e: Experiment): Promise<void> {
    if (e.status === "RETRYING") await finishRetry(e.id);
    else if (e.status === "CANCELED" && e.live) await sweepCanceled(e.id);
    else if (e.status === "PAUSED") await recallPaused(e.id);
    else if (e.status === "DELETING" && (await deps.removeAll(e)) === "more") await deps.hint({ experiment: e.id }, MORE_HINT_MS);
  }

  return { turn, completeIfDone, startRetry, startDeletion, carryOn };
}
