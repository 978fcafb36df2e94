/**
 * Black holes: nodes on which every task fails at once, so that they empty the queue. A worker is taken for one when
 * {@link STREAK} different tasks in a row fail there within a second each while the tasks of the same set succeed at another.
 * A set of which an accused worker's tasks then fail elsewhere as well is at fault itself: it accuses nobody again, so
 * that a broken script costs one worker at most. All of this is memory of one gateway: losing it costs time alone.
 */
import { hasIndex, type IndexSet, setOf } from "#domain/index-set.ts";
import type { LeaseKey } from "#domain/lease.ts";
import type { FailureCause } from "#domain/plan.ts";
import type { TaskResult } from "#domain/result.ts";
import { segmentName } from "#domain/segment.ts";

/** Different tasks that failed fast in a row. */
export const STREAK = 8;
const FAST_MS = 1_000;
const SETS_KEPT = 1_024;
const WORKERS_KEPT = 10_000;
/** Causes that a broken node can bring about at once. */
const NODE_CAUSES: ReadonlySet<string> = new Set<FailureCause>(["exit", "signal", "staging"]);

interface SetRecord {
  /** Two workers at most: one of them is another one. */
  readonly succeededAt: Set<string>;
  accused?: { readonly worker: string; readonly segment: string; readonly tasks: IndexSet };
  atFault: boolean;
}

export interface BlackHoles {
  /** Notes results of one lease before they are committed; true when the worker that brings them shall get no more. */
  judge(worker: string, key: LeaseKey, results: readonly TaskResult[]): boolean;
}

const failedFast = (r: TaskResult): boolean => NODE_CAUSES.has(r.outcome) && r.endedAtMs - r.startedAtMs < FAST_MS;

function remember<V>(map: Map<string, V>, name: string, limit: number, fresh: () => V): V {
  const found = map.get(name) ?? fresh();
  map.delete(name);
  map.set(name, found);
  if (map.size > limit) map.delete(map.keys().next().value as string);
  return found;
}

export function createBlackHoles(): BlackHoles {
  const sets = new Map<string, SetRecord>();
  const streaks = new Map<string, Set<string>>();

  /** Another worker's result for an accused one's task decides. */
  function hear(set: SetRecord, worker: string, segment: string, results: readonly TaskResult[]): void {
    const { accused } = set;
    if (accused === undefined || accused.worker === worker || accused.segment !== segment) return;
    const heard = results.filter((r) => hasIndex(accused.tasks, r.index));
    if (heard.length === 0) return;
    delete set.accused;
    if (heard.some((r) => r.outcome !== "done")) set.atFault = true;
  }

  return {
    judge(worker, key, results) {
      const segment = segmentName(key);
      const set = remember(sets, `${key.experiment}/${key.set}`, SETS_KEPT, (): SetRecord => ({ succeededAt: new Set(), atFault: false }));
      hear(set, worker, segment, results);
      if (results.some((r) => r.outcome === "done") && set.succeededAt.size < 2) set.succeededAt.add(worker);
      if (!results.every(failedFast)) {
        streaks.delete(worker);
        return false;
      }
      const streak = remember(streaks, worker, WORKERS_KEPT, () => new Set<string>());
      for (const r of results) streak.add(`${segment}/${r.index}`);
      if (set.accused?.worker === worker) return true; // sent again
      const elsewhere = [...set.succeededAt].some((w) => w !== worker);
      if (streak.size < STREAK || !elsewhere || set.atFault || set.accused !== undefined) return false;
      set.accused = { worker, segment, tasks: setOf(results.map((r) => r.index)) };
      return true;
    },
  };
}
