/**
 * The compiled plan of an experiment: immutable, stored once under its SHA-256, cached by every process.
 *
 * Nothing here is one entry per task. Task i of a set has its parameters computed from i (mixed radix over the axes).
 */
import type { Capacity } from "./capacity.ts";
import { PACKAGE_KINDS, type PackageKind } from "./worker.ts";

export const PLAN_FORMAT_VERSION = 1;
/** Of plans with explicit edges, which a release that knows only version 1 would ignore. */
export const EDGES_FORMAT_VERSION = 2;
/** Of plans whose tasks have files of their own each. */
export const WORK_FORMAT_VERSION = 3;
export const PLAN_FORMAT_VERSIONS: readonly number[] = [PLAN_FORMAT_VERSION, EDGES_FORMAT_VERSION, WORK_FORMAT_VERSION];

export interface Plan {
  readonly formatVersion: typeof PLAN_FORMAT_VERSION | typeof EDGES_FORMAT_VERSION | typeof WORK_FORMAT_VERSION;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Script name -> text. */
  readonly scripts: Readonly<Record<string, string>>;
  /** `NAME=template` pairs in order; only `$NAME` and `${NAME}` expand, on the worker, never by a shell. */
  readonly environment: readonly { readonly name: string; readonly template: string }[];
  /** Files staged into the directory of every task. A `path` or `to` that ends in `/` is a folder. */
  readonly assets: readonly { readonly storage: string; readonly path: string; readonly to: string }[];
  readonly conda: readonly string[];
  readonly pip: readonly string[];
  /** Names of the compute resources that may run it; empty = any that its owner may use. */
  readonly on: readonly string[];
  readonly sets: readonly PlanSet[];
  /** Of a workflow. */
  readonly files?: WorkflowFiles;
}

/** Files that the tasks of a workflow name by number. */
export interface WorkflowFiles {
  /** Below a task's directory. */
  readonly paths: readonly string[];
  /** Size of each, in simulated work only. */
  readonly bytes?: readonly number[];
  /** Folder, ending in `/`, with those that no task makes. */
  readonly from?: { readonly storage: string; readonly path: string };
}

/** What the tasks of a workflow's set have of their own each; entry i is task i's. */
export interface SetWork {
  /** Numbers of files (lists.ts). */
  readonly inputs: string;
  readonly outputs: string;
  /** Program and arguments, each ended by ARGUMENT_END; absent in simulated work. */
  readonly commands?: readonly string[];
  readonly sleepMs?: readonly number[];
}

/** Package environments that its tasks run in. */
export const packagesOf = (plan: Pick<Plan, PackageKind>): PackageKind[] => PACKAGE_KINDS.filter((kind) => plan[kind].length > 0);

export interface PlanSet {
  /** The key under `tasks:`. A set's ordinal is its place in `Plan.sets`; foreach and after parents come before children. */
  readonly name: string;
  /** Key into `Plan.scripts`. */
  readonly script: string;
  readonly count: number;
  readonly axes: readonly Axis[];
  readonly combine: "product" | "zip";
  readonly constants: readonly Binding[];
  readonly references: readonly OutputReference[];
  readonly outputs: readonly { readonly name: string; readonly path: string }[];
  /** Ordinals of sets whose task floor(i / factor) must be COMPLETED before task i runs; all have equal counts. */
  readonly foreach: readonly number[];
  /** Own tasks for each task of the foreach parents; 1 without own axes. */
  readonly factor: number;
  /** Ordinals of sets that must be COMPLETED as a whole (barrier). */
  readonly after: readonly number[];
  /** For each task the tasks of whatever set that must be COMPLETED before it, by number over all sets (lists.ts, edges.ts). */
  readonly edges?: string;
  readonly work?: SetWork;
  readonly resources: TaskResources;
  readonly retry: RetryPolicy;
}

/** `path` values may be storage references (`storage: true`): the variable then holds the local path of the staged file. */
export interface Binding {
  readonly name: string;
  readonly text: string;
  readonly storage: boolean;
}

/** One swept parameter. Value j of a range is `start + j * step`, written with `decimals` digits after the point. */
export type Axis =
  | {
      readonly name: string;
      readonly kind: "range";
      readonly start: number;
      readonly step: number;
      readonly size: number;
      readonly decimals: number;
    }
  | { readonly name: string; readonly kind: "list"; readonly texts: readonly string[]; readonly storage: boolean };

/** `NAME: "${set.OUTPUT}"`: from a foreach parent one file; from an `after` parent the files of all its tasks. */
export interface OutputReference {
  readonly name: string;
  readonly set: number;
  readonly output: string;
}

export interface TaskResources {
  readonly capacity: Capacity;
  readonly diskMib: number;
  readonly vramMib: number;
  readonly nodes: number;
  /** Wall-clock limit of one attempt. */
  readonly timeLimitMs: number;
}

/** Causes of a failed attempt that are the task's own (a lost worker is not among them). */
export const FAILURE_CAUSES = ["exit", "signal", "timeout", "out-of-memory", "staging"] as const;
export type FailureCause = (typeof FAILURE_CAUSES)[number];

/** A failed attempt is retried while the task's failed attempts so far are at most `retries[cause]` (0..100). */
export interface RetryPolicy {
  readonly retries: Readonly<Record<FailureCause, number>>;
  /** Wait before attempt n+1 is `backoffMs * 2^(n-1)`, at most one hour. */
  readonly backoffMs: number;
}
