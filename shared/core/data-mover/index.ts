/**
 * DataMover: brings inputs from the users' storage into the object store by content, and tells workers where to fetch
 * everything that a lease needs.
 *
 * Laws. D1 bytes are trusted only after their checksum is. D2 an input enters the object store once, under `c/<sha256>`.
 * An experiment sees one version of each input: the one it first used, whatever becomes of the file.
 */
import type { OutputFile } from "#domain/result.ts";
import type { ExperimentId } from "#domain/id.ts";
import type { IndexSet } from "#domain/index-set.ts";
import type { Lease, LeaseKey } from "#domain/lease.ts";
import type { PinnedInput } from "#ports/input-store.ts";
import type { Plan, PlanSet } from "#domain/plan.ts";

export { createDataMover } from "./data-mover.ts";
export { createResults, type Results } from "./results.ts";

/** A file that a worker can fetch: by URL, or right here. */
export interface StagedFile {
  /** Where it goes, below the task's directory or the input's folder. */
  readonly path: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly url?: string;
  readonly inline?: Uint8Array;
}

/** Files or, where they are too much for a message, one that lists them. */
export interface StagedFiles {
  readonly files: readonly StagedFile[];
  readonly listing?: { readonly url: string; readonly sha256: string };
}

export interface StagedInput extends StagedFiles {
  readonly name: string;
  /** A folder of files under index names. */
  readonly many: boolean;
}

export interface StagedTask {
  readonly index: number;
  readonly number: number;
  readonly parameters: readonly { readonly name: string; readonly value: string }[];
  readonly inputs: readonly StagedInput[];
  /** Of a workflow: placed under their own names, without variables. */
  readonly own: StagedFiles;
  readonly outputFiles: readonly string[];
}

export interface StagedLease {
  readonly plan: Plan;
  readonly planHash: string;
  readonly set: PlanSet;
  readonly assets: readonly StagedFile[];
  readonly tasks: readonly StagedTask[];
  /** Tasks that can't get their inputs however often one asks: a file is not there, or may not be used. */
  readonly unstaged: readonly Unstaged[];
}

export interface Unstaged {
  readonly index: number;
  /** What is missing, for the user. */
  readonly message: string;
}

export interface DataMover {
  /** Everything that the tasks of the lease need. URLs hold for a day. Errors: retryable ones only; the others are those of tasks. */
  stage(lease: Lease, tasks: IndexSet): Promise<StagedLease>;
  /** Brings one file of a storage resource into the object store. Errors: `not-found`, `invalid-input`, `integrity`. */
  bringIn(experiment: ExperimentId, storage: string, path: string): Promise<PinnedInput>;
  /** The content of a committed output. */
  open(output: OutputFile): Promise<AsyncIterable<Uint8Array>>;
  /** Where a worker puts outputs of the lease. */
  signUploads(lease: LeaseKey, files: readonly { readonly sha256: string; readonly bytes: number }[]): Promise<readonly string[]>;
  /** A URL of an output's content, if it is not in the result object. */
  signDownload(output: Pick<OutputFile, "object" | "sha256">, untilMs: number): Promise<string>;
}
