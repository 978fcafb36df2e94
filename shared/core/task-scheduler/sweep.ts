/** The timer's backstop: every live experiment is looked at, whatever hints were lost; sagas whose process died go on. */
import type { ExperimentId } from "#domain/id.ts";
import type { TaskStore } from "#ports/task-store.ts";
import type { Control } from "./control.ts";
import { EXPERIMENTS_PER_SWEEP } from "./limits.ts";
import type { Hint } from "./demand.ts";

export interface SweepDeps {
  readonly store: TaskStore;
  readonly control: Control;
  readonly hint: (hint: Hint, delayMs: number) => Promise<void>;
}

export function createSweep(deps: SweepDeps): () => Promise<readonly ExperimentId[]> {
  return async () => {
    const live = await deps.store.liveExperiments(EXPERIMENTS_PER_SWEEP);
    for (const e of live) {
      await deps.control.carryOn(e);
      if (e.status !== "CANCELED") await deps.hint({ experiment: e.id }, 0);
    }
    return live.map((e) => e.id);
  };
}
