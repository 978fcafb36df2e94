/** Where a path of a storage resource really is, and errors of the file system as errors of ours. */
import type { BigIntStats } from "node:fs";
import { type FileHandle, readlink, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { SchedulerError } from "#domain/error.ts";

const PATH_CHARACTERS_MAX = 4_096;

export interface Place {
  /** As the user named it. */
  readonly path: string;
  /** Where it really is: inside the root and without links. */
  readonly real: string;
  readonly realRoot: string;
  readonly stats: BigIntStats;
}

/** One name for one place: without `.`, doubled or closing slashes. */
export function normalPath(path: string): string {
  const segments = path.split("/");
  if (segments[0] !== "" || path === "" || path.length > PATH_CHARACTERS_MAX || path.includes("\0") || segments.includes("..")) {
    throw new SchedulerError("invalid-input", "a path starts with /, holds no .. and no NUL and has at most 4096 characters");
  }
  return `/${segments.filter((segment) => segment !== "" && segment !== ".").join("/")}`;
}

/** Undefined: nothing is there. Refuses what lies outside of the root. */
export async function resolve(root: string, path: string): Promise<Place | undefined> {
  const realRoot = await guarded("/", () => realpath(root));
  if (realRoot === undefined)
    throw new SchedulerError("unavailable", "the root folder of the storage resource is not there: is it mounted?");
  const real = await guarded(path, () => realpath(join(root, path)));
  if (real === undefined) return undefined;
  checkInside(realRoot, real, path);
  const stats = await guarded(path, () => stat(real, { bigint: true }));
  return stats === undefined ? undefined : { path, real, realRoot, stats };
}

export function checkInside(realRoot: string, real: string, path: string): void {
  const start = realRoot.endsWith(sep) ? realRoot : realRoot + sep;
  if (real !== realRoot && !real.startsWith(start)) throw new SchedulerError("invalid-input", `${path} leads out of the storage resource`);
}

/** A folder on the way may have become a link since it was resolved: what counts is what was opened. */
export async function checkOpened({ path, real, realRoot }: Place, handle: FileHandle): Promise<void> {
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
export async function guarded<T>(path: string, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (NOTHING_THERE.has(codeOf(error) ?? "")) return undefined;
    throw asSchedulerError(path, error);
  }
}

const NOTHING_THERE: ReadonlySet<string> = new Set(["ENOENT", "ENOTDIR"]);

export function asSchedulerError(path: string, error: unknown, what: "read" | "write" = "read"): unknown {
  switch (codeOf(error)) {
    case undefined:
      return error;
    case "EACCES":
    case "EPERM":
      return new SchedulerError("forbidden", `the scheduler may not ${what} ${path}: change its permissions`, { cause: error });
    case "ENOSPC":
    case "EDQUOT":
      return new SchedulerError("unavailable", `there is no space left for ${path}: remove something, then repeat`, { cause: error });
    case "EEXIST":
    case "EISDIR":
    case "ENOTEMPTY":
      return new SchedulerError("conflict", `${path} is there already`, { cause: error });
    case "EROFS":
      return new SchedulerError("forbidden", `${path} lies on a file system that takes no writes`, { cause: error });
    case "ELOOP":
    case "ENAMETOOLONG":
      return new SchedulerError("invalid-input", `${path} cannot be followed: a name is too long, or links lead in a circle`, {
        cause: error,
      });
    default:
      return new SchedulerError("unavailable", `${path} cannot be ${what === "read" ? "read" : "written"} now`, { cause: error });
  }
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "syscall" in error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
