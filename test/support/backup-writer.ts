/** Writes a data folder as the system does, without pause: an object, then the row that names it. One number on a line for each hundred. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { openFileObjectStore } from "#adapters/file/object-store.ts";
import { createSystemClock } from "#adapters/system/clock.ts";
import { DATA_FORMAT_VERSION } from "../../local/migrations.ts";

const [folder = ""] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const clock = createSystemClock();
const store = await openFileObjectStore({
  folder: join(folder, "objects"),
  baseUrl: "http://127.0.0.1:1",
  signingKey: new Uint8Array(32),
  clock,
});
const databases = ["state.db", "relationships.db", "queue.db"].map((name) => {
  const db = new DatabaseSync(join(folder, name), { timeout: 5_000 });
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; CREATE TABLE rows (n INTEGER PRIMARY KEY)");
  return db;
});
const [state, relationships, queue] = databases.map((db) => db.prepare("INSERT INTO rows VALUES (?)"));
writeFileSync(join(folder, "secret.key"), "secret");
writeFileSync(join(folder, "format.json"), JSON.stringify({ version: DATA_FORMAT_VERSION }));
for (let n = 1; ; n++) {
  await store.putIfAbsent(`r/${n}`, Buffer.from(`object ${n}`));
  relationships?.run(n);
  state?.run(n);
  queue?.run(n);
  if (n % 100 === 0) process.stdout.write(`${n}\n`);
  await clock.sleep(2);
}
