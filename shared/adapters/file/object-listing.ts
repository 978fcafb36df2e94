/** Lists keys in order by walking folders depth first; reads only folders that can hold a key that is asked for. */
import type { Dirent } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { ObjectInfo } from "#ports/object-store.ts";
import { entryText, folderPieces } from "./object-path.ts";

export interface Listing {
  readonly root: string;
  readonly prefix: string;
  /** Only keys behind this one. */
  readonly after: string;
}

/** Objects put or removed meanwhile may be seen or not. */
export function walkObjects(listing: Listing): AsyncGenerator<ObjectInfo> {
  const base = listing.prefix.slice(0, listing.prefix.lastIndexOf("/") + 1);
  return walkFolder(listing, join(listing.root, ...folderPieces(base)), base);
}

async function* walkFolder(listing: Listing, folder: string, base: string): AsyncGenerator<ObjectInfo> {
  const entries = (await readFolder(folder)).map((entry) => ({
    name: entry.name,
    isFolder: entry.isDirectory(),
    key: base + entryText(entry.name, entry.isDirectory()),
  }));
  entries.sort((a, b) => (a.key < b.key ? -1 : 1));
  for (const { name, isFolder, key } of entries) {
    if (isFolder) {
      if (mayHold(key, listing)) yield* walkFolder(listing, join(folder, name), key);
    } else if (key.startsWith(listing.prefix) && key > listing.after) {
      const bytes = await fileBytes(join(folder, name));
      if (bytes !== undefined) yield { key, bytes };
    }
  }
}

function mayHold(start: string, { prefix, after }: Listing): boolean {
  const matches = start.startsWith(prefix) || prefix.startsWith(start);
  const isBehind = start > after || after.startsWith(start);
  return matches && isBehind;
}

async function readFolder(folder: string): Promise<readonly Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

/** Size of a file; undefined when there is none. */
export async function fileBytes(path: string): Promise<number | undefined> {
  try {
    return (await lstat(path)).size;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
