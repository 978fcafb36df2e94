/** A segment: a run of 4,096 consecutive tasks of a set, one stored item. Readiness is derived, never stored. */
import { type IndexSet, minus, rangeSet, SEGMENT_TASKS, sizeOf, union } from "./index-set.ts";
import type { ExperimentId } from "./id.ts";
import type { Pace } from "./pace.ts";

export interface SegmentKey {
  readonly experiment: ExperimentId;
  readonly set: number;
  readonly segment: number;
}

/** What is remembered of a task that did not just succeed. Counts saturate at 255; `notBeforeMs` is rounded up to seconds in store. */
export interface Tries {
  readonly attempts: number;
  readonly losses: number;
  readonly notBeforeMs: number;
}

export interface Segment {
  /** When attempts started and ended, for charts: of those that were folded. */
  readonly pace?: Pace;
  readonly key: SegmentKey;
  readonly version: number;
  /** Epoch of the newest lease; the fencing token. */
  readonly epoch: number;
  readonly leased: IndexSet;
  readonly done: IndexSet;
  readonly failed: IndexSet;
  readonly skipped: IndexSet;
  readonly tries: ReadonlyMap<number, Tries>;
  readonly closed: boolean;
  readonly generation: number;
  /** Sum of run times of the done tasks: the measured task duration is `runMs / |done|`. */
  readonly runMs: number;
  /** Sum of run times of attempts that failed. */
  readonly failedMs: number;
}

/** Text form, for logs and messages: `exp_…/0/17`. */
export const segmentName = (k: SegmentKey): string => `${k.experiment}/${k.set}/${k.segment}`;

/** Which segment a task of a set lies in, and its index there. */
export const locate = (task: number): { segment: number; index: number } => ({
  segment: Math.floor(task / SEGMENT_TASKS),
  index: task % SEGMENT_TASKS,
});

export const segmentsFor = (count: number): number => Math.ceil(count / SEGMENT_TASKS);

/** All tasks of segment `n` of a set of `count`. */
export const wholeSegment = (count: number, n: number): IndexSet => rangeSet(0, Math.min(SEGMENT_TASKS, count - n * SEGMENT_TASKS));

/** Tasks that nothing has been decided about and nobody holds. */
export const pendingOf = (s: Segment, count: number): IndexSet =>
  minus(wholeSegment(count, s.key.segment), s.leased, s.done, s.failed, s.skipped);

/** True when every task of the segment has ended. */
export const isFinished = (s: Segment, count: number): boolean =>
  sizeOf(union(s.done, s.failed, s.skipped)) === sizeOf(wholeSegment(count, s.key.segment));

/** True while something may still be handed out: then the segment is in the sparse `open` index. */
export const isOpen = (s: Segment, count: number): boolean => sizeOf(pendingOf(s, count)) > 0;
