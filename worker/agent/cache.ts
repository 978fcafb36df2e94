/**
 * Inputs by content, shared by all attempts and all agents of one machine: `<cacheDir>/<aa>/<sha256>`.
 *
 * D1: a file gets its name only after its bytes have that digest, and each process checks a file once more at its own first use
 * (a crash of the machine may have left the name without the bytes). D2: one download per digest however many want it at once,
 * by a shared promise inside the process and a lock file between processes. Attempts get copies (reflinks where the file system
 * can), so a task may change its own. Files are 0700: storage has no modes, and an input may be a program.
 */
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, constants } from "node:fs";
import { copyFile, mkdir, open, readdir, readFile, rename, rm, stat, unlink, utimes } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { codeOf, machineError, StagingError } from "./fault.ts";
import { CACHE_KEEP_SHARE, LOCK_POLL_MS, LOCK_STALE_MS, LOCK_TOUCH_MS, VERIFIED_MEMORY_MAX } from "./limits.ts";
import { signalProcess } from "./process-table.ts";
import type { Transfer } from "./transfer.ts";

export interface Wanted {
  readonly sha256: string;
  readonly bytes: number;
  readonly url: string;
  /** `bytes` is a limit, not the size (listings announce none). */
  readonly atMost?: boolean;
}

export interface InputCache {
  /** Puts a copy at `path`, which must not exist. Gives the bytes that were transferred for it by this call. @throws StagingError @throws MachineError */
  place(wanted: Wanted, path: string, signal: AbortSignal): Promise<number>;
}

export interface InputCacheOptions {
  readonly dir: string;
  readonly bytesMax: number;
  readonly transfer: Transfer;
}

interface Flight {
  readonly done: Promise<number>;
  readonly stop: AbortController;
  waiting: number;
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 })) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

/** `undefined` = no such file. */
async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Whether the holder is known to be dead. Of a process on another host nothing is known. */
async function isAbandoned(lock: string): Promise<boolean> {
  const [pid, host] = (await readFile(lock, "utf8").catch(() => "")).split(" ");
  return host === hostname() && Number(pid) > 0 && Number(pid) !== process.pid && !signalProcess(Number(pid), 0);
}

/**
 * Works while holding a lock file, unless `isDone` becomes true first. Two may hold it at once in the moment of a takeover: that
 * costs a second download and nothing else.
 */
async function withLock(lock: string, isDone: () => Promise<boolean>, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  let seenMtimeMs = -1;
  let unchangedSinceMs = performance.now();
  while (!signal.aborted) {
    if (await isDone()) return;
    try {
      const file = await open(lock, "wx", 0o600);
      await file.writeFile(`${process.pid} ${hostname()}`).finally(() => file.close());
      break;
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
    }
    // Watched for change by our own clock: the clock of a file server may differ.
    const mtimeMs = (await stat(lock).catch(() => undefined))?.mtimeMs ?? -1;
    if (mtimeMs !== seenMtimeMs) unchangedSinceMs = performance.now();
    seenMtimeMs = mtimeMs;
    if (performance.now() - unchangedSinceMs > LOCK_STALE_MS || (await isAbandoned(lock))) await rm(lock, { force: true });
    else await sleep(LOCK_POLL_MS, undefined, { signal }).catch(() => undefined);
  }
  if (signal.aborted) throw new StagingError("stopped");
  const touch = setInterval(() => utimes(lock, new Date(), new Date()).catch(() => undefined), LOCK_TOUCH_MS);
  try {
    await work();
  } finally {
    clearInterval(touch);
    await rm(lock, { force: true });
  }
}

interface CachedFile {
  readonly path: string;
  readonly name: string;
  readonly bytes: number;
  readonly usedAtMs: number;
}

async function listFiles(dir: string): Promise<CachedFile[]> {
  const files: CachedFile[] = [];
  for (const folder of await readdir(dir)) {
    if (folder.length !== 2) continue;
    for (const name of await readdir(join(dir, folder))) {
      const path = join(dir, folder, name);
      const facts = name.length === 64 ? await stat(path).catch(() => undefined) : undefined;
      if (facts !== undefined) files.push({ path, name, bytes: facts.size, usedAtMs: facts.mtimeMs });
    }
  }
  return files;
}

/** Keeps the sum of sizes below the limit: oldest first, except what is in use here. A reader of a removed file keeps its bytes. */
function createEviction(dir: string, bytesMax: number, isUsed: (sha256: string) => boolean) {
  /** Known after the first look; other processes' files are found at the next one. */
  let estimate: number | undefined;
  let running: Promise<void> | undefined;

  async function evict(): Promise<void> {
    const files = await listFiles(dir);
    let total = files.reduce((sum, file) => sum + file.bytes, 0);
    const keep = total > bytesMax ? bytesMax * CACHE_KEEP_SHARE : total;
    files.sort((a, b) => a.usedAtMs - b.usedAtMs);
    for (const file of files) {
      if (total <= keep) break;
      if (isUsed(file.name)) continue;
      await unlink(file.path).catch(() => undefined);
      total -= file.bytes;
    }
    estimate = total;
  }

  return async (bytesAdded: number): Promise<void> => {
    if (estimate !== undefined) estimate += bytesAdded;
    if (estimate !== undefined && estimate <= bytesMax) return;
    running ??= evict().finally(() => {
      running = undefined;
    });
    await running;
  };
}

export function createInputCache(options: InputCacheOptions): InputCache {
  const { dir, bytesMax, transfer } = options;
  const flights = new Map<string, Flight>();
  const uses = new Map<string, number>();
  const verified = new Set<string>();
  const madeCount = { temporary: 0 };
  const evictAfter = createEviction(dir, bytesMax, (sha256) => uses.has(sha256));
  const pathOf = (sha256: string): string => join(dir, sha256.slice(0, 2), sha256);

  function markVerified(sha256: string): void {
    verified.add(sha256);
    const oldest = verified.size > VERIFIED_MEMORY_MAX ? verified.values().next().value : undefined;
    if (oldest !== undefined) verified.delete(oldest);
  }

  /** Whether the right bytes are there; wrong ones are removed. */
  async function isPresent(wanted: Wanted): Promise<boolean> {
    const path = pathOf(wanted.sha256);
    const bytes = await sizeOf(path);
    if (bytes === undefined) return false;
    const fits = wanted.atMost === true ? bytes <= wanted.bytes : bytes === wanted.bytes;
    if (fits && verified.has(wanted.sha256)) return true;
    if ((await digestOf(path)) === wanted.sha256) {
      markVerified(wanted.sha256);
      if (!fits) throw new StagingError(`${wanted.sha256} has ${bytes} bytes, not the ${wanted.bytes} announced`);
      const now = new Date();
      await utimes(path, now, now).catch(() => undefined); // the first use of this process counts for its age
      return true;
    }
    await unlink(path).catch(() => undefined);
    return false;
  }

  async function download(wanted: Wanted, signal: AbortSignal): Promise<number> {
    const temporary = join(dir, "tmp", `${wanted.sha256}.${process.pid}.${++madeCount.temporary}.${randomBytes(4).toString("hex")}`);
    try {
      const source = { url: wanted.url, bytes: wanted.bytes, exact: wanted.atMost !== true };
      const { sha256, bytes } = await transfer.download(source, temporary, signal);
      if (sha256 !== wanted.sha256) throw new StagingError(`checksum mismatch: expected sha256 ${wanted.sha256}, received ${sha256}`);
      await rename(temporary, pathOf(wanted.sha256));
      markVerified(sha256);
      return bytes;
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  async function obtain(wanted: Wanted, signal: AbortSignal): Promise<number> {
    if (await isPresent(wanted)) return 0;
    const path = pathOf(wanted.sha256);
    await mkdir(join(dir, "tmp"), { recursive: true, mode: 0o700 });
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    let bytes = 0;
    await withLock(
      `${path}.lock`,
      () => isPresent(wanted),
      signal,
      async () => {
        bytes = await download(wanted, signal);
      },
    );
    if (bytes > 0) await evictAfter(bytes);
    return bytes;
  }

  function startFlight(wanted: Wanted): Flight {
    const stop = new AbortController();
    const flight: Flight = { stop, waiting: 0, done: obtain(wanted, stop.signal) };
    const land = (): void => {
      if (flights.get(wanted.sha256) === flight) flights.delete(wanted.sha256);
    };
    flight.done.then(land, land);
    flights.set(wanted.sha256, flight);
    return flight;
  }

  /** Joins the flight of the digest or starts it; it is stopped when everybody who waited has gone. */
  async function share(wanted: Wanted, signal: AbortSignal): Promise<number> {
    const known = flights.get(wanted.sha256);
    const flight = known ?? startFlight(wanted);
    flight.waiting++;
    let leave = (): void => undefined;
    const gone = new Promise<never>((_, reject) => {
      leave = () => reject(new StagingError("stopped"));
      if (signal.aborted) leave();
      else signal.addEventListener("abort", leave, { once: true });
    });
    try {
      const bytes = await Promise.race([flight.done, gone]);
      return known === undefined ? bytes : 0;
    } finally {
      signal.removeEventListener("abort", leave);
      if (--flight.waiting === 0) {
        if (flights.get(wanted.sha256) === flight) flights.delete(wanted.sha256);
        flight.stop.abort();
      }
    }
  }

  async function place(wanted: Wanted, path: string, signal: AbortSignal): Promise<number> {
    for (let tries = 1, bytes = 0; ; tries++) {
      bytes += await share(wanted, signal);
      try {
        await copyFile(pathOf(wanted.sha256), path, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
        return bytes;
      } catch (error) {
        // Another process may have evicted it just now.
        if (codeOf(error) !== "ENOENT" || tries >= 3) throw error;
      }
    }
  }

  return {
    async place(wanted, path, signal) {
      if (!/^[0-9a-f]{64}$/.test(wanted.sha256)) throw new StagingError(`${JSON.stringify(wanted.sha256)} is no sha256`);
      uses.set(wanted.sha256, (uses.get(wanted.sha256) ?? 0) + 1);
      try {
        return await place(wanted, path, signal);
      } catch (error) {
        throw machineError("an input cannot be kept", error);
      } finally {
        const left = (uses.get(wanted.sha256) ?? 1) - 1;
        if (left > 0) uses.set(wanted.sha256, left);
        else uses.delete(wanted.sha256);
      }
    },
  };
}
