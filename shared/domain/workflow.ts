/**
 * A workflow instance as its file states it: tasks with their own commands and files, all references resolved.
 *
 * The parser makes it; `compilePlan` of the ExperimentOrchestrator turns it into a plan. Tasks and files name each other by
 * their place in these lists.
 */
import type { InputPath, Locate } from "./complaints.ts";
import type { ComputeSpec } from "./spec.ts";

export interface WorkflowTask {
  readonly id: string;
  readonly name: string;
  readonly category?: string;
  readonly parents: readonly number[];
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  readonly program?: string;
  readonly arguments: readonly string[];
  readonly runtimeSeconds?: number;
  readonly cores?: number;
  readonly memoryBytes?: number;
  /** Where it stands in the file, and where what is known of its execution does. */
  readonly path: InputPath;
  readonly executionPath: InputPath;
}

export interface WorkflowFile {
  readonly id: string;
  /** Absent when no size is stated. */
  readonly bytes?: number;
  readonly path: InputPath;
}

/** How the user wants it run. */
export interface WorkflowOptions {
  /** Each task sleeps for its runtime times this and writes files of their sizes times this, instead of running its command. */
  readonly simulateWork?: number;
  /** Folder of a storage resource, `name:/path`, with the files that no task makes. */
  readonly inputs?: string;
}

export interface WorkflowSpec {
  readonly kind: "workflow";
  readonly name?: string;
  readonly priority: number;
  readonly tasks: readonly WorkflowTask[];
  readonly files: readonly WorkflowFile[];
  /** Over what the file says of cores and memory. */
  readonly compute: ComputeSpec;
  readonly options: WorkflowOptions;
  readonly locate: Locate;
}
