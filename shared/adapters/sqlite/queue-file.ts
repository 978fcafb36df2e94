/**
 * The SQLite file behind the message queue: schema, statements and group commit.
 *
 * - WAL with synchronous=NORMAL: a commit costs no fsync and survives the death of any process; a power cut may take
 *   the last messages with it, which is allowed because a message is a hint (G5) and timers find what hints lost.
 * - All writes of one turn of the event loop share one transaction (BEGIN IMMEDIATE), so a burst costs one commit.
 * - Messages nobody took for {@link RETENTION_MS} are dropped (SQS does so, too): a queue whose reader is gone for good
 *   does not grow for ever.
 * - A busy file blocks this thread for at most {@link BUSY_BLOCK_MS}; then the wait goes on asynchronously.
 */
import { closeSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { SchedulerError } from "#domain/error.ts";
import type { Clock } from "#ports/clock.ts";
import type { QueueMessage } from "#ports/message-queue.ts";

const FORMAT_VERSION = 1;
const BUSY_BLOCK_MS = 20;
const BUSY_PAUSE_MS = 5;
const BUSY_TRIES_MAX = 200;
const GROUP_WRITES_MAX = 1_000;
const RETENTION_MS = 4 * 24 * 3_600_000; // what SQS takes unless told
const SWEEP_INTERVAL_MS = 60_000;
const SWEEP_MESSAGES_MAX = 1_000;
const LOG_BYTES_KEPT = 16 * 1024 * 1024;
const SQLITE_BUSY = 5;
const SQLITE_FULL = 13;

// AUTOINCREMENT: an id is never used twice, so no receipt can ever mean another message.
const SCHEMA = `
  CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    sentAtMs INTEGER NOT NULL,
    visibleAtMs INTEGER NOT NULL,
    receives INTEGER NOT NULL DEFAULT 0,
    body TEXT NOT NULL
  ) STRICT;
  CREATE INDEX messagesByQueue ON messages (queue, visibleAtMs);
  PRAGMA user_version = ${FORMAT_VERSION};`;

export interface NewMessage {
  readonly queue: string;
  readonly body: string;
  readonly visibleAtMs: number;
}

export interface Take {
  readonly queue: string;
  /** Where messages go that were received `receivesMax` times; undefined: nowhere. */
  readonly deadQueue: string | undefined;
  readonly receivesMax: number;
  readonly limit: number;
  readonly nowMs: number;
  readonly visibilityMs: number;
}

export interface Write<T> {
  /** Runs inside the transaction; more than once when the file is busy. */
  readonly apply: () => T;
  /** Runs right after the commit, before anyone learns of it. */
  readonly committed?: () => void;
}

interface PendingWrite {
  readonly apply: () => void;
  readonly done: (error: unknown) => void;
}

export class QueueFile {
  readonly #database: DatabaseSync;
  readonly #clock: Clock;
  readonly #statements: ReturnType<typeof prepareStatements>;
  #pending: PendingWrite[] = [];
  #flushing: Promise<void> | undefined;
  #sweptAtMs = Number.NEGATIVE_INFINITY;

  private constructor(database: DatabaseSync, clock: Clock) {
    this.#database = database;
    this.#clock = clock;
    this.#statements = prepareStatements(database);
  }

  /** Opens or creates the file (mode 0600). Throws `version-mismatch` when another format is in it. */
  static async open(file: string, clock: Clock): Promise<QueueFile> {
    createFile(file);
    const database = new DatabaseSync(file, { timeout: BUSY_BLOCK_MS });
    try {
      await retryBusy(clock, () =>
        database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = ${LOG_BYTES_KEPT};`),
      );
      await retryBusy(clock, () => createSchema(database));
      return new QueueFile(database, clock);
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /** Joins the transaction that ends this turn; resolves after its commit. */
  write<T>({ apply, committed }: Write<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      let value: T;
      this.#pending.push({
        apply: () => {
          value = apply();
        },
        done: (error) => {
          if (error !== undefined) return reject(error);
          committed?.();
          resolve(value);
        },
      });
      this.#flushing ??= new Promise((turn) => setImmediate(turn)).then(() => this.#flush());
    });
  }

  insert({ queue, body, visibleAtMs }: NewMessage): void {
    this.#statements.insert.run(queue, this.#clock.now(), visibleAtMs, body);
  }

  /** Gives out due messages and hides them. `buried`: how many it moved to the dead queue instead. Only within `write`. */
  take({ queue, deadQueue, receivesMax, limit, nowMs, visibilityMs }: Take): {
    readonly messages: QueueMessage[];
    readonly buried: number;
  } {
    let buried = 0;
    for (;;) {
      const rows = this.#statements.take.all({
        queue,
        limit,
        nowMs,
        deadQueue: deadQueue ?? queue,
        receivesMax: deadQueue === undefined ? Number.MAX_SAFE_INTEGER : receivesMax,
        visibleAtMs: nowMs + visibilityMs,
      });
      const taken = rows.filter((row) => row.queue === queue);
      buried += rows.length - taken.length;
      if (taken.length === 0 && rows.length > 0) continue; // a whole batch was dead: there may be living ones behind it
      const messages = taken.map(({ id, receives, body }) => ({
        id: `${id}`,
        receipt: `${id}.${receives}`,
        body: String(body),
        receives: Number(receives),
      }));
      return { messages, buried };
    }
  }

  /** Only within `write`. An old receipt names an older count of receives and so deletes nothing. */
  delete(queue: string, receipts: readonly string[]): void {
    for (const receipt of receipts) {
      const [, id, receives] = /^(\d{1,15})\.([1-9]\d{0,14})$/.exec(receipt) ?? [];
      if (id !== undefined && receives !== undefined) this.#statements.delete.run(queue, Number(id), Number(receives));
    }
  }

  /** When the queue's next message is due; undefined when it is empty. Takes no lock. */
  nextVisibleAtMs(queue: string): number | undefined {
    const row = this.#statements.next.get(queue);
    return row === undefined ? undefined : Number(row.visibleAtMs);
  }

  count(queue: string): number {
    return Number(this.#statements.count.get(queue)?.messages);
  }

  /** Changes whenever another connection has committed. */
  dataVersion(): number {
    return Number(this.#statements.dataVersion.get()?.data_version);
  }

  async close(): Promise<void> {
    await this.#flushing;
    this.#database.close();
  }

  #apply(group: readonly PendingWrite[]): void {
    const nowMs = this.#clock.now();
    if (Math.abs(nowMs - this.#sweptAtMs) >= SWEEP_INTERVAL_MS) {
      this.#statements.sweep.run(nowMs - RETENTION_MS);
      this.#sweptAtMs = nowMs;
    }
    for (const write of group) write.apply();
  }

  async #flush(): Promise<void> {
    while (this.#pending.length > 0) {
      const group = this.#pending.splice(0, GROUP_WRITES_MAX);
      let failure: unknown;
      try {
        await retryBusy(this.#clock, () => transact(this.#database, () => this.#apply(group)));
      } catch (error) {
        failure = error;
      }
      for (const write of group) write.done(failure);
    }
    this.#flushing = undefined;
  }
}

function prepareStatements(
  database: DatabaseSync,
): Record<"sweep" | "insert" | "take" | "delete" | "next" | "count" | "dataVersion", StatementSync> {
  return {
    // Ids rise with time, so the oldest messages are the first: no scan, no index.
    sweep: database.prepare(
      `DELETE FROM messages WHERE id IN (SELECT id FROM messages ORDER BY id LIMIT ${SWEEP_MESSAGES_MAX}) AND sentAtMs < ?`,
    ),
    insert: database.prepare("INSERT INTO messages (queue, sentAtMs, visibleAtMs, body) VALUES (?, ?, ?, ?)"),
    take: database.prepare(`
      UPDATE messages SET
        queue = iif(receives >= :receivesMax, :deadQueue, queue),
        visibleAtMs = iif(receives >= :receivesMax, :nowMs, :visibleAtMs),
        receives = receives + (receives < :receivesMax)
      WHERE id IN (SELECT id FROM messages WHERE queue = :queue AND visibleAtMs <= :nowMs ORDER BY visibleAtMs, id LIMIT :limit)
      RETURNING id, queue, receives, body`),
    delete: database.prepare("DELETE FROM messages WHERE queue = ? AND id = ? AND receives = ?"),
    next: database.prepare("SELECT visibleAtMs FROM messages WHERE queue = ? ORDER BY visibleAtMs LIMIT 1"),
    count: database.prepare("SELECT count(*) AS messages FROM messages WHERE queue = ?"),
    dataVersion: database.prepare("PRAGMA data_version"),
  };
}

function createFile(file: string): void {
  try {
    mkdirSync(dirname(file), { recursive: true });
    closeSync(openSync(file, "a", 0o600));
  } catch (error) {
    throw new SchedulerError("unavailable", "the queue file cannot be created: its folder must be writable", { cause: error });
  }
}

function createSchema(database: DatabaseSync): void {
  transact(database, () => {
    const version = Number(database.prepare("PRAGMA user_version").get()?.user_version);
    if (version === FORMAT_VERSION) return;
    if (version !== 0)
      throw new SchedulerError(
        "version-mismatch",
        `the queue file has format ${version}, this release reads ${FORMAT_VERSION}: use the release that wrote it`,
      );
    database.exec(SCHEMA);
  });
}

function transact(database: DatabaseSync, work: () => void): void {
  database.exec("BEGIN IMMEDIATE");
  try {
    work();
    database.exec("COMMIT");
  } catch (error) {
    if (database.isTransaction) database.exec("ROLLBACK");
    throw error;
  }
}

async function retryBusy(clock: Clock, work: () => void): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      work();
      return;
    } catch (error) {
      const code = sqliteCode(error);
      if (code === undefined) throw error;
      if (code === SQLITE_FULL)
        throw new SchedulerError("unavailable", "the disk of the queue file is full: free some space", { cause: error });
      if (code !== SQLITE_BUSY || tries >= BUSY_TRIES_MAX)
        throw new SchedulerError("unavailable", "the queue file cannot be written", { cause: error });
    }
    await clock.sleep(BUSY_PAUSE_MS);
  }
}

/** SQLite's primary result code, or undefined when the error is none of SQLite's. */
function sqliteCode(error: unknown): number | undefined {
  const isSqlite = error instanceof Error && "errcode" in error && typeof error.errcode === "number";
  return isSqlite ? (error.errcode as number) & 0xff : undefined;
}
