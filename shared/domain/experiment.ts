/** An experiment, its gates and its task sets as stored. Names and conditions: docs/PROTOCOL.md. */
import type { Budget } from "./budget.ts";
import { type ExperimentId, parseId, type ProjectId, type UserId } from "./id.ts";
import type { FailureCause } from "./plan.ts";

export const EXPERIMENT_STATES = ["CREATED", "RUNNING", "PAUSED", "RETRYING", "COMPLETED", "FAILED", "CANCELED", "DELETING"] as const;
export type ExperimentState = (typeof EXPERIMENT_STATES)[number];

/** The states that hand out work. */
export const isTerminal = (s: ExperimentState): boolean => s === "COMPLETED" || s === "FAILED" || s === "CANCELED" || s === "DELETING";

/** Legal transitions, one table. */
export const EXPERIMENT_TRANSITIONS: Readonly<Record<ExperimentState, readonly ExperimentState[]>> = {
  CREATED: ["RUNNING", "CANCELED", "DELETING"],
  RUNNING: ["PAUSED", "RETRYING", "COMPLETED", "FAILED", "CANCELED"],
  PAUSED: ["RUNNING", "RETRYING", "COMPLETED", "FAILED", "CANCELED"],
  RETRYING: ["RUNNING", "PAUSED", "CANCELED"],
  COMPLETED: ["RETRYING", "DELETING"],
  FAILED: ["RETRYING", "DELETING"],
  CANCELED: ["DELETING"],
  DELETING: [],
};

export interface Experiment {
  readonly id: ExperimentId;
  readonly owner: UserId;
  /** The project that it is in; absent: the owner's personal one. */
  readonly project?: ProjectId;
  readonly name: string;
  readonly status: ExperimentState;
  /** While RETRYING: where to go back to. */
  readonly prior?: "RUNNING" | "PAUSED";
  /** Raised by every retry; fences what was derived before it. */
  readonly generation: number;
  readonly version: number;
  readonly planHash: string;
  /** Gate items, 1..16: the gate of segment n is n mod gates. */
  readonly gates: number;
  readonly taskCount: number;
  /** -100..100, larger first among one user's experiments. */
  readonly priority: number;
  /** Share against other experiments, 1..1000. */
  readonly weight: number;
  readonly budget?: Budget;
  readonly createdAtMs: number;
  readonly startedAtMs?: number;
  readonly endedAtMs?: number;
  /** In the sparse `live` index: true until terminal with no open lease, and again while DELETING. */
  readonly live: boolean;
  /** Names the folder of its plan and file; absent: the plan lies under its hash (object-owner.ts). */
  readonly draft?: string;
  /** What it was made from. */
  readonly derivedFrom?: ExperimentId;
  /** Instead of the labels in its plan. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Tasks that workers may hold at once; absent: as many as there is room for. */
  readonly tasksAtOnce?: number;
  /** Raised by each assignment while `tasksAtOnce` is there: two that were computed from one count can't both happen. */
  readonly handouts?: number;
  /** Days after its end until it is deleted; absent: never. */
  readonly retentionDays?: number;
  readonly operation?: { readonly id: string; readonly select: RetrySelection };
}

/** Which failed tasks a retry runs again: sets by ordinal, tasks by set and number, causes of their last attempt. */
export type RetrySelection =
  | { readonly kind: "all-failed" }
  | { readonly kind: "sets"; readonly sets: readonly number[] }
  | { readonly kind: "tasks"; readonly tasks: readonly { readonly set: number; readonly number: number }[] }
  | { readonly kind: "causes"; readonly causes: readonly FailureCause[] };

export const DAY_MS = 86_400_000;
/** Ended, and to be deleted some day: in the index of those that the timer looks at for it. */
export const isKeptForATime = (e: Experiment): boolean =>
  e.retentionDays !== undefined && !e.live && isTerminal(e.status) && e.status !== "DELETING";
export const isDueAt = (e: Experiment, nowMs: number): boolean =>
  isKeptForATime(e) && e.endedAtMs !== undefined && nowMs >= e.endedAtMs + (e.retentionDays ?? 0) * DAY_MS;

/** A copy of status and generation in its own partition, checked by every assignment (T6). */
export interface Gate {
  readonly experiment: ExperimentId;
  readonly shard: number;
  readonly status: ExperimentState;
  readonly generation: number;
}

export interface TaskSet {
  readonly experiment: ExperimentId;
  readonly ordinal: number;
  readonly count: number;
  readonly segments: number;
  /** First segment not born; everything from here on is pending. */
  readonly next: number;
  /** Sums over CLOSED segments only. */
  readonly closed: number;
  readonly done: number;
  readonly failed: number;
  readonly skipped: number;
  readonly generation: number;
  /** A barrier behind failures: all tasks SKIPPED by one write, no segment born. */
  readonly skipAll: boolean;
}

/** Where an experiment stands in its owner's list, newest first: by time, then by id. */
export const ownerPlace = (e: Pick<Experiment, "createdAtMs" | "id">): string => `${String(e.createdAtMs).padStart(15, "0")}#${e.id}`;
/** Reads {@link ownerPlace}; `undefined` when it is none. */
export const placedIn = (place: string): ExperimentId | undefined =>
  /^\d{15}#/.test(place) ? parseId("experiment", place.slice(place.indexOf("#") + 1)) : undefined;

/** Segments of a set of `count` tasks. */
export const GATES_MAX = 16;
export const gatesFor = (segments: number): number => Math.min(GATES_MAX, Math.max(1, Math.floor(segments / 4)));
