/** Plans are immutable: each process reads one once, by experiment. A bounded memory, oldest out first. */
import { SchedulerError } from "#domain/error.ts";
import type { Experiment } from "#domain/experiment.ts";
import type { ExperimentId } from "#domain/id.ts";
import { planKey } from "#domain/object-owner.ts";
import type { Plan } from "#domain/plan.ts";
import type { ObjectStore } from "#ports/object-store.ts";
import type { TaskStore } from "#ports/task-store.ts";

/** Largest stored plan. */
export const PLAN_BYTES_MAX = 32 * 1024 * 1024;
const PLANS_KEPT = 1_024;
/** Of their stored forms together; the newest is kept whatever its size. */
const PLANS_KEPT_BYTES = 128 * 1024 * 1024;

/** What never changes of an experiment. */
export interface Planned {
  readonly plan: Plan;
  readonly planHash: string;
  readonly owner: Experiment["owner"];
  readonly gates: number;
}

export interface Plans {
  /**
   * Throws `not-found` for an unknown experiment and `integrity` when its plan is missing or damaged. Whoever has the
   * experiment hands it in: it is not read again.
   */
  of(id: ExperimentId, known?: Experiment): Promise<Planned>;
}

export function createPlans(deps: { store: TaskStore; objects: ObjectStore; decodePlan: (bytes: Uint8Array) => Plan }): Plans {
  const kept = new Map<ExperimentId, { readonly planned: Planned; readonly bytes: number }>();
  let keptBytes = 0;
  function keep(id: ExperimentId, planned: Planned, bytes: number): void {
    if (kept.has(id)) return;
    kept.set(id, { planned, bytes });
    keptBytes += bytes;
    for (const [old, { bytes: oldBytes }] of kept) {
      if (old === id || (kept.size <= PLANS_KEPT && keptBytes <= PLANS_KEPT_BYTES)) return;
      kept.delete(old);
      keptBytes -= oldBytes;
    }
  }
  async function read(id: ExperimentId, known: Experiment | undefined): Promise<Planned> {
    const experiment = known ?? (await deps.store.readExperiment(id));
    if (experiment === undefined) throw new SchedulerError("not-found", `there is no experiment ${id}`);
    const bytes = await deps.objects.get(planKey(experiment), PLAN_BYTES_MAX);
    if (bytes === undefined) throw new SchedulerError("integrity", `the plan of ${id} is missing from the object store`);
    const planned = { plan: deps.decodePlan(bytes), planHash: experiment.planHash, owner: experiment.owner, gates: experiment.gates };
    keep(id, planned, bytes.byteLength);
    return planned;
  }
  const reading = new Map<ExperimentId, Promise<Planned>>();
  return {
    async of(id, known) {
      const planned = kept.get(id)?.planned ?? reading.get(id);
      if (planned !== undefined) return planned;
      const started = read(id, known).finally(() => reading.delete(id));
      reading.set(id, started);
      return started;
    },
  };
}
