/** A lease: some tasks of one segment given to one worker under an epoch. Attempt identity is (segment, epoch, task). */
import type { Capacity } from "./capacity.ts";
import type { IndexSet } from "./index-set.ts";
import type { FailureCause } from "./plan.ts";
import type { Pace } from "./pace.ts";
import { type SegmentKey, segmentName } from "./segment.ts";
import { parseId } from "./id.ts";
import type { WorkerKey } from "./worker.ts";

export interface LeaseKey extends SegmentKey {
  readonly epoch: number;
}

/** A result object and the tasks of the lease whose committed result it holds. */
export interface ResultRef {
  readonly key: string;
  readonly sha256: string;
  readonly mask: IndexSet;
}

export type CloseCause = "finished" | "given-back" | "worker-lost" | "canceled" | "preempted";

/** Why tasks come back without an outcome; only a lost worker counts against them. */
export const BACK_CAUSES = ["worker-lost", "worker-fault", "given-back", "canceled", "preempted"] as const;
export type BackCause = (typeof BACK_CAUSES)[number];

export interface Lease {
  readonly key: LeaseKey;
  readonly worker: WorkerKey;
  /** Chosen by the assigner: tells its lease from another's of the same epoch. */
  readonly nonce: string;
  readonly state: "OPEN" | "CLOSED";
  readonly rev: number;
  /** Tasks still owned. Commits outside it are dropped. */
  readonly hold: IndexSet;
  /** Committed under this lease, whether or not already folded into the segment. */
  readonly done: IndexSet;
  readonly failed: IndexSet;
  readonly causes: ReadonlyMap<number, FailureCause>;
  readonly refs: readonly ResultRef[];
  readonly reserved: Capacity;
  /** Of committed tasks that are not folded yet: what the segment's sums gain. */
  readonly runMs: number;
  readonly failedMs: number;
  /** Likewise. */
  readonly pace?: Pace;
  readonly assignedAtMs: number;
  readonly closeCause?: CloseCause;
  /** Tasks that came back without an outcome, for people to see. */
  readonly back?: ReadonlyMap<BackCause, IndexSet>;
}

export const leaseName = (k: LeaseKey): string => `${segmentName(k)}/${k.epoch}`;

/** Reads {@link leaseName}'s form; `undefined` when it is not one. */
export function parseLeaseName(text: string): LeaseKey | undefined {
  const [e, s, n, epoch, ...rest] = text.split("/");
  const experiment = parseId("experiment", e ?? "");
  const numbers = [s, n, epoch].map((x) => (x !== undefined && /^\d{1,9}$/.test(x) ? Number(x) : Number.NaN));
  if (experiment === undefined || rest.length > 0 || numbers.some(Number.isNaN)) return undefined;
  return { experiment, set: numbers[0] as number, segment: numbers[1] as number, epoch: numbers[2] as number };
}
