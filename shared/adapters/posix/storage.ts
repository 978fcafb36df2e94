/**
 * Storage over a folder of this machine that a user owns.
 *
 * Whoever writes into the folder is not trusted: links may point anywhere, names may be pipes or devices, and both may
 * change between a look and an open. So a path is resolved first, only a regular file inside the root is opened, with
 * flags that neither follow a link nor wait for a pipe, and what was opened is checked again before a byte is read.
 */
import { type BigIntStats, constants, type Dirent } from "node:fs";
import { type FileHandle, lstat, open, readdir, readlink, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { SchedulerError } from "#domain/error.ts";
import type { Storage, StorageEntry } from "#ports/storage.ts";

const PATH_CHARACTERS_MAX = 4_096;
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
  };
}

interface Place {
  /** As the user named it. */
  readonly path: string;
  /** Where it really is: inside the root and without links. */
  readonly real: string;
  readonly realRoot: string;
  readonly stats: BigIntStats;
}

/** One name for one place: without `.`, doubled or closing slashes. */
function normalPath(path: string): string {
  const segments = path.split("/");
  if (segments[0] !== "" || path === "" || path.length > PATH_CHARACTERS_MAX || path.includes("\0") || segments.includes("..")) {
    throw new SchedulerError("invalid-input", "a path starts with /, holds no .. and no NUL and has at most 4096 characters");
  }
  return `/${segments.filter((segment) => segment !== "" && segment !== ".").join("/")}`;
}

/** Undefined: nothing is there. Refuses what lies outside of the root. */
async function resolve(root: string, path: string): Promise<Place | undefined> {
  const realRoot = await guarded("/", () => realpath(root));
  if (realRoot === undefined)
    throw new SchedulerError("unavailable", "the root folder of the storage resource is not there: is it mounted?");
  const real = await guarded(path, () => realpath(join(root, path)));
  if (real === undefined) return undefined;
  checkInside(realRoot, real, path);
  const stats = await guarded(path, () => stat(real, { bigint: true }));
  return stats === undefined ? undefined : { path, real, realRoot, stats };
}

function checkInside(realRoot: string, real: string, path: string): void {
  const start = realRoot.endsWith(sep) ? realRoot : realRoot + sep;
  if (real !== realRoot && !real.startsWith(start)) throw new SchedulerError("invalid-input", `${path} leads out of the storage resource`);
}

function entryOf({ path, stats }: Place): StorageEntry {
  const stamp = `${stats.size}-${stats.mtimeNs}`;
  if (stats.isDirectory()) return { path, kind: "folder", bytes: 0, stamp };
  if (!stats.isFile()) throw new SchedulerError("invalid-input", `${path} is neither a file nor a folder`);
  return { path, kind: "file", bytes: Number(stats.size), stamp };
}

/** Leaves out pipes, devices, broken links and links that lead outside. */
async function entriesOf(root: string, folder: Place, limit: number): Promise<StorageEntry[]> {
  const children = (await guarded(folder.path, () => readdir(folder.real, { withFileTypes: true }))) ?? [];
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

/** A folder on the way may have become a link since it was resolved: what counts is what was opened. */
async function checkOpened({ path, real, realRoot }: Place, handle: FileHandle): Promise<void> {
  const opened = await handle.stat({ bigint: true });
  if (!opened.isFile()) throw new SchedulerError("invalid-input", `${path} is not a file`);
  if (process.platform === "linux") {
    const name = await readlink(`/proc/self/fd/${handle.fd}`);
    checkInside(realRoot, name, path);
    return;
  }
  const again = await realpath(real);
  checkInside(realRoot, again, path);
  const named = await stat(again, { bigint: true });
  if (named.ino !== opened.ino || named.dev !== opened.dev)
    throw new SchedulerError("invalid-input", `${path} changed while it was opened`);
}

/** Undefined when nothing is there; errors of the file system as errors of ours. */
async function guarded<T>(path: string, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (NOTHING_THERE.has(codeOf(error) ?? "")) return undefined;
    throw asSchedulerError(path, error);
  }
}

const NOTHING_THERE: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR"]);

function asSchedulerError(path: string, error: unknown): unknown {
  switch (codeOf(error)) {
    case undefined:
      return error;
    case "EACCES":
    case "EPERM":
      return new SchedulerError("forbidden", `the scheduler may not read ${path}: change its permissions`, { cause: error });
    case "ELOOP":
    case "ENAMETOOLONG":
      return new SchedulerError("invalid-input", `${path} cannot be followed: a name is too long, or links lead in a circle`, {
        cause: error,
      });
    default:
      return new SchedulerError("unavailable", `${path} cannot be read now`, { cause: error });
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "syscall" in error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
