import type { Clock } from "#ports/clock.ts";
import type { ObjectStore } from "#ports/object-store.ts";
import type { Random } from "#ports/random.ts";
import type { TaskStore } from "#ports/task-store.ts";
import type { WorkerStore } from "#ports/worker-store.ts";
import type { DataMover, Results } from "#core/data-mover/index.ts";
import type { Hint, Plans, TaskScheduler } from "#core/task-scheduler/index.ts";
import { createControl } from "./control.ts";
import type { ExperimentOrchestrator } from "./index.ts";
import { createFailureReading } from "./failures.ts";
import { createOutputReading } from "./outputs.ts";
import { createTimelineReading } from "./timeline.ts";
import { createTaskReading } from "./tasks.ts";
import { createViewing } from "./view.ts";

export interface OrchestratorDeps {
  readonly tasks: TaskStore;
  readonly workers: Pick<WorkerStore, "readWorker">;
  readonly objects: ObjectStore;
  readonly plans: Plans;
  readonly scheduler: Pick<TaskScheduler, "control" | "spentOf">;
  readonly results: Results;
  readonly data: Pick<DataMover, "open">;
  readonly hint: (hint: Hint) => Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
}

/** Each file gives a part of the interface: what changes experiments (control), and what reads them. */
export const createExperimentOrchestrator = (deps: OrchestratorDeps): ExperimentOrchestrator => ({
  ...createControl(deps),
  ...createViewing(deps),
  ...createTaskReading(deps),
  ...createOutputReading(deps),
  ...createTimelineReading(deps),
  ...createFailureReading(deps),
});
