/** Copies of SQLite files that other processes write meanwhile. */
import { basename, join } from "node:path";
import { backup, DatabaseSync } from "node:sqlite";

const BUSY_MS = 5_000;
/** All in one step: the read transaction that pins the moment lasts until the copy is complete, and writers go on beside it. */
const PAGES = 2 ** 31 - 1;

/**
 * Copies each file into `folder` under its name; gives the copies. A transaction of each is opened before the first is
 * copied, so all are of one moment but for milliseconds, in the order given. Needs write-ahead logs: readers of any
 * other journal would stop the writers.
 */
export async function pinDatabases(paths: readonly string[], folder: string): Promise<string[]> {
  const open: DatabaseSync[] = [];
  try {
    for (const path of paths) {
      const db = new DatabaseSync(path, { timeout: BUSY_MS });
      open.push(db);
      const mode = db.prepare("PRAGMA journal_mode").get()?.journal_mode;
      if (mode !== "wal") throw new Error(`${path} has the journal mode ${String(mode)} instead of wal`);
    }
    // A transaction takes its snapshot at its first read.
    for (const db of open) db.exec("BEGIN; SELECT count(*) FROM sqlite_schema");
    const copies: string[] = [];
    for (const [i, db] of open.entries()) {
      const copy = join(folder, basename(paths[i] as string));
      await backup(db, copy, { rate: PAGES });
      copies.push(copy);
    }
    return copies;
  } finally {
    for (const db of open) db.close();
  }
}

/** What SQLite itself finds wrong with a file; empty when it is sound. */
export function checkDatabase(path: string): string[] {
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    const found = db
      .prepare("PRAGMA integrity_check(5)")
      .all()
      .map((row) => String(row.integrity_check));
    return found.length === 1 && found[0] === "ok" ? [] : found;
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  } finally {
    db.close();
  }
}
