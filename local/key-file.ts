/** A secret shared by local processes, kept in a file that only its owner may read. */
import { randomBytes } from "node:crypto";
import { existsSync, linkSync, readFileSync, rmSync, writeFileSync } from "node:fs";

const KEY_BYTES = 32;

/** Reads the key, after making one where there is none. Safe when several processes do this at once. */
export function ensureKeyFile(path: string): string {
  if (!existsSync(path)) createKey(path);
  const key = readFileSync(path, "utf8").trim();
  if (key.length < KEY_BYTES) throw new Error(`${path} holds no key: delete it and start again`);
  return key;
}

/** Written in full first and linked into place: nobody ever reads half a key, and the first one wins. */
function createKey(path: string): void {
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, randomBytes(KEY_BYTES).toString("base64url"), { mode: 0o600, flush: true });
  try {
    linkSync(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(draft);
  }
}
