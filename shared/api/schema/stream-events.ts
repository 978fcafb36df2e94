/** What streams of the gateway hold, by the name of the event: of an experiment, and of a log. */
import { FAILURE_CAUSES } from "#domain/plan.ts";
import * as z from "zod";
import { experimentView } from "./experiment-view.ts";
import { count, instantMs } from "./identity.ts";

const name = z.string().min(1).max(256);

const taskFailed = z.object({
  task: z.string(),
  set: name,
  number: count,
  cause: z.enum([...FAILURE_CAUSES, "node-lost"]),
  attempt: count.exactOptional(),
  worker: z.string().exactOptional(),
  exitCode: z.int().exactOptional(),
  signal: z.string().exactOptional(),
  message: z.string().exactOptional(),
});

const { sets, status } = experimentView.shape;
const worker = z.object({ worker: z.string(), host: z.string().exactOptional(), pool: z.string().exactOptional() });
const over = z.object({ code: z.string(), message: z.string() });

/** By the name of the event. */
export const EXPERIMENT_EVENTS = {
  /** First, unless the stream goes on where another ended. `failures`: some of the failed tasks. */
  snapshot: z.object({ view: experimentView, failures: z.array(taskFailed).readonly() }),
  /** Sets whose numbers changed. */
  progress: z.object({ sets }),
  state: z.object({ status, startedAtMs: instantMs.exactOptional(), endedAtMs: instantMs.exactOptional() }),
  "task-failed": taskFailed,
  /** More tasks of a set failed at once than are told one by one. */
  "tasks-failed": z.object({ set: name, count }),
  /** Has tasks of the experiment now, and had none. */
  "worker-joined": worker,
  /** Was lost with tasks of the experiment. */
  "worker-lost": worker,
  /** The server ends the stream for this reason. */
  end: over,
} as const;

export const LOG_EVENTS = {
  state: z.object({ state: z.string(), attempt: count.exactOptional() }),
  /** `bytes` in base64; `offset` is that of the first of them. */
  chunk: z.object({ attempt: count, offset: count, bytes: z.base64() }),
  /** Bytes that were not kept. */
  gap: z.object({ attempt: count, from: count, to: count }),
  moved: z.object({ url: z.string() }),
  /** `bytes`: what the attempt wrote. `outcome`: of the attempt; a task's state when there is none; `running`: there is more to come. */
  end: z.object({ attempt: count.exactOptional(), bytes: count, outcome: z.string(), message: z.string().exactOptional() }),
  "cut-off": over,
} as const;
