/** Which failed tasks of a segment a retry runs again; pure. */
import type { RetrySelection } from "#domain/experiment.ts";
import { emptySet, hasIndex, type IndexSet, intersect, members, setOf } from "#domain/index-set.ts";
import type { Lease } from "#domain/lease.ts";
import { assertNever } from "#domain/error.ts";
import { locate, type Segment } from "#domain/segment.ts";

/** `leases` of the segment by falling epoch; only a selection by cause looks at them. */
export function selectedFailures(selection: RetrySelection, { key, failed }: Segment, leases: readonly Lease[]): IndexSet {
  switch (selection.kind) {
    case "all-failed":
      return failed;
    case "sets":
      return selection.sets.includes(key.set) ? failed : emptySet();
    case "tasks": {
      const here = selection.tasks.filter((t) => t.set === key.set).map((t) => locate(t.number));
      return intersect(failed, setOf(here.filter((at) => at.segment === key.segment).map((at) => at.index)));
    }
    case "causes": {
      const causeOf = (index: number) => leases.find((l) => hasIndex(l.failed, index))?.causes.get(index);
      const chosen = members(failed).filter((index) => {
        const cause = causeOf(index);
        return cause !== undefined && selection.causes.includes(cause);
      });
      return setOf(chosen);
    }
    default:
      return assertNever(selection);
  }
}
