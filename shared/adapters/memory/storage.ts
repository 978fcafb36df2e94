/** Storage in memory: the reference model. It holds files only; the folders are those on the way to a file. */
import { createHash } from "node:crypto";
import { SchedulerError } from "#domain/error.ts";
import type { Storage, StorageEntry } from "#ports/storage.ts";

const PATH_CHARACTERS_MAX = 4_096;

export interface MemoryStorage extends Storage {
  /** Creates or replaces a file, as its owner would; the stamp changes. */
  place(path: string, body: Uint8Array): void;
  delete(path: string): void;
}

interface File {
  readonly body: Uint8Array;
  readonly stamp: string;
}

export function createMemoryStorage(): MemoryStorage {
  const files = new Map<string, File>();
  let writes = 0;

  const entryOf = (path: string): StorageEntry | undefined => {
    const file = files.get(path);
    if (file !== undefined) return { path, kind: "file", bytes: file.body.length, stamp: file.stamp };
    const inside = path === "/" || [...files.keys()].some((other) => other.startsWith(`${path}/`));
    return inside ? { path, kind: "folder", bytes: 0, stamp: "0" } : undefined;
  };

  const place = (path: string, body: Uint8Array): void => {
    files.set(path, { body: body.slice(), stamp: `${body.length}-${++writes}` });
  };

  return {
    async stat(path) {
      return entryOf(normalPath(path));
    },

    async list(path, limit) {
      const folder = normalPath(path);
      const entry = entryOf(folder);
      if (entry === undefined) throw new SchedulerError("not-found", `there is no folder ${folder}`);
      if (entry.kind === "file") throw new SchedulerError("invalid-input", `${folder} is a file, not a folder`);
      const start = folder === "/" ? "/" : `${folder}/`;
      const names = new Set(
        [...files.keys()].filter((other) => other.startsWith(start)).map((other) => other.slice(start.length).split("/")[0] as string),
      );
      const entries = [...names]
        .sort()
        .slice(0, limit)
        .map((name) => entryOf(start + name));
      return entries.filter((found) => found !== undefined);
    },

    async read(path) {
      const wanted = normalPath(path);
      const file = files.get(wanted);
      if (file !== undefined) return once(file.body.slice());
      if (entryOf(wanted) !== undefined) throw new SchedulerError("invalid-input", `${wanted} is a folder, not a file`);
      throw new SchedulerError("not-found", `there is no file ${wanted}`);
    },

    async write(path, body, { replace, expect }) {
      const wanted = normalPath(path);
      const chunks: Uint8Array[] = [];
      for await (const chunk of body) chunks.push(chunk);
      const bytes = new Uint8Array(Buffer.concat(chunks));
      const sha256 = createHash("sha256").update(bytes).digest("hex");
      if (expect !== undefined && expect.sha256 !== sha256) throw new SchedulerError("integrity", `${wanted} has another SHA-256`);
      const way = wanted.split("/").map((_, i, parts) => parts.slice(0, i).join("/"));
      if (way.some((folder) => files.has(folder))) throw new SchedulerError("conflict", `a file is in the way of ${wanted}`);
      const there = entryOf(wanted);
      if (there !== undefined && (there.kind === "folder" || !replace)) throw new SchedulerError("conflict", `${wanted} is there already`);
      place(wanted, bytes);
      return { ...(entryOf(wanted) as StorageEntry), sha256 };
    },

    place: (path, body) => place(normalPath(path), body),

    delete(path) {
      files.delete(normalPath(path));
    },
  };
}

async function* once(body: Uint8Array): AsyncGenerator<Uint8Array> {
  yield body;
}

/** One name for one place: without `.`, doubled or closing slashes. */
function normalPath(path: string): string {
  const segments = path.split("/");
  if (segments[0] !== "" || path === "" || path.length > PATH_CHARACTERS_MAX || path.includes("\0") || segments.includes("..")) {
    throw new SchedulerError("invalid-input", "a path starts with /, holds no .. and no NUL and has at most 4096 characters");
  }
  return `/${segments.filter((segment) => segment !== "" && segment !== ".").join("/")}`;
}
