/** A worker: the pilot process on a node. Every registration is a new incarnation; DEAD is final for it. */
import type { Capacity } from "./capacity.ts";
import type { GatewayId, WorkerId } from "./id.ts";
import type { IndexSet } from "./index-set.ts";

export interface WorkerKey {
  readonly id: WorkerId;
  readonly incarnation: number;
}

export type WorkerState = "READY" | "DRAINING" | "DEAD";

/** Package environments that a worker can make for tasks. */
export const PACKAGE_KINDS = ["conda", "pip"] as const;
export type PackageKind = (typeof PACKAGE_KINDS)[number];

/** Tasks of one lease that its worker has and does not run yet, or any more. */
export interface Phases {
  readonly queued: IndexSet;
  readonly stagingIn: IndexSet;
  readonly stagingOut: IndexSet;
}

export interface Worker {
  readonly key: WorkerKey;
  /** Name of the compute resource it runs on: the pool that work is matched against. */
  readonly pool: string;
  readonly state: WorkerState;
  /** Real size of the machine's share. */
  readonly size: Capacity;
  /** What may be handed out at once: the size plus room for work that waits at the worker (prefetch). */
  readonly cap: Capacity;
  readonly free: Capacity;
  /** Names of its open leases, at most {@link WORKER_LEASES_MAX}. */
  readonly leases: ReadonlySet<string>;
  /** Raised by every connection; writes of an older stream are refused. */
  readonly session: number;
  readonly gateway: GatewayId | undefined;
  readonly beat: number;
  readonly expiresAtMs: number;
  /** When its allocation ends; `undefined` = no limit. */
  readonly endsAtMs: number | undefined;
  readonly packages: readonly PackageKind[];
  /** By lease name; what its agent said last of slow tasks, within {@link PHASES_BYTES_MAX}. Everything else runs. */
  readonly phases: ReadonlyMap<string, Phases>;
  readonly host: string;
  readonly version: string;
}

export const WORKER_LEASES_MAX = 64;
/** Of the stored form of all phases of a worker: a hint for people must not make its item dear. */
export const PHASES_BYTES_MAX = 1024;

export const workerName = (k: WorkerKey): string => `${k.id}#${k.incarnation}`;

/** READY with something free to hand out: then it is in the sparse `room` index. Every task takes some cpu. */
export const hasRoom = (w: Worker): boolean => w.state === "READY" && w.free.cpuMilli > 0 && w.leases.size < WORKER_LEASES_MAX;
