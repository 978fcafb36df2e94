/**
 * TaskScheduler: hands tasks to workers, commits what they did, takes back what they can't do.
 *
 * Invariants upheld here by conditional writes alone: T1 a task is held by at most one live lease; T2 a commit under a
 * stale epoch changes nothing; T3 committing twice is a no-op; T4 nothing acknowledged is lost; T5 a task runs only
 * after all it depends on is committed; T6 a canceled or paused experiment hands out nothing new; W1, W2.
 */
import type { LeaseKey } from "#domain/lease.ts";
import type { ExperimentId } from "#domain/id.ts";
import type { SegmentKey } from "#domain/segment.ts";
import type { CostStore } from "#ports/cost-store.ts";
import { type Control, createControl } from "./control.ts";
import type { Hint } from "./demand.ts";
import { createPass, type PassDeps, type PassReport } from "./pass.ts";
import { createMeasured } from "./demand.ts";
import { createExplain, type ExplainDeps, type Explanation, type TaskName } from "./explanation.ts";
import { createDeletion, type DeletionDeps } from "./deletion.ts";
import { createObjectSweep, type ObjectSweepDeps } from "./object-sweep.ts";
import { createSweep } from "./sweep.ts";
import { createSpending, type Spending } from "./spending.ts";
import { createSettlement, type Settlement } from "./settlement.ts";

export { parentPlaces, readiness } from "./eligibility.ts";
export type { Batch } from "./fold.ts";
export type { Hint } from "./demand.ts";
export type { PassReport } from "./pass.ts";
export { type Access, openToAll, type PoolAccess } from "./access.ts";
export type { Explanation } from "./explanation.ts";
export { tell } from "./tell.ts";
export { createPlans, PLAN_BYTES_MAX, type Plans } from "./plans.ts";
export type { SettleReport, SettleRequest } from "./settlement.ts";

export interface TaskScheduler extends Settlement {
  readonly control: Control;
  /** What counts against the experiment's budget; see spending.ts. */
  readonly spentOf: Spending["of"];
  /** One pass; see pass.ts. Hints may be empty: then everything live is looked at. */
  schedule(hints: readonly Hint[]): Promise<PassReport>;
  /** The timer's backstop for lost hints and dead sagas; gives the live experiments that it visited. */
  sweep(): Promise<readonly ExperimentId[]>;
  /** Why it waits, or why one of its tasks does. Throws `not-found`. */
  explain(id: ExperimentId, task?: TaskName): Promise<Explanation>;
}

export type TaskSchedulerDeps = Omit<PassDeps, "control" | "spending" | "measured"> &
  Pick<ExplainDeps, "shortage"> &
  DeletionDeps &
  ObjectSweepDeps & {
    /** For experiments with a budget. */ readonly costs: Pick<CostStore, "read">;
  };

/** A dispatch is a hint: one that can't be sent, as to a gateway that is gone with its queue, costs time until the worker's next beat. */
const asHint =
  ({ dispatch, logger }: Pick<PassDeps, "dispatch" | "logger">): PassDeps["dispatch"] =>
  (lease, gateway, recall) =>
    dispatch(lease, gateway, recall).catch((error: unknown) =>
      logger.warn("a dispatch hint was lost", { gateway, reason: error instanceof Error ? error.message : String(error) }),
    );

export function createTaskScheduler(given: TaskSchedulerDeps): TaskScheduler {
  const deps = { ...given, dispatch: asHint(given) };
  const settlement = createSettlement(deps);
  const control = createControl({ ...deps, settlement, removeAll: createDeletion(deps) });
  const spending = createSpending(deps);
  const measured = createMeasured();
  return {
    settle: settlement.settle,
    control,
    spentOf: spending.of,
    schedule: createPass({ ...deps, control, spending, measured }),
    sweep: createSweep({ ...deps, control, sweepObjects: createObjectSweep(deps) }),
    explain: createExplain({ ...deps, measured, spending }),
  };
}

/** Groups requests by the segment that they are for. */
export function bySegment<T extends { readonly lease: LeaseKey }>(requests: readonly T[]): { key: SegmentKey; requests: T[] }[] {
  const groups = new Map<string, { key: SegmentKey; requests: T[] }>();
  for (const r of requests) {
    const { experiment, set, segment } = r.lease;
    const name = `${experiment}/${set}/${segment}`;
    const group = groups.get(name) ?? { key: { experiment, set, segment }, requests: [] };
    group.requests.push(r);
    groups.set(name, group);
  }
  return [...groups.values()];
}
