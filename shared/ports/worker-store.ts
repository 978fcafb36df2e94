/** WorkerStore: workers, their incarnations, one-time tokens and gateways. Outcomes and law as in task-store.ts. */
import type { Capacity } from "#domain/capacity.ts";
import type { ExperimentId, GatewayId, WorkerId } from "#domain/id.ts";
import type { Worker, WorkerKey } from "#domain/worker.ts";
import type { WriteOutcome } from "./task-store.ts";

export interface Register {
  /** Post-image: free = cap, no leases, READY, session 0. Its incarnation is head + 1. */
  readonly worker: Worker;
  /** [head as expected; 0 = absent]. The old incarnation, if its item is still there, becomes DEAD in the same transaction. */
  readonly expectHead: number;
}

export type BeatOutcome =
  | { readonly kind: "done"; readonly worker: Worker }
  | { readonly kind: "refused"; readonly worker: Worker | undefined }
  | { readonly kind: "unknown" };

export interface GatewayRecord {
  readonly id: GatewayId;
  readonly beatAtMs: number;
  readonly upSinceMs: number;
  /** Name of its dispatch queue. */
  readonly queue: string;
  /** Capacity in use by experiment, as its workers last said: a hint for fair share. */
  readonly usage: ReadonlyMap<ExperimentId, Capacity>;
  /** Where it answers HTTP: live logs and events. */
  readonly url?: string;
}

export interface JoinToken {
  /** SHA-256 of the token in hex; the token itself is never stored. */
  readonly hash: string;
  readonly pool: string;
  readonly expiresAtMs: number;
}

export interface WorkerStore {
  readHead(id: WorkerId): Promise<number>;
  readWorker(key: WorkerKey): Promise<Worker | undefined>;
  register(change: Register): Promise<WriteOutcome>;
  /** A new stream [state <> DEAD]: session + 1 and its gateway; gives the item as it is after. */
  connect(key: WorkerKey, gateway: GatewayId, expiresAtMs: number): Promise<BeatOutcome>;
  /** [state <> DEAD, session as given, beat < given]: beat, expiry and phases; gives the item as it is after. */
  heartbeat(key: WorkerKey, beat: Pick<Worker, "session" | "beat" | "expiresAtMs"> & Partial<Pick<Worker, "phases">>): Promise<BeatOutcome>;
  /** [state = READY] -> DRAINING. */
  drain(key: WorkerKey): Promise<WriteOutcome>;
  /** [state <> DEAD and beat as given] -> DEAD. */
  markDead(key: WorkerKey, beat: number): Promise<WriteOutcome>;
  /** Deletes it [state = DEAD and no leases]. */
  removeDead(key: WorkerKey): Promise<WriteOutcome>;
  /** Hint: READY workers with free capacity. */
  workersWithRoom(limit: number): Promise<readonly Worker[]>;
  /** Hint: every worker item that is not deleted yet, DEAD ones too. */
  liveWorkers(limit: number): Promise<readonly Worker[]>;

  putToken(token: JoinToken): Promise<WriteOutcome>;
  /** W3: uses the token up [present, not used, expiresAtMs > nowMs]; gives its pool, or undefined when refused. */
  useToken(hash: string, nowMs: number): Promise<{ readonly pool: string } | undefined>;

  putGateway(gateway: GatewayRecord): Promise<void>;
  removeGateway(id: GatewayId): Promise<void>;
  gateways(): Promise<readonly GatewayRecord[]>;
}
