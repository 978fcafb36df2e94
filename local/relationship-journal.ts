/**
 * The relationships of the embedded authorization engine, on disk (SQLite). The engine keeps its own in memory, so
 * this file is the truth and the engine is rebuilt from it at every start.
 *
 * It holds the current relationships, one row each, not a log of requests: it never needs compaction, and replaying
 * can't meet a precondition that no longer holds.
 */
import { closeSync, openSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { v1 } from "@authzed/authzed-node";

export const JOURNAL_VERSION = 1;

/** A backup that opens or leaves the file holds it for moments. */
const BUSY_MS = 5_000;

export interface JournalChange {
  readonly put: readonly v1.Relationship[];
  readonly drop: readonly v1.Relationship[];
}

export interface RelationshipJournal {
  /**
   * Keeps the change if and only if `apply` succeeds, and returns what it returned. When this resolves the change is
   * on disk. Throws {@link JournalLost} when `apply` succeeded and the commit failed. One at a time: callers queue.
   */
  commit<T>(change: JournalChange, apply: () => Promise<T>): Promise<T>;
  /** All relationships, in batches of at most `batch`. */
  readAll(batch: number): Iterable<v1.Relationship[]>;
  /** Small facts about the last run. */
  note(name: string, text: string): void;
  readNote(name: string): string | undefined;
  close(): void;
}

/** The engine now knows something that the disk does not: the process must end and be rebuilt from the disk. */
export class JournalLost extends Error {
  override readonly name = "JournalLost";
}

/** Opens or creates the file. Throws when another process has it open or its version is not ours. */
export function openRelationshipJournal(path: string): RelationshipJournal {
  const claim = claimEngine(path);
  let db: DatabaseSync;
  try {
    db = openDatabase(path);
  } catch (error) {
    claim.close();
    throw error;
  }
  const put = db.prepare(
    "INSERT INTO relationship (name, message) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET message = excluded.message",
  );
  const drop = db.prepare("DELETE FROM relationship WHERE name = ?");
  const page = db.prepare("SELECT name, message FROM relationship WHERE name > ? ORDER BY name LIMIT ?");
  const putNote = db.prepare("INSERT INTO note (name, text) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET text = excluded.text");
  const getNote = db.prepare("SELECT text FROM note WHERE name = ?");

  return {
    async commit(change, apply) {
      db.exec("BEGIN IMMEDIATE");
      let result: Awaited<ReturnType<typeof apply>>;
      try {
        for (const r of change.put) put.run(relationshipName(r), v1.Relationship.toBinary(r));
        for (const r of change.drop) drop.run(relationshipName(r));
        result = await apply();
      } catch (error) {
        if (db.isTransaction) db.exec("ROLLBACK"); // a full disk has rolled back by itself
        throw error;
      }
      try {
        db.exec("COMMIT");
      } catch (cause) {
        throw new JournalLost("an applied change of relationships could not be written to disk", { cause });
      }
      return result;
    },

    *readAll(batch) {
      for (let last = ""; ; ) {
        const rows = page.all(last, batch);
        if (rows.length === 0) return;
        yield rows.map((row) => v1.Relationship.fromBinary(row.message as Uint8Array));
        last = rows[rows.length - 1]?.name as string;
      }
    },

    note: (name, text) => void putNote.run(name, text),
    readNote: (name) => getNote.get(name)?.text as string | undefined,
    close() {
      db.close();
      claim.close();
    },
  };
}

/**
 * Two engines over one journal would each miss what the other was told, and a backup has to read it meanwhile: so the
 * claim is a lock of its own, on an empty database beside the journal. The kernel gives it up with the process.
 */
function claimEngine(path: string): DatabaseSync {
  const claim = new DatabaseSync(`${path}-engine`);
  try {
    claim.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    return claim;
  } catch (cause) {
    claim.close();
    throw new Error(`${path} is in use by another authorization engine: stop it first`, { cause });
  }
}

/** `type:id#relation@type:id#relation`: what makes a relationship the same one, whatever its caveat or expiry. */
export function relationshipName(r: v1.Relationship): string {
  const subject = r.subject;
  const tail = subject?.optionalRelation ? `#${subject.optionalRelation}` : "";
  return `${r.resource?.objectType}:${r.resource?.objectId}#${r.relation}@${subject?.object?.objectType}:${subject?.object?.objectId}${tail}`;
}

function openDatabase(path: string): DatabaseSync {
  closeSync(openSync(path, "a", 0o600));
  const db = new DatabaseSync(path, { timeout: BUSY_MS });
  try {
    db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
    const version = db.prepare("PRAGMA user_version").get()?.user_version;
    if (version === 0) {
      db.exec(
        `BEGIN; CREATE TABLE relationship (name TEXT PRIMARY KEY, message BLOB NOT NULL) WITHOUT ROWID;
         CREATE TABLE note (name TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
         PRAGMA user_version = ${JOURNAL_VERSION}; COMMIT`,
      );
    } else if (version !== JOURNAL_VERSION) {
      throw new Error(`${path} has format ${String(version)}, this program reads ${JOURNAL_VERSION}: use the version that wrote it`);
    }
    return db;
  } catch (cause) {
    db.close();
    throw cause;
  }
}
