/**
 * Wakes waiting receives, in this process and in the others that have the file open.
 *
 * A sender writes one byte to `<file>-bell` after its commit; the others watch that file. Watching the write-ahead log
 * instead was rejected: it changes before the commit is visible and at every remove. Where the kernel drops an event
 * or has no watches left, a look at the file's data version every {@link POLL_MS} finds the message all the same;
 * nothing runs while nobody waits.
 */
import { closeSync, constants, type FSWatcher, openSync, watch, writeSync } from "node:fs";
import type { Clock } from "#ports/clock.ts";

const POLL_MS = 100;
const STROKE = Uint8Array.of(0x0a);

export interface BellOptions {
  readonly file: string;
  readonly clock: Clock;
  /** Changes whenever another process has committed. */
  readonly dataVersion: () => number;
}

export class Bell {
  readonly #clock: Clock;
  readonly #dataVersion: () => number;
  readonly #descriptor: number;
  readonly #watcher: FSWatcher | undefined;
  readonly #waiting = new Map<string, Set<() => void>>();
  #polling: AbortController | undefined;
  #waiters = 0;
  #strokeDue = false;
  #closed = false;

  constructor({ file, clock, dataVersion }: BellOptions) {
    this.#clock = clock;
    this.#dataVersion = dataVersion;
    this.#descriptor = openSync(`${file}-bell`, constants.O_RDWR | constants.O_CREAT, 0o600);
    try {
      this.#watcher = watch(`${file}-bell`, { persistent: false }, () => this.wakeAll());
      this.#watcher.on("error", () => this.#watcher?.close());
    } catch {
      this.#watcher = undefined; // no watches left: polling alone has to do
    }
  }

  /** To be called after the commit. */
  ring(queue: string): void {
    wakeSet(this.#waiting.get(queue));
    if (this.#strokeDue) return;
    // One stroke for all sends of this turn: the others only learn that something came.
    this.#strokeDue = true;
    queueMicrotask(() => {
      this.#strokeDue = false;
      if (!this.#closed) this.#strike();
    });
  }

  wakeAll(): void {
    for (const waiters of this.#waiting.values()) wakeSet(waiters);
  }

  /** Calls `wake` (more than once perhaps) when the queue may have a message, until the returned function is called. */
  listen(queue: string, wake: () => void): () => void {
    const waiters = this.#waiting.get(queue) ?? new Set();
    this.#waiting.set(queue, waiters);
    waiters.add(wake);
    this.#waiters++;
    if (this.#polling === undefined) void this.#poll();
    return () => {
      if (!waiters.delete(wake)) return;
      if (waiters.size === 0) this.#waiting.delete(queue);
      if (--this.#waiters > 0) return;
      this.#polling?.abort();
      this.#polling = undefined;
    };
  }

  close(): void {
    this.#closed = true;
    this.#polling?.abort();
    this.#watcher?.close();
    closeSync(this.#descriptor);
  }

  #strike(): void {
    try {
      writeSync(this.#descriptor, STROKE, 0, 1, 0);
    } catch {
      // A full disk, say: the message is committed already and polling finds it.
    }
  }

  async #poll(): Promise<void> {
    const stop = new AbortController();
    this.#polling = stop;
    let seen = this.#dataVersion();
    for (;;) {
      await this.#clock.sleep(POLL_MS, stop.signal);
      if (stop.signal.aborted) return;
      const version = this.#dataVersion();
      if (version !== seen) this.wakeAll();
      seen = version;
    }
  }
}

function wakeSet(waiters: ReadonlySet<() => void> | undefined): void {
  for (const wake of [...(waiters ?? [])]) wake();
}
