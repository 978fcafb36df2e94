/**
 * Why tasks wait, and what slows those that run. A cause binds now: with it removed the tasks run, or the next cause shows.
 * Of other people's experiments it holds counts and shares only.
 */
import type { Capacity } from "./capacity.ts";
import type { PackageKind } from "./worker.ts";

/** The worker that comes closest to what a task needs. */
export interface NearestWorker {
  readonly worker: string;
  readonly host: string;
  readonly pool: string;
}

/** How the workers that fit are used, in whole percent of the dimension that is used most. */
export interface Shares {
  /** Tasks of the kind that waits which those workers run at once. */
  readonly slots: number;
  readonly ownPercent: number;
  /** Other experiments of the same owner. */
  readonly ownersPercent: number;
  readonly othersPercent: number;
  /** Measured mean run time of the tasks that wait. */
  readonly taskMs?: number;
  /** Until all that wait for this are done, once they have all of the slots. */
  readonly allMs?: number;
}

export interface ParentProgress {
  /** A set, or one task as `<set>/<number>`. */
  readonly name: string;
  readonly done: number;
  readonly count: number;
}

export type Why =
  | { readonly kind: "not-submitted" }
  | { readonly kind: "paused" }
  | { readonly kind: "retrying" }
  | { readonly kind: "resource-unknown"; readonly resources: readonly string[] }
  | { readonly kind: "resource-forbidden"; readonly resources: readonly string[] }
  /** `resources`: where one would do, as far as that is known. */
  | { readonly kind: "no-workers"; readonly resources: readonly string[] }
  | { readonly kind: "draining"; readonly workers: number }
  | { readonly kind: "no-worker-fits"; readonly need: Capacity; readonly short: Capacity; readonly nearest: NearestWorker }
  | { readonly kind: "environment-missing"; readonly missing: readonly PackageKind[]; readonly nearest: NearestWorker }
  | { readonly kind: "ends-too-soon"; readonly neededMs: number; readonly leftMs: number; readonly nearest: NearestWorker }
  | ({ readonly kind: "room-taken" } & Shares)
  /** Experiments that get what becomes free first, and how many of them are the owner's. */
  | ({ readonly kind: "behind-others"; readonly ahead: number; readonly aheadOwn: number } & Shares)
  /** `usedUp`: until it is raised; otherwise what is out now may leave some. */
  | { readonly kind: "budget"; readonly usedUp: boolean }
  /** Of tasks at once, which workers hold already. */
  | { readonly kind: "at-limit"; readonly tasksAtOnce: number }
  /** The disk of the installation: what is free, and what has to be. */
  | { readonly kind: "disk-full"; readonly freeBytes: number; readonly reserveBytes: number }
  | { readonly kind: "retry-wait"; readonly untilMs: number }
  | { readonly kind: "dependency"; readonly parents: readonly ParentProgress[] }
  | { readonly kind: "parent-failed" }
  | { readonly kind: "in-order" }
  | { readonly kind: "about-to-start"; readonly host: string }
  | { readonly kind: "gateway-down"; readonly silentMs: number; readonly workers: number }
  | { readonly kind: "worker-silent"; readonly silentMs: number; readonly workers: number }
  | { readonly kind: "at-worker"; readonly workers: number }
  | { readonly kind: "staging-in" }
  | { readonly kind: "long-tail"; readonly longestMs: number; readonly taskMs: number };

export type CauseKind = Why["kind"];

/** From what binds everything and only people can remove to what passes by itself. The first that applies is the top cause. */
export const CAUSE_KINDS = [
  "not-submitted",
  "paused",
  "retrying",
  "resource-unknown",
  "resource-forbidden",
  "no-workers",
  "draining",
  "no-worker-fits",
  "environment-missing",
  "ends-too-soon",
  "budget",
  "disk-full",
  "at-limit",
  "gateway-down",
  "worker-silent",
  "behind-others",
  "room-taken",
  "retry-wait",
  "parent-failed",
  "dependency",
  "in-order",
  "at-worker",
  "about-to-start",
  "staging-in",
  "long-tail",
] as const satisfies readonly CauseKind[];

export interface Cause {
  readonly why: Why;
  /** Absent: of the whole experiment. */
  readonly set?: string;
  /** Tasks that it concerns. */
  readonly tasks: number;
  /** False when not every segment was looked at. */
  readonly exact: boolean;
}
