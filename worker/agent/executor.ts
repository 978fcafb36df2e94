/** What the agent asks of the machine: run one attempt to its end. The real one is process-executor.ts. */
import type { TaskResult } from "#domain/result.ts";
import type { LogExtent, LogStream } from "#domain/task-log.ts";
import type { Assignment, Task } from "#protocol/gen/worker.ts";

export interface Attempt {
  readonly assignment: Assignment;
  readonly task: Task;
  /** Gives signed PUT URLs for outputs too large to travel inside the result, in the order asked. */
  readonly signUploads: (files: readonly { readonly sha256: string; readonly bytes: number }[]) => Promise<readonly string[]>;
  /** Told of each change. */
  readonly enter: (phase: Phase) => void;
  /** Told where its output can be read, once there is any to come, until `run` resolves. */
  readonly publish: (logs: LiveLogs) => void;
}

/** One stream of an attempt as it grows. */
export interface LiveLog {
  extent(): LogExtent;
  /** Bytes from `offset` on, or from the first one behind it that is still there. */
  read(offset: number, bytesMax: number): { readonly offset: number; readonly data: Uint8Array };
  /** Told when more has come; one listener. */
  onGrowth: () => void;
}

export type LiveLogs = { readonly [S in LogStream]: LiveLog };

/** The attempt could not be tried for a reason of this worker (full disk, no permission): no fault of the task. */
export interface WorkerFault {
  readonly outcome: "worker-fault";
  readonly message: string;
}

/** Where an attempt is; it begins with `staging-in`. */
export type Phase = "staging-in" | "running" | "staging-out";

export interface Executor {
  /**
   * Runs the attempt in a directory of its own and gives its result. Never rejects. When `signal` aborts, the whole
   * process group is killed, the directory removed, and the promise resolves with anything (the caller ignores it).
   */
  run(attempt: Attempt, signal: AbortSignal): Promise<TaskResult | WorkerFault>;
}
