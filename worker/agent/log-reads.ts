/**
 * The gateway's reads of running attempts' logs: each waits until there is something to give, and is answered once. They are
 * bounded in number; their answers hold back while the stream is behind with what matters more.
 */
import type { LogChunk, LogRead } from "#protocol/gen/worker.ts";
import { BACKLOG_HOLD_BYTES, LOG_CHUNK_BYTES_MAX } from "#protocol/limits.ts";
import type { LiveLogs } from "./executor.ts";
import { LOG_GATHER_MS, LOG_READ_WAIT_MS, LOG_READS_MAX } from "./limits.ts";

export interface LogReadsDeps {
  /** `waiting`: it is held here and has not begun to write. `undefined`: no such attempt (any more). */
  readonly find: (lease: string, task: number) => LiveLogs | "waiting" | undefined;
  readonly send: (chunk: LogChunk) => void;
  /** Bytes that the stream has not taken yet. */
  readonly backlog: () => number;
  readonly clock: { sleep(ms: number, signal?: AbortSignal): Promise<void> };
}

export interface LogReads {
  read(request: LogRead): void;
  cancel(id: number): void;
  /** Something about this attempt has changed: it began, wrote, or is no longer here. */
  touch(lease: string, task: number): void;
  /** The stream that they came by is gone. */
  clear(): void;
}

interface Waiting {
  readonly request: LogRead;
  readonly gone: AbortController;
}

const NOTHING = new Uint8Array(0);
const keyOf = (lease: string, task: number): string => `${lease}#${task}`;

export function createLogReads(deps: LogReadsDeps): LogReads {
  const byId = new Map<number, Waiting>();
  const byAttempt = new Map<string, Set<Waiting>>();
  const planned = new Set<string>();

  function remove(waiting: Waiting): void {
    const { id, lease, task } = waiting.request;
    byId.delete(id);
    const key = keyOf(lease, task);
    const all = byAttempt.get(key);
    all?.delete(waiting);
    if (all?.size === 0) byAttempt.delete(key);
    waiting.gone.abort();
  }

  function answer(waiting: Waiting, chunk: Partial<LogChunk>): void {
    const { id, offset } = waiting.request;
    remove(waiting);
    deps.send({ id, offset, data: NOTHING, over: false, busy: false, ...chunk });
  }

  /** What can be said now; `undefined`: nothing yet. */
  function answerNow({ lease, task, stderr, offset, bytesMax }: LogRead): Partial<LogChunk> | "later" | undefined {
    const found = deps.find(lease, task);
    if (found === undefined) return { over: true };
    const log = found === "waiting" ? undefined : found[stderr ? "stderr" : "stdout"];
    const bytes = log?.extent().bytes ?? 0;
    if (offset > bytes) return { offset: bytes };
    if (log === undefined || offset === bytes) return undefined;
    if (deps.backlog() > BACKLOG_HOLD_BYTES) return "later";
    return log.read(offset, Math.min(Math.max(1, bytesMax), LOG_CHUNK_BYTES_MAX));
  }

  function look(waiting: Waiting): void {
    const now = answerNow(waiting.request);
    if (now === "later") plan(waiting.request.lease, waiting.request.task);
    else if (now !== undefined) answer(waiting, now);
  }

  function plan(lease: string, task: number): void {
    const key = keyOf(lease, task);
    if (planned.has(key) || !byAttempt.has(key)) return;
    planned.add(key);
    void deps.clock.sleep(LOG_GATHER_MS).then(() => {
      planned.delete(key);
      for (const waiting of [...(byAttempt.get(key) ?? [])]) look(waiting);
    });
  }

  return {
    read(request) {
      const { id, lease, task, offset } = request;
      if (byId.has(id)) return; // the same read twice has one answer
      if (byId.size >= LOG_READS_MAX) return deps.send({ id, offset, data: NOTHING, over: false, busy: true });
      const waiting: Waiting = { request, gone: new AbortController() };
      byId.set(id, waiting);
      const key = keyOf(lease, task);
      byAttempt.set(key, (byAttempt.get(key) ?? new Set()).add(waiting));
      look(waiting);
      if (!byId.has(id)) return;
      void deps.clock.sleep(LOG_READ_WAIT_MS, waiting.gone.signal).then(() => {
        if (byId.get(id) === waiting) answer(waiting, {});
      });
    },
    cancel(id) {
      const waiting = byId.get(id);
      if (waiting !== undefined) remove(waiting);
    },
    touch: plan,
    clear() {
      for (const waiting of [...byId.values()]) remove(waiting);
    },
  };
}
