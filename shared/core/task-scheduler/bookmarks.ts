/** How far a walk over something large has come, kept as small objects. Hints: one that is lost begins again. */
import type { ObjectStore } from "#ports/object-store.ts";

const BOOKMARK_BYTES_MAX = 1_024;

export interface Bookmarks {
  /** The empty text: at the beginning. */
  read(name: string): Promise<string>;
  move(name: string, to: string): Promise<void>;
}

export function createBookmarks(objects: Pick<ObjectStore, "get" | "putIfAbsent" | "remove">): Bookmarks {
  const keyOf = (name: string) => `s/${name}`;
  const read = async (name: string) => Buffer.from((await objects.get(keyOf(name), BOOKMARK_BYTES_MAX)) ?? []).toString("utf8");
  return {
    read,
    async move(name, to) {
      if ((await read(name)) === to) return;
      await objects.remove(keyOf(name));
      if (to !== "") await objects.putIfAbsent(keyOf(name), Buffer.from(to));
    },
  };
}
