/** Committed results: which lease committed a task is in the lease items, what it did is in the result object they name. */
import { createHash } from "node:crypto";
import { SchedulerError } from "#domain/error.ts";
import { hasIndex } from "#domain/index-set.ts";
import { type Lease, leaseName } from "#domain/lease.ts";
import type { ResultObject, TaskResult } from "#domain/result.ts";
import { type SegmentKey, segmentName } from "#domain/segment.ts";
import type { ObjectStore } from "#ports/object-store.ts";
import type { TaskStore } from "#ports/task-store.ts";

/** Largest result object that is read: a lease's results with their inline outputs. */
const RESULT_OBJECT_BYTES_MAX = 256 * 1024 * 1024;
/** Result objects kept parsed, by count: they are immutable. */
const KEPT_MAX = 64;
const LEASE_PAGE = 100;

export interface CommittedAttempt {
  readonly lease: Lease;
  /** Absent when its result object is not there (an attempt whose commit lies under another lease). */
  readonly result: TaskResult | undefined;
}

export interface Results {
  /** All leases of a segment, newest first. Read them once for many tasks. */
  leases(key: SegmentKey): Promise<readonly Lease[]>;
  /** Committed attempts of one task, newest first. Throws `integrity` when a result object is missing or damaged. */
  attempts(leases: readonly Lease[], index: number): Promise<readonly CommittedAttempt[]>;
  /** The attempt that completed the task; `undefined` when none has. */
  completed(leases: readonly Lease[], index: number): Promise<TaskResult | undefined>;
}

export function createResults(deps: { readonly tasks: TaskStore; readonly objects: ObjectStore }): Results {
  const kept = new Map<string, ReadonlyMap<number, TaskResult>>();

  async function read(key: string, sha256: string): Promise<ReadonlyMap<number, TaskResult>> {
    const known = kept.get(key);
    if (known !== undefined) return known;
    const bytes = await deps.objects.get(key, RESULT_OBJECT_BYTES_MAX);
    if (bytes === undefined) throw new SchedulerError("integrity", `the result object ${key} is missing`);
    if (createHash("sha256").update(bytes).digest("hex") !== sha256)
      throw new SchedulerError("integrity", `the result object ${key} is damaged`);
    const object = JSON.parse(Buffer.from(bytes).toString("utf8")) as ResultObject;
    const results = new Map(object.results.map((r) => [r.index, r]));
    kept.set(key, results);
    if (kept.size > KEPT_MAX) kept.delete(kept.keys().next().value as string);
    return results;
  }

  const resultIn = async (lease: Lease, index: number): Promise<TaskResult | undefined> => {
    const ref = lease.refs.find((r) => hasIndex(r.mask, index));
    return ref === undefined ? undefined : (await read(ref.key, ref.sha256)).get(index);
  };

  return {
    async leases(key) {
      const all: Lease[] = [];
      let cursor: string | undefined;
      do {
        const page = await deps.tasks.listLeases(key, { limit: LEASE_PAGE, ...(cursor === undefined ? {} : { cursor }) });
        all.push(...page.items);
        cursor = page.cursor;
      } while (cursor !== undefined);
      return all;
    },
    async attempts(leases, index) {
      const mine = leases.filter((l) => hasIndex(l.done, index) || hasIndex(l.failed, index));
      return Promise.all(mine.map(async (lease) => ({ lease, result: await resultIn(lease, index) })));
    },
    async completed(leases, index) {
      const lease = leases.find((l) => hasIndex(l.done, index));
      if (lease === undefined) return undefined;
      const result = await resultIn(lease, index);
      if (result === undefined)
        throw new SchedulerError("integrity", `${leaseName(lease.key)} names no result of task ${index} of ${segmentName(lease.key)}`);
      return result;
    },
  };
}
