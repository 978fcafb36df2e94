/**
 * MessageQueue on one SQLite file that several processes of one machine use at once: the embedded default.
 *
 * - A receive hides its messages in one transaction, so two receivers never hold one message at the same time.
 * - A receipt names the message and the count of its receives: after a later receive it deletes nothing.
 * - A waiting receive in another process wakes by a file watch within a few milliseconds (bell.ts).
 * - What is acknowledged survives the death of every process, not a power cut (queue-file.ts).
 * - A message without delay is due whatever the clock says; visibility and delays follow the given wall clock, so one
 *   that runs backwards gives hidden messages out later by as much, never a held one twice.
 */
import { SchedulerError } from "#domain/error.ts";
import { checkQueueName, checkReceive, checkSend, DEAD_SUFFIX as DEAD, RECEIVES_MAX_DEFAULT } from "#domain/message-limits.ts";
import type { Clock } from "#ports/clock.ts";
import type { MessageQueue, QueueMessage } from "#ports/message-queue.ts";
import { Bell } from "./bell.ts";
import { QueueFile } from "./queue-file.ts";

const RECEIPTS_MAX = 1_000;

export interface SqliteMessageQueueOptions {
  /** Created with its folder when missing; `<file>-bell`, `-wal` and `-shm` stand beside it. Not on a network file system. */
  readonly file: string;
  readonly clock: Clock;
  /** How often a message is given out before it moves to `<queue>-dead`; 5 unless told. */
  readonly receivesMax?: number;
}

export interface SqliteMessageQueue extends MessageQueue, AsyncDisposable {
  /** Ends waiting receives with no message; every later call throws `unavailable`. */
  close(): Promise<void>;
}

type ReceiveOptions = Parameters<MessageQueue["receive"]>[1];

export async function openSqliteMessageQueue(options: SqliteMessageQueueOptions): Promise<SqliteMessageQueue> {
  return new OpenQueue(await QueueFile.open(options.file, options.clock), options);
}

class OpenQueue implements SqliteMessageQueue {
  readonly #file: QueueFile;
  readonly #bell: Bell;
  readonly #clock: Clock;
  readonly #receivesMax: number;
  readonly #closed = new AbortController();

  constructor(file: QueueFile, { file: path, clock, receivesMax = RECEIVES_MAX_DEFAULT }: SqliteMessageQueueOptions) {
    this.#file = file;
    this.#clock = clock;
    this.#receivesMax = receivesMax;
    this.#bell = new Bell({ file: path, clock, dataVersion: () => file.dataVersion() });
  }

  async send(queue: string, body: string, { delayMs = 0 }: { readonly delayMs?: number } = {}): Promise<void> {
    this.#check(queue);
    checkSend(queue, body, delayMs);
    const visibleAtMs = delayMs === 0 ? 0 : this.#clock.now() + delayMs;
    await this.#file.write({ apply: () => this.#file.insert({ queue, body, visibleAtMs }), committed: () => this.#bell.ring(queue) });
  }

  async receive(queue: string, options: ReceiveOptions): Promise<readonly QueueMessage[]> {
    this.#check(queue);
    checkReceive(queue, options);
    if (options.signal?.aborted === true) return [];
    const wait = new AbortController();
    const end = (): void => wait.abort();
    const ends = [this.#closed.signal, ...(options.signal === undefined ? [] : [options.signal])];
    for (const signal of ends) signal.addEventListener("abort", end, { once: true });
    let over = options.waitMs === 0;
    if (!over)
      void this.#clock.sleep(options.waitMs, wait.signal).then(() => {
        over = true;
        end();
      });
    try {
      for (;;) {
        const messages = await this.#take(queue, options);
        if (messages.length > 0 || over || wait.signal.aborted) return messages;
        await this.#change(queue, wait.signal);
        if (ends.some((signal) => signal.aborted)) return [];
      }
    } finally {
      end();
      for (const signal of ends) signal.removeEventListener("abort", end);
    }
  }

  async remove(queue: string, receipts: readonly string[]): Promise<void> {
    this.#check(queue);
    if (receipts.length === 0) return;
    if (receipts.length > RECEIPTS_MAX)
      throw new SchedulerError("invalid-input", `at most ${RECEIPTS_MAX} receipts at once, not ${receipts.length}`);
    await this.#file.write({ apply: () => this.#file.delete(queue, receipts) });
  }

  async depth(queue: string): Promise<number> {
    this.#check(queue);
    return this.#file.count(queue);
  }

  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
    this.#bell.close();
    await this.#file.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Looks before it locks: an idle queue costs a read, never a transaction. */
  async #take(queue: string, { limit, visibilityMs }: ReceiveOptions): Promise<readonly QueueMessage[]> {
    if ((this.#file.nextVisibleAtMs(queue) ?? Number.POSITIVE_INFINITY) > this.#clock.now()) return [];
    const deadQueue = queue.endsWith(DEAD) ? undefined : queue + DEAD;
    const { messages, buried } = await this.#file.write({
      apply: () => this.#file.take({ queue, deadQueue, receivesMax: this.#receivesMax, limit, visibilityMs, nowMs: this.#clock.now() }),
    });
    if (buried > 0 && deadQueue !== undefined) this.#bell.ring(deadQueue);
    return messages;
  }

  /** Resolves when the queue may have a message to give out, or `stop` aborts. */
  async #change(queue: string, stop: AbortSignal): Promise<void> {
    const woken = new AbortController();
    const wake = (): void => woken.abort();
    stop.addEventListener("abort", wake, { once: true });
    // Listens first and looks then, so that no commit falls between the two.
    const unlisten = this.#bell.listen(queue, wake);
    try {
      const dueAtMs = this.#file.nextVisibleAtMs(queue) ?? Number.MAX_SAFE_INTEGER;
      if (!stop.aborted) await this.#clock.sleep(Math.max(0, dueAtMs - this.#clock.now()), woken.signal);
    } finally {
      unlisten();
      stop.removeEventListener("abort", wake);
    }
  }

  #check(queue: string): void {
    if (this.#closed.signal.aborted) throw new SchedulerError("unavailable", "the queue is closed");
    checkQueueName(queue);
  }
}
