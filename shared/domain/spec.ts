/**
 * An experiment file as its author wrote it: keys and structure are right, the meaning is not checked yet.
 *
 * Keys are spelled as in the file, so that a path into this is a path into the file. What is left out is absent, except
 * collections, which are empty. The parser makes it; `compilePlan` of the ExperimentOrchestrator turns it into a plan.
 */
import type { BudgetSpec } from "./budget.ts";
import type { Locate } from "./complaints.ts";

export const PARAMETER_TYPES = ["string", "int", "float", "bool", "path"] as const;
export type ParameterType = (typeof PARAMETER_TYPES)[number];

/** Values as text with the digits as written: `1.50` stays `1.50`. What a text means (a range?) depends on the type. */
export type ParameterValue = { readonly kind: "one"; readonly text: string } | { readonly kind: "many"; readonly texts: readonly string[] };

export interface ParameterSpec {
  readonly description?: string;
  /** Absent = undeclared: ranges, storage references and any text are accepted. */
  readonly type?: ParameterType;
  readonly default?: ParameterValue;
}

/** Retries by cause, 0..100 each; `backoff` is a walltime. */
export interface RetrySpec {
  readonly exit?: number;
  readonly signal?: number;
  readonly timeout?: number;
  readonly out_of_memory?: number;
  readonly staging?: number;
  readonly backoff?: string | number;
}

/** `cpu` in cores, `*_gb` in GiB, `time` a walltime. */
export interface ComputeSpec {
  readonly node?: number;
  readonly cpu?: number;
  readonly gpu?: number;
  readonly ram_gb?: number;
  readonly disk_gb?: number;
  readonly vram_gb?: number;
  readonly time?: string | number;
}

export interface TaskSetSpec {
  readonly script: string;
  readonly task_inputs: Readonly<Record<string, ParameterValue>>;
  readonly task_outputs: Readonly<Record<string, string>>;
  readonly foreach: readonly string[];
  readonly after: readonly string[];
  readonly combine: "product" | "zip";
  readonly compute: ComputeSpec;
  readonly retry: RetrySpec;
}

export interface ExperimentBody {
  readonly name?: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Id, or name among those that its author belongs to; absent: the personal one. */
  readonly project?: string;
  readonly priority: number;
  readonly budget?: BudgetSpec;
  readonly on: readonly string[];
  readonly retry: RetrySpec;
  readonly parameters: Readonly<Record<string, ParameterSpec>>;
  readonly scripts: Readonly<Record<string, string>>;
  readonly tasks: Readonly<Record<string, TaskSetSpec>>;
  readonly resources: {
    readonly compute: ComputeSpec;
    readonly storage: readonly string[];
    readonly conda: readonly string[];
    readonly pip: readonly string[];
    readonly environment: readonly string[];
  };
}

export interface ExperimentSpec extends ExperimentBody {
  /** Line and column of a path in the file; gives `undefined` for everything when there was no file. */
  readonly locate: Locate;
}
