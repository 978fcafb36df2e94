/** Logs of attempts: where one is now, and what was kept of one that has ended. */
import { createHash } from "node:crypto";
import { SchedulerError } from "#domain/error.ts";
import type { ExperimentId, GatewayId } from "#domain/id.ts";
import { hasIndex } from "#domain/index-set.ts";
import { type CloseCause, type Lease, leaseName } from "#domain/lease.ts";
import type { TaskResult } from "#domain/result.ts";
import { locate } from "#domain/segment.ts";
import type { TaskState } from "#domain/task.ts";
import {
  type KeptLog,
  LOG_HEAD_BYTES_MAX,
  LOG_TAIL_BYTES_MAX,
  type LogExtent,
  type LogStream,
  readKeptLog,
  seekLog,
} from "#domain/task-log.ts";
import type { WorkerKey } from "#domain/worker.ts";
import type { Results } from "#core/data-mover/index.ts";
import type { ObjectStore } from "#ports/object-store.ts";
import type { WorkerStore } from "#ports/worker-store.ts";
import type { Plans } from "#core/task-scheduler/index.ts";
import type { ExperimentOrchestrator } from "./index.ts";
import { ordinalOf } from "./look.ts";

export interface TaskAt {
  readonly set: string;
  readonly number: number;
}

/** `attempt` is its epoch. */
export type LogPlace =
  /** No attempt has been made, or none whose log is anywhere. */
  | { readonly kind: "waiting"; readonly state: TaskState }
  /** A worker holds it; it may not have begun yet. */
  | {
      readonly kind: "held";
      readonly attempt: number;
      readonly lease: string;
      readonly index: number;
      readonly worker: WorkerKey;
      readonly gateway: GatewayId | undefined;
    }
  | { readonly kind: "ended"; readonly attempt: number; readonly result: TaskResult }
  /** It came to nothing: its worker was lost, or it was taken back. */
  | { readonly kind: "void"; readonly attempt: number; readonly cause: CloseCause | undefined };

export interface LogPart {
  readonly extent: LogExtent;
  /** Of the first byte of `data`; larger than asked for when bytes before it were left out. */
  readonly offset: number;
  readonly data: Uint8Array;
}

export interface TaskLogs {
  /**
   * Without `attempt`: the one that runs, else the newest that has ended. Throws `not-found` for an unknown task or attempt, and
   * `integrity` when its result is missing or damaged.
   */
  locate(id: ExperimentId, task: TaskAt, attempt?: number): Promise<LogPlace>;
  /** What was kept from `offset` on, up to the next gap or the end. Throws `integrity`. */
  read(result: TaskResult, stream: LogStream, offset: number): Promise<LogPart>;
}

export interface TaskLogsDeps {
  readonly workers: Pick<WorkerStore, "readWorker">;
  readonly objects: Pick<ObjectStore, "get">;
  readonly results: Pick<Results, "leases" | "attempts">;
  readonly orchestrator: Pick<ExperimentOrchestrator, "find" | "task">;
  readonly plans: Plans;
}

const holds = (l: Lease, index: number): boolean =>
  l.state === "OPEN" && hasIndex(l.hold, index) && !hasIndex(l.done, index) && !hasIndex(l.failed, index);
const committed = (l: Lease, index: number): boolean => hasIndex(l.done, index) || hasIndex(l.failed, index);

/** As the result says, or, of a short one, its text. */
function keptOf(result: TaskResult, stream: LogStream): { readonly log: KeptLog; readonly text?: string } {
  const given = result.logs?.[stream];
  if (given === undefined) {
    const text = typeof result[stream] === "string" ? result[stream] : "";
    return { log: { bytes: Buffer.byteLength(text), omittedAt: 0, omitted: 0 }, text };
  }
  const log = readKeptLog(given);
  if (log === undefined) throw new SchedulerError("integrity", `the worker's account of ${stream} makes no sense`);
  return { log };
}

export function createTaskLogs(deps: TaskLogsDeps): TaskLogs {
  async function contentOf(result: TaskResult, stream: LogStream): Promise<{ readonly log: KeptLog; readonly content: Uint8Array }> {
    const { log, text } = keptOf(result, stream);
    if (text !== undefined) return { log, content: Buffer.from(text) };
    if (log.inline !== undefined) return checked(log, Buffer.from(log.inline, "base64"));
    const stored = await deps.objects.get(log.object ?? `c/${log.sha256}`, LOG_HEAD_BYTES_MAX + LOG_TAIL_BYTES_MAX);
    if (stored === undefined) throw new SchedulerError("integrity", "the log is missing from the object store");
    if (createHash("sha256").update(stored).digest("hex") !== log.sha256)
      throw new SchedulerError("integrity", "the stored log is damaged");
    return checked(log, stored);
  }

  function checked(log: KeptLog, content: Uint8Array) {
    if (content.length !== log.bytes - log.omitted) throw new SchedulerError("integrity", "the stored log is not as long as it should be");
    return { log, content };
  }

  return {
    async locate(id, task, attempt) {
      await deps.orchestrator.find(id);
      const set = ordinalOf((await deps.plans.of(id)).plan, task.set, task.number);
      const { segment, index } = locate(task.number);
      const leases = await deps.results.leases({ experiment: id, set, segment });
      const wanted =
        attempt === undefined
          ? (leases.find((l) => holds(l, index)) ?? leases.find((l) => committed(l, index)))
          : leases.find((l) => l.key.epoch === attempt);
      if (wanted === undefined && attempt !== undefined)
        throw new SchedulerError("not-found", `task ${task.set}/${task.number} has no attempt ${attempt}`);
      if (wanted === undefined) return { kind: "waiting", state: (await deps.orchestrator.task(id, task.set, task.number)).state };
      const { epoch } = wanted.key;
      if (committed(wanted, index)) {
        const result = (await deps.results.attempts([wanted], index))[0]?.result;
        return result === undefined ? { kind: "void", attempt: epoch, cause: undefined } : { kind: "ended", attempt: epoch, result };
      }
      if (!holds(wanted, index)) return { kind: "void", attempt: epoch, cause: wanted.closeCause };
      const worker = await deps.workers.readWorker(wanted.worker);
      return { kind: "held", attempt: epoch, lease: leaseName(wanted.key), index, worker: wanted.worker, gateway: worker?.gateway };
    },
    async read(result, stream, from) {
      const { log, content } = await contentOf(result, stream);
      const { offset, at } = seekLog(log, from);
      const { bytes, omittedAt, omitted } = log;
      const end = omitted > 0 && offset < omittedAt ? omittedAt : content.length;
      return { extent: { bytes, omittedAt, omitted }, offset, data: content.subarray(at, end) };
    },
  };
}
