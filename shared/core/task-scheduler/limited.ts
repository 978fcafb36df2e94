/**
 * Experiments with a limit of tasks that workers hold at once. What is held is counted strongly after the experiment was
 * read; the assignment is refused when another of the same experiment has come between (Assign.turnstile). Settlements
 * need no such care: they only make room.
 */
import type { Experiment, TaskSet } from "#domain/experiment.ts";
import type { ExperimentId } from "#domain/id.ts";
import { sizeOf } from "#domain/index-set.ts";
import type { Plan } from "#domain/plan.ts";
import type { Assign, TaskStore } from "#ports/task-store.ts";
import type { Room } from "./placement.ts";
import type { Spending } from "./spending.ts";

const SEGMENT_PAGE = 100;

/** Tasks that may be handed out still; `undefined`: as many as one likes. */
export async function roomOf(store: TaskStore, e: Experiment, sets: readonly TaskSet[]): Promise<number | undefined> {
  if (e.tasksAtOnce === undefined) return undefined;
  let held = 0;
  for (const set of sets) {
    if (set.closed === set.segments) continue;
    for (let from = 0; from < set.next; from += SEGMENT_PAGE)
      for (const s of await store.readSegments(e.id, set.ordinal, from, SEGMENT_PAGE)) held += sizeOf(s.leased);
  }
  return Math.max(0, e.tasksAtOnce - held);
}

/** What a budget or a limit of tasks at once leaves to be handed out; `undefined`: as much as one likes. */
export async function handoutRoom(
  deps: { readonly store: TaskStore; readonly spending: Spending },
  { e, plan, sets }: { readonly e: Experiment; readonly plan: Plan; readonly sets: readonly TaskSet[] },
): Promise<Room | undefined> {
  const [allowance, limit] = await Promise.all([deps.spending.allowance(e, plan, sets), roomOf(deps.store, e, sets)]);
  if (allowance !== undefined && allowance.tasks <= (limit ?? Number.POSITIVE_INFINITY))
    return { tasks: allowance.tasks, by: "budget", mayGrow: !allowance.usedUp };
  return limit === undefined ? undefined : { tasks: limit, by: "at-limit", mayGrow: false };
}

export interface Turnstiles {
  /** What the next assignment of the experiment must say. */
  of(e: Experiment): Pick<Assign, "turnstile">;
  passed(e: Experiment): void;
}

/** For one round: several assignments may follow from one read of the experiment. */
export function createTurnstiles(): Turnstiles {
  const passed = new Map<ExperimentId, number>();
  return {
    of(e) {
      if (e.tasksAtOnce === undefined) return {};
      return { turnstile: { version: e.version, handouts: (e.handouts ?? 0) + (passed.get(e.id) ?? 0) } };
    },
    passed(e) {
      passed.set(e.id, (passed.get(e.id) ?? 0) + 1);
    },
  };
}
