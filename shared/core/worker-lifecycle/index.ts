/**
 * WorkerLifecycle: who works for us, and what happens when one of them goes silent.
 *
 * Laws. Liveness belongs to the worker, not to each lease. DEAD is final for an incarnation; its leases are taken back
 * one by one and its item is deleted only when it holds none. W1 a draining worker gets no lease. W2 what is handed out
 * never exceeds what was registered. W3 a registration token works once and expires.
 */
import type { Capacity } from "#domain/capacity.ts";
import type { GatewayId, WorkerId } from "#domain/id.ts";
import type { IndexSet } from "#domain/index-set.ts";
import { type LeaseKey, leaseName, parseLeaseName } from "#domain/lease.ts";
import type { PackageKind, Phases, Worker, WorkerKey } from "#domain/worker.ts";

export { BEAT_INTERVAL_MS } from "./limits.ts";
export { createWorkerLifecycle } from "./worker-lifecycle.ts";

/** Name of a gateway's dispatch queue; queue names allow no underscore. */
export const dispatchQueue = (gateway: GatewayId): string => `dispatch-${gateway.replace("_", "-")}`;

/** A message of a dispatch queue: a lease to deliver or, with `recall`, how many of its tasks that have not started to ask back. */
export const dispatchMessage = (lease: LeaseKey, recall?: number): string =>
  [leaseName(lease), ...(recall === undefined ? [] : [recall])].join(" ");

/** Reads {@link dispatchMessage}; `undefined` when it is none. */
export function parseDispatch(message: string): { readonly lease: LeaseKey; readonly recall?: number } | undefined {
  const [name = "", count] = message.split(" ");
  const lease = parseLeaseName(name);
  if (lease === undefined || (count !== undefined && !/^[1-9]\d{0,4}$/.test(count))) return undefined;
  return { lease, ...(count === undefined ? {} : { recall: Number(count) }) };
}

export interface Introduction {
  readonly pool: string;
  readonly size: Capacity;
  /** Room for work that waits at the worker, in percent of the size: 0..400. */
  readonly prefetchPercent: number;
  readonly host: string;
  readonly version: string;
  readonly endsAtMs: number | undefined;
  readonly packages: readonly PackageKind[];
}

/** What an agent says it has of one lease. */
export interface LeaseInventory {
  readonly lease: LeaseKey;
  /** Queued, running or finished and not acknowledged. */
  readonly held: IndexSet;
  /** Once received and in no other list: released, or dropped. */
  readonly gone: IndexSet;
  /** Slow tasks that do not run; for people to see. */
  readonly phases?: Phases;
}

export type BeatReport =
  | { readonly kind: "dead" }
  | { readonly kind: "replaced" }
  | { readonly kind: "unknown" }
  | {
      readonly kind: "seen";
      readonly deliver: readonly LeaseKey[];
      readonly acknowledge: readonly { readonly lease: LeaseKey; readonly tasks: IndexSet }[];
      /** The agent shall stop and forget these leases. */
      readonly drop: readonly LeaseKey[];
      readonly folded: readonly LeaseKey[];
    };

export interface ReapReport {
  readonly dead: readonly WorkerKey[];
  readonly reclaimed: readonly LeaseKey[];
}

export interface WorkerLifecycle {
  /** A one-time token of 256 random bits; only its hash is kept. */
  issueToken(pool: string, lifetimeMs: number): Promise<{ readonly token: string; readonly expiresAtMs: number }>;
  /** Uses a token up. Throws `unauthenticated` for one that is unknown, used or expired. */
  join(token: string): Promise<{ readonly worker: WorkerId; readonly pool: string }>;
  /** A new incarnation; what the old one held is reclaimed later. The caller's worker runs nothing of an earlier life. */
  register(id: WorkerId, as: Introduction): Promise<WorkerKey>;
  /** A new stream of a live incarnation; `undefined` when it is dead. */
  connect(key: WorkerKey, gateway: GatewayId): Promise<Worker | undefined>;
  /** A beat with the inventory that was taken before it: brings the store and the agent to agree. */
  beat(
    key: WorkerKey,
    at: { readonly session: number; readonly sequence: number; readonly inventory: readonly LeaseInventory[] },
  ): Promise<BeatReport>;
  drain(key: WorkerKey): Promise<void>;
  /** Marks the expired as dead and takes back what dead workers held. Repeated by a timer. */
  reap(): Promise<ReapReport>;
  list(limit: number): Promise<readonly Worker[]>;
}
