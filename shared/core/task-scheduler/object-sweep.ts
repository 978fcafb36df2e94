/**
 * Sweeps objects that nobody will ever refer to, and never one that somebody may.
 *
 * - Of a lease that is CLOSED: whatever its committed results do not name. It takes no commit any more (T2), so what it
 *   names is settled for ever; late workers' uploads come under its name, too.
 * - Of an OPEN lease: nothing. A commit that is under way may name any of them.
 * - Of an experiment that is gone: everything. Its id never returns.
 * - Drafts: all but the one that the experiment names. One whose experiment is not there may still be on its way to it,
 *   but not for a day: no request lives so long.
 *
 * A run looks at OBJECTS_PER_SWEEP objects of each folder and leaves a bookmark; the next goes on there, and from the
 * beginning after the end. Bookmarks are hints: lost or wrong they cost time.
 */
import { hasIndex } from "#domain/index-set.ts";
import { type Lease, leaseName } from "#domain/lease.ts";
import { begunAtMs, DRAFT_FOLDER, EXPERIMENT_FOLDERS, type ExperimentFolder, ownerOf } from "#domain/object-owner.ts";
import type { Experiment } from "#domain/experiment.ts";
import type { ExperimentId } from "#domain/id.ts";
import type { ResultObject } from "#domain/result.ts";
import type { Clock } from "#ports/clock.ts";
import type { ObjectStore } from "#ports/object-store.ts";
import type { TaskStore } from "#ports/task-store.ts";
import { createBookmarks } from "./bookmarks.ts";
import { DRAFT_MS, OBJECTS_PER_SWEEP, SWEPT_RESULT_BYTES_MAX } from "./limits.ts";

export interface ObjectSweepDeps {
  readonly store: TaskStore;
  readonly objects: Pick<ObjectStore, "get" | "list" | "putIfAbsent" | "remove">;
  readonly clock: Clock;
}

/** Gives how many objects were removed. */
export function createObjectSweep(deps: ObjectSweepDeps): () => Promise<number> {
  const bookmarks = createBookmarks(deps.objects);
  async function sweepFolder(folder: ExperimentFolder): Promise<number> {
    const name = `objects-${folder}`;
    const after = await bookmarks.read(name);
    const page = await deps.objects.list(`${folder}/`, { limit: OBJECTS_PER_SWEEP, ...(after === "" ? {} : { after }) });
    const look = createLook(deps);
    let removed = 0;
    for (const { key } of page) {
      if (!(await isOrphan(deps, look, folder, key))) continue;
      await deps.objects.remove(key);
      removed++;
    }
    await bookmarks.move(name, page.length < OBJECTS_PER_SWEEP ? "" : (page.at(-1)?.key ?? ""));
    return removed;
  }
  return async () => {
    let removed = 0;
    for (const folder of EXPERIMENT_FOLDERS) removed += await sweepFolder(folder);
    return removed;
  };
}

interface Look {
  experiment(id: ExperimentId): Promise<Experiment | undefined>;
  lease(key: Lease["key"]): Promise<Lease | undefined>;
  /** Keys of the outputs that its committed results name; `undefined` when they can't be read now. */
  outputs(lease: Lease): Promise<ReadonlySet<string> | undefined>;
}

async function isOrphan(deps: ObjectSweepDeps, look: Look, folder: ExperimentFolder, key: string): Promise<boolean> {
  const owner = ownerOf(key);
  if (owner === undefined) return false;
  if (folder === DRAFT_FOLDER) {
    const draft = owner.draft ?? "";
    const experiment = await look.experiment(owner.experiment);
    return experiment === undefined ? deps.clock.now() - begunAtMs(draft) > DRAFT_MS : experiment.draft !== draft;
  }
  const lease = owner.lease === undefined ? undefined : await look.lease(owner.lease);
  // A lease that is not there has no experiment any more, or was never made; then its epoch may still come.
  if (lease === undefined) return (await look.experiment(owner.experiment)) === undefined;
  if (lease.state === "OPEN") return false;
  if (folder === "r") return !lease.refs.some((ref) => ref.key === key);
  const named = await look.outputs(lease);
  return named !== undefined && !named.has(key);
}

/** Each item and result object is read once in a run. */
function createLook({ store, objects }: ObjectSweepDeps): Look {
  const once = <K, T>(nameOf: (key: K) => string, read: (key: K) => Promise<T>) => {
    const known = new Map<string, Promise<T>>();
    return (key: K): Promise<T> => {
      const reading = known.get(nameOf(key)) ?? read(key);
      known.set(nameOf(key), reading);
      return reading;
    };
  };
  return {
    experiment: once((id) => id, store.readExperiment),
    lease: once(leaseName, store.readLease),
    outputs: once(
      ({ key }) => leaseName(key),
      (lease: Lease) => namedBy(objects, lease),
    ),
  };
}

async function namedBy(objects: ObjectSweepDeps["objects"], lease: Lease): Promise<ReadonlySet<string> | undefined> {
  const named = new Set<string>();
  for (const ref of lease.refs) {
    const bytes = await objects.get(ref.key, SWEPT_RESULT_BYTES_MAX).catch(() => undefined);
    if (bytes === undefined) return undefined;
    const { results } = JSON.parse(Buffer.from(bytes).toString("utf8")) as ResultObject;
    for (const result of results)
      if (hasIndex(ref.mask, result.index))
        for (const { object } of [...result.outputs, ...Object.values(result.logs ?? {})]) if (object !== undefined) named.add(object);
  }
  return named;
}
