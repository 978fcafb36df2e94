/**
 * Storage over a folder of this machine that a user owns.
 *
 * Whoever writes into the folder is not trusted: links may point anywhere, names may be pipes or devices, and both may
 * change between a look and an open. So a path is resolved first, only a regular file inside the root is opened, with
 * flags that neither follow a link nor wait for a pipe, and what was opened is checked again before a byte is read.
 */
import { constants, type Dirent } from "node:fs";
import { lstat, open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { SchedulerError } from "#domain/error.ts";
import type { Storage, StorageEntry } from "#ports/storage.ts";
import { asSchedulerError, checkOpened, guarded, normalPath, type Place, resolve } from "./place.ts";
import { UNFINISHED, writeFile } from "./write-file.ts";

const LIST_LIMIT_MAX = 100_000;
const LIST_PARALLEL = 64;
const READ_CHUNK_BYTES = 256 * 1024;

/** `root` must be absolute; it may itself be a link. It is looked up at each call, so a mount may come later. */
export function createPosixStorage(options: { readonly root: string }): Storage {
  const { root } = options;

  return {
    async stat(path) {
      const place = await resolve(root, normalPath(path));
      return place === undefined ? undefined : entryOf(place);
    },

    async list(path, limit) {
      if (!Number.isInteger(limit) || limit < 1 || limit > LIST_LIMIT_MAX)
        throw new SchedulerError("invalid-input", `limit must be 1 to ${LIST_LIMIT_MAX}`);
      const folder = normalPath(path);
      const place = await resolve(root, folder);
      if (place === undefined) throw new SchedulerError("not-found", `there is no folder ${folder}`);
      if (!place.stats.isDirectory()) throw new SchedulerError("invalid-input", `${folder} is not a folder`);
      return entriesOf(root, place, limit);
    },

    async read(path) {
      const wanted = normalPath(path);
      const place = await resolve(root, wanted);
      if (place === undefined) throw new SchedulerError("not-found", `there is no file ${wanted}`);
      if (entryOf(place).kind === "folder") throw new SchedulerError("invalid-input", `${wanted} is a folder, not a file`);
      return readPlace(place);
    },

    async write(path, body, options) {
      const wanted = normalPath(path);
      const written = await writeFile(root, wanted, body, options);
      const place = await resolve(root, wanted);
      if (place === undefined) throw new SchedulerError("conflict", `${wanted} was removed by someone else as soon as it was written`);
      return { ...entryOf(place), sha256: written.sha256 };
    },
  };
}

function entryOf({ path, stats }: Place): StorageEntry {
  const stamp = `${stats.size}-${stats.mtimeNs}`;
  if (stats.isDirectory()) return { path, kind: "folder", bytes: 0, stamp };
  if (!stats.isFile()) throw new SchedulerError("invalid-input", `${path} is neither a file nor a folder`);
  return { path, kind: "file", bytes: Number(stats.size), stamp };
}

/** Leaves out pipes, devices, broken links and links that lead outside. */
async function entriesOf(root: string, folder: Place, limit: number): Promise<StorageEntry[]> {
  const all = (await guarded(folder.path, () => readdir(folder.real, { withFileTypes: true }))) ?? [];
  const children = all.filter(({ name }) => !name.startsWith(UNFINISHED));
  children.sort((a, b) => (a.name < b.name ? -1 : 1));
  const entries: StorageEntry[] = [];
  for (let at = 0; at < children.length && entries.length < limit; at += LIST_PARALLEL) {
    const found = await Promise.all(children.slice(at, at + LIST_PARALLEL).map((child) => childOf(root, folder, child)));
    entries.push(...found.filter((entry) => entry !== undefined));
  }
  return entries.slice(0, limit);
}

async function childOf(root: string, folder: Place, child: Dirent): Promise<StorageEntry | undefined> {
  const path = join(folder.path, child.name);
  try {
    if (child.isSymbolicLink()) {
      const place = await resolve(root, path);
      return place === undefined ? undefined : entryOf(place);
    }
    // The folder's real path is known, so a child that is no link needs no second look at the way to it.
    const real = join(folder.real, child.name);
    const stats = await guarded(path, () => lstat(real, { bigint: true }));
    return stats === undefined ? undefined : entryOf({ path, real, realRoot: folder.realRoot, stats });
  } catch (error) {
    if (error instanceof SchedulerError && (error.kind === "invalid-input" || error.kind === "forbidden")) return undefined;
    throw error;
  }
}

/** Lazy, so that a stream nobody reads holds no file open. */
async function* readPlace(place: Place): AsyncGenerator<Uint8Array> {
  const handle = await guarded(place.path, () => open(place.real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK));
  if (handle === undefined) throw new SchedulerError("not-found", `${place.path} was removed`);
  try {
    await checkOpened(place, handle);
    yield* handle.createReadStream({ highWaterMark: READ_CHUNK_BYTES, autoClose: false });
  } catch (error) {
    throw asSchedulerError(place.path, error);
  } finally {
    await handle.close();
  }
}
