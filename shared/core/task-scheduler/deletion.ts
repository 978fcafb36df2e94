/**
 * Deletion: what a turn to DELETING began. Items first, leases with their segments; then objects, which bear the
 * experiment's id in their keys and so are nobody else's; then what pins its inputs; gates and experiment last.
 *
 * After the turn no write but these can add or change anything of it: an assignment needs a gate that is RUNNING, a commit
 * or settlement an open lease, a turn the version, a creation that there is no tombstone. What a worker or a gateway still
 * puts into the object store is swept later (object-sweep.ts). Safe to run by several at once, to break off, to repeat.
 */
import type { Experiment, TaskSet } from "#domain/experiment.ts";
import { EXPERIMENT_FOLDERS, experimentFolder } from "#domain/object-owner.ts";
import type { Clock } from "#ports/clock.ts";
import type { InputStore } from "#ports/input-store.ts";
import type { ObjectStore } from "#ports/object-store.ts";
import type { TaskStore, WriteOutcome } from "#ports/task-store.ts";
import { DELETION_RUN_MS, OBJECTS_REMOVED_AT_ONCE } from "./limits.ts";

export interface DeletionDeps {
  readonly store: TaskStore;
  readonly objects: Pick<ObjectStore, "list" | "remove">;
  readonly inputs: Pick<InputStore, "forget">;
  readonly clock: Clock;
}

const SEGMENT_PAGE = 100;

/** `more`: this was as much as one run takes, or something was unclear: run it again. */
export type DeletionReport = "gone" | "more";

export function createDeletion(deps: DeletionDeps): (experiment: Experiment) => Promise<DeletionReport> {
  const { store, objects } = deps;
  const isDone = (outcome: WriteOutcome): boolean => outcome.kind === "done";

  async function removeSet(set: TaskSet, untilMs: number): Promise<boolean> {
    for (let from = 0; from < set.next; from += SEGMENT_PAGE) {
      for (const { key } of await store.readSegments(set.experiment, set.ordinal, from, SEGMENT_PAGE)) {
        if (!isDone(await store.removeSegment(key)) || deps.clock.now() > untilMs) return false;
      }
    }
    return isDone(await store.removeSet({ experiment: set.experiment, ordinal: set.ordinal }));
  }

  async function removeObjects({ id }: Experiment, untilMs: number): Promise<boolean> {
    for (const folder of EXPERIMENT_FOLDERS) {
      for (;;) {
        const page = await objects.list(experimentFolder(folder, id), { limit: OBJECTS_REMOVED_AT_ONCE });
        await Promise.all(page.map(({ key }) => objects.remove(key)));
        if (page.length < OBJECTS_REMOVED_AT_ONCE) break;
        if (deps.clock.now() > untilMs) return false;
      }
    }
    return true;
  }

  return async (experiment) => {
    const untilMs = deps.clock.now() + DELETION_RUN_MS;
    for (const set of await store.readSets(experiment.id)) if (!(await removeSet(set, untilMs))) return "more";
    if (!(await removeObjects(experiment, untilMs))) return "more";
    await deps.inputs.forget(experiment.id);
    return isDone(await store.removeExperiment(experiment)) ? "gone" : "more";
  };
}
