/** What the HTTP application asks of the rooms, as small interfaces. */

import type { ResourceSettings } from "#api/schema/resource.ts";
import type { DeadLetters } from "#core/dead-letters/index.ts";
import type { ExperimentOrchestrator, OutputView, TaskLogs } from "#core/experiment-orchestrator/index.ts";
import type { Accounts, Caller, Departure, Projects } from "#core/accounts/index.ts";
import type { Cost } from "#core/costs/index.ts";
import type { TaskScheduler } from "#core/task-scheduler/index.ts";
import type { ExperimentId, GatewayId, UserId } from "#domain/id.ts";
import type { Plan } from "#domain/plan.ts";
import type { Resource, StorageResource } from "#domain/resource.ts";
import type { ExperimentSpec } from "#domain/spec.ts";
import type { WorkflowSpec } from "#domain/workflow.ts";
import type { Worker } from "#domain/worker.ts";

/** Who sends a request. */
export interface User extends Pick<Caller, "scopes" | "by"> {
  readonly id: UserId;
  readonly name: string;
}

export interface AuthorizedObject {
  readonly type: "user" | "group" | "deployment" | "project" | "experiment" | "compute_resource" | "storage_resource";
  readonly id: string;
}

export interface AuthorizedRelation {
  readonly object: AuthorizedObject;
  readonly relation: string;
  readonly subject: AuthorizedObject & { readonly relation?: string };
}

/** The part of the port that is used here. */
export interface Authorization {
  check(subject: AuthorizedObject, permission: string, object: AuthorizedObject): Promise<boolean>;
  checkMany(subject: AuthorizedObject, permission: string, objects: readonly AuthorizedObject[]): Promise<readonly boolean[]>;
  write(relations: readonly AuthorizedRelation[]): Promise<void>;
}

interface StorageEntry {
  readonly path: string;
  readonly kind: "file" | "folder";
  readonly bytes: number;
  readonly stamp: string;
}

/** The port; see there. */
interface Storage {
  stat(path: string): Promise<StorageEntry | undefined>;
  list(path: string, limit: number): Promise<readonly StorageEntry[]>;
  read(path: string): Promise<AsyncIterable<Uint8Array>>;
  write(
    path: string,
    body: AsyncIterable<Uint8Array>,
    options: { readonly replace: boolean; readonly expect?: { readonly sha256: string } },
  ): Promise<StorageEntry & { readonly sha256: string }>;
}

interface KeyClaim {
  readonly user: string;
  readonly key: string;
  readonly fingerprint: string;
  readonly nonce: string;
}

/** The port; see there. */
export interface Idempotency {
  begin(
    claim: KeyClaim,
    lockedUntilMs: number,
  ): Promise<
    | { readonly kind: "taken"; readonly seed: string }
    | { readonly kind: "held"; readonly fingerprint: string; readonly answer?: { readonly status: number; readonly body: string } }
  >;
  finish(claim: KeyClaim, answer: { readonly status: number; readonly body: string }, keptUntilMs: number): Promise<void>;
  release(claim: KeyClaim): Promise<void>;
}

/** The port; see there. */
interface RateLimiter {
  take(who: string, count: number, rate: { readonly perSecond: number; readonly burst: number }): Promise<number>;
}

type LogFacts = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Gateways {
  /** Where that gateway answers, or else one that is right for the experiment; `undefined` when none is up. */
  urlFor(experiment: ExperimentId | "", gateway?: GatewayId): Promise<string | undefined>;
}

export interface HttpDeps {
  readonly taskLogs: TaskLogs;
  readonly gateways: Gateways;
  readonly accounts: Accounts;
  readonly projects: Projects;
  readonly departure: Departure;
  readonly signIn: {
    readonly registration: "open" | "closed";
    readonly issuer?: { readonly issuer: string; readonly clientId: string; readonly scope: string; readonly audience: string };
  };
  readonly orchestrator: ExperimentOrchestrator;
  readonly scheduler: Pick<TaskScheduler, "explain">;
  /** From the file's meaning to a plan; throws `invalid-input` with complaints. */
  readonly compilePlan: (spec: ExperimentSpec | WorkflowSpec) => Plan;
  readonly costs: { of(payer: ExperimentId | "deployment"): Promise<Cost> };
  /** Names who pays for a piece of work; see the port Meter. */
  readonly charging: <T>(payers: readonly ExperimentId[], work: () => Promise<T>) => Promise<T>;
  readonly authorization: Authorization;
  /** The deployment's id in the authorization system. */
  readonly deploymentId: string;
  readonly resources: {
    list(): Promise<readonly Resource[]>;
    /** Throws `not-found`. */
    read(name: string): Promise<Resource>;
    /** Gives the same again to the same owner with the same content. Throws `conflict` when the name is taken otherwise. */
    register(request: { readonly owner: UserId; readonly resource: ResourceSettings }): Promise<Resource>;
  };
  /** The files of a storage resource. */
  readonly openStorage: (resource: StorageResource) => Storage;
  readonly workers: { list(): Promise<readonly Worker[]> };
  readonly deadLetters: DeadLetters;
  readonly idempotency: Idempotency;
  /** For each account. */
  readonly rate: { readonly limiter: RateLimiter; readonly perSecond: number; readonly burst: number };
  /** Origins whose pages may use the API; `*` stands for all. */
  readonly corsOrigins: readonly string[];
  /** Whether each part that requests need answers now. */
  readonly health: () => Promise<Readonly<Record<string, boolean>>>;
  /** `undefined`: not known now. */
  readonly deadLetterCount: () => Promise<number | undefined>;
  /** A signed URL for a large output; `undefined`: it is streamed instead. */
  readonly signOutput?: (output: Pick<OutputView, "sha256"> & { readonly object?: string }) => Promise<string | undefined>;
  readonly clock: { now(): number };
  readonly logger: {
    info(message: string, facts?: LogFacts): void;
    warn(message: string, facts?: LogFacts): void;
    error(message: string, facts?: LogFacts): void;
  };
  readonly version: string;
}

/** What is asked of every request, whatever it wants. */
export type AppDeps = Pick<
  HttpDeps,
  | "accounts"
  | "orchestrator"
  | "projects"
  | "authorization"
  | "deploymentId"
  | "resources"
  | "idempotency"
  | "rate"
  | "corsOrigins"
  | "charging"
  | "clock"
  | "logger"
  | "version"
>;
