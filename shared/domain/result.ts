/** Results of attempts as the agent reports them and as result objects keep them (written before any commit). */
import type { FailureCause } from "./plan.ts";
import type { KeptLogs } from "./task-log.ts";

export const RESULT_FORMAT_VERSION = 1;
/** An output up to this size travels and is kept inside the result object. */
export const INLINE_OUTPUT_BYTES_MAX = 64 * 1024;
/** All inline outputs of one task together. */
export const INLINE_TASK_BYTES_MAX = 1024 * 1024;

export interface OutputFile {
  /** Name of the output variable. */
  readonly name: string;
  /** Path below the task's directory, as written by the task. */
  readonly path: string;
  readonly sha256: string;
  readonly bytes: number;
  /** Present for small files: the content in base64. Otherwise `object` has it. */
  readonly inline?: string;
  /** Key of the content in the object store; set by the gateway, never by an agent. */
  readonly object?: string;
}

export interface InputFile {
  readonly name: string;
  readonly sha256: string;
  readonly bytes: number;
}

export interface Usage {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly memoryPeakBytes: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export interface TaskResult {
  /** Index of the task in its segment. */
  readonly index: number;
  readonly outcome: "done" | FailureCause;
  readonly exitCode?: number;
  readonly signal?: string;
  /** Says what happened where the exit code does not. */
  readonly message?: string;
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  readonly usage: Usage;
  readonly inputs: readonly InputFile[];
  readonly outputs: readonly OutputFile[];
  /** The last bytes as text. */
  readonly stdout?: string;
  readonly stderr?: string;
  /** Of the streams that are more than the text above: longer, or not UTF-8. */
  readonly logs?: KeptLogs;
}

/** D3: with the plan hash and the lease, every output names the inputs, script, attempt and worker that made it. */
export interface ResultObject {
  readonly formatVersion: typeof RESULT_FORMAT_VERSION;
  readonly lease: string;
  readonly planHash: string;
  readonly script: string;
  readonly worker: string;
  readonly host: string;
  readonly agentVersion: string;
  readonly results: readonly TaskResult[];
}
