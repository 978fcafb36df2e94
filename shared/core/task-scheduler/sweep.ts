/**
 * The timer's backstop: every live experiment is looked at, whatever hints were lost; sagas whose process died go on;
 * what was kept for a time and is due is deleted; orphaned objects are swept.
 */
import { isDueAt } from "#domain/experiment.ts";
import { type ExperimentId, parseId } from "#domain/id.ts";
import type { Clock } from "#ports/clock.ts";
import type { Logger } from "#ports/logger.ts";
import type { ObjectStore } from "#ports/object-store.ts";
import type { TaskStore } from "#ports/task-store.ts";
import { createBookmarks } from "./bookmarks.ts";
import type { Control } from "./control.ts";
import { EXPERIMENTS_PER_SWEEP, KEPT_PER_SWEEP } from "./limits.ts";
import type { Hint } from "./demand.ts";

export interface SweepDeps {
  readonly store: TaskStore;
  readonly objects: Pick<ObjectStore, "get" | "putIfAbsent" | "remove">;
  readonly control: Control;
  readonly hint: (hint: Hint, delayMs: number) => Promise<void>;
  readonly sweepObjects: () => Promise<number>;
  readonly clock: Clock;
  readonly logger: Logger;
}

const KEPT_BOOKMARK = "kept";

export function createSweep(deps: SweepDeps): () => Promise<readonly ExperimentId[]> {
  const bookmarks = createBookmarks(deps.objects);
  async function deleteDue(): Promise<void> {
    const from = parseId("experiment", await bookmarks.read(KEPT_BOOKMARK));
    const kept = await deps.store.keptExperiments(KEPT_PER_SWEEP, from);
    for (const { id } of kept.filter((e) => isDueAt(e, deps.clock.now()))) {
      const { kind } = await deps.control.startDeletion(id);
      if (kind === "turned") await deps.hint({ experiment: id }, 0);
    }
    const last = kept.length < KEPT_PER_SWEEP ? undefined : kept.at(-1)?.id;
    await bookmarks.move(KEPT_BOOKMARK, last ?? "");
  }
  /** What can wait must not keep the rest from being done. */
  async function attempt(what: string, work: () => Promise<unknown>): Promise<void> {
    await work().catch((error: unknown) => {
      deps.logger.warn(`${what} broke off; the next run goes on`, { reason: error instanceof Error ? error.message : String(error) });
    });
  }
  return async () => {
    const live = await deps.store.liveExperiments(EXPERIMENTS_PER_SWEEP);
    for (const e of live) {
      await deps.control.carryOn(e);
      if (e.status !== "CANCELED" && e.status !== "DELETING") await deps.hint({ experiment: e.id }, 0);
    }
    await attempt("deletion of what is due", deleteDue);
    await attempt("the sweep of objects", deps.sweepObjects);
    return live.map((e) => e.id);
  };
}
