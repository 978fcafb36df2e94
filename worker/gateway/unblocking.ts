/**
 * Whether results of an open lease can make another task ready. Only then is it worth a transaction to fold them before the
 * lease closes: a hint for cost alone, as every lease is folded at last.
 */
import { edgesOf } from "#domain/edges.ts";
import { hasIndex, type IndexSet, isEmptySet, SEGMENT_TASKS } from "#domain/index-set.ts";
import type { Plan } from "#domain/plan.ts";
import type { SegmentKey } from "#domain/segment.ts";

/** `held`: what the lease has left to do. A task that waits for any of it is not made ready by what is `committed` now. */
export function mayUnblock(plan: Plan, key: SegmentKey, committed: IndexSet, held: IndexSet): boolean {
  if (plan.sets.some((set) => set.foreach.includes(key.set))) return true;
  // A barrier opens with the last task of its set.
  if (isEmptySet(held) && plan.sets.some((set) => set.after.includes(key.set))) return true;
  const edges = edgesOf(plan);
  return (edges?.outOf(key) ?? []).some((child) => {
    const into = edges?.into(child);
    const place = into?.parents.findIndex((parent) => parent.set === key.set && parent.segment === key.segment) ?? -1;
    if (into === undefined || place < 0) return false;
    const [from, to] = [place * SEGMENT_TASKS, (place + 1) * SEGMENT_TASKS];
    for (let task = 0; task + 1 < into.starts.length; task++) {
      let waits = false;
      let blocked = false;
      for (let at = into.starts[task] as number; at < (into.starts[task + 1] as number) && !blocked; at++) {
        const ref = into.refs[at] as number;
        if (ref < from || ref >= to) continue;
        waits ||= hasIndex(committed, ref - from);
        blocked = hasIndex(held, ref - from);
      }
      if (waits && !blocked) return true;
    }
    return false;
  });
}
