/**
 * Writes a file into a folder that others may change meanwhile. Everything happens below an open folder whose place was
 * checked after it was opened; the content gets its name only when it is whole, so a crash leaves a hidden leftover at most.
 */
import { createHash, randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, link, lstat, mkdir, open, readlink, realpath, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { SchedulerError } from "#domain/error.ts";
import type { WriteOptions } from "#ports/storage.ts";
import { asSchedulerError, checkInside, guarded, resolve } from "./place.ts";

/** How names of files begin that are not whole yet. */
export const UNFINISHED = ".airavata-unfinished-";
const FILE_MODE = 0o644;

/** `path` is a normal one; see the port for what it refuses. */
export async function writeFile(
  root: string,
  path: string,
  body: AsyncIterable<Uint8Array>,
  options: WriteOptions,
): Promise<{ readonly sha256: string }> {
  if (path === "/") throw new SchedulerError("conflict", "/ is a folder");
  const folder = await openFolder(root, dirname(path));
  try {
    return await writeBelow(folder.base, path, body, options);
  } catch (error) {
    throw asSchedulerError(path, error, "write");
  } finally {
    await folder.handle.close();
  }
}

async function writeBelow(
  base: string,
  path: string,
  body: AsyncIterable<Uint8Array>,
  { replace, expect }: WriteOptions,
): Promise<{ readonly sha256: string }> {
  const target = join(base, basename(path));
  const unfinished = join(base, `${UNFINISHED}${randomUUID()}`);
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const file = await open(unfinished, flags, FILE_MODE);
  try {
    const sha256 = await fill(file, body);
    if (expect !== undefined && expect.sha256 !== sha256)
      throw new SchedulerError("integrity", `what arrived for ${path} has another SHA-256 than was announced: nothing was written`);
    if (!replace) await link(unfinished, target);
    else if ((await lstatOrNothing(target))?.isDirectory()) throw new SchedulerError("conflict", `${path} is a folder`);
    else await rename(unfinished, target);
    return { sha256 };
  } finally {
    await file.close();
    await rm(unfinished, { force: true });
  }
}

async function fill(file: FileHandle, body: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of body) {
    hash.update(chunk);
    for (let at = 0; at < chunk.byteLength; ) at += (await file.write(chunk, at)).bytesWritten;
  }
  await file.sync();
  return hash.digest("hex");
}

const lstatOrNothing = (path: string) => guarded(path, () => lstat(path));

/** Opens the folder, made when it was not there, part by part: a link on the way may lead anywhere inside, never outside. */
async function openFolder(root: string, path: string): Promise<{ readonly handle: FileHandle; readonly base: string }> {
  const top = await resolve(root, "/");
  if (top === undefined) throw new SchedulerError("unavailable", "the root folder of the storage resource is not there: is it mounted?");
  let real = top.real;
  try {
    for (const part of path.split("/").filter((name) => name !== "")) {
      await mkdir(join(real, part)).catch((error: unknown) => {
        if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
      });
      real = await realpath(join(real, part));
      checkInside(top.realRoot, real, path);
      if (!(await lstat(real)).isDirectory()) throw new SchedulerError("conflict", `a file is in the way of the folder ${path}`);
    }
    const handle = await open(real, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
    if (process.platform !== "linux") return { handle, base: real };
    // Names below the open folder: it may be moved or replaced by a link from now on without leading anywhere else.
    const base = `/proc/self/fd/${handle.fd}`;
    const place = await readlink(base);
    if (place !== top.realRoot) checkInside(top.realRoot, place, path);
    return { handle, base };
  } catch (error) {
    throw asSchedulerError(path, error, "write");
  }
}
