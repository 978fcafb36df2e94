/**
 * ObjectStore on a folder: the embedded default. Several processes may use the folder at once.
 *
 * - An object is written to `tmp/` and then hard-linked to its name: the link is the put-if-absent, atomic in the
 *   kernel, and nobody ever sees half an object. What a killed process leaves in `tmp/` goes at the next open.
 * - A put that was answered survives kill -9. It survives a power cut only with `syncToDisk`, which costs two fsyncs.
 * - While a backup copies the folder, `remove` throws `unavailable` (removal-hold.ts).
 * - `putStream` checks size and SHA-256 while it writes: bytes get a name only after their checksum is right (D1).
 */
import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, link, mkdir, open, readdir, readFile, rmdir, stat, unlink } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { SchedulerError } from "#domain/error.ts";
import { checkAnnounced, checkObjectKey, checkObjectList, notAnnounced } from "#domain/object-key.ts";
import type { Clock } from "#ports/clock.ts";
import type { ObjectInfo, ObjectStore } from "#ports/object-store.ts";
import { fileBytes, walkObjects } from "./object-listing.ts";
import { filePieces } from "./object-path.ts";
import { isAlive, isHeld } from "./removal-hold.ts";
import { type ExpectedBody, signGrant } from "./signed-url.ts";

const FORMAT = "airavata-objects 1\n";
const LINK_TRIES_MAX = 16;
const READ_CHUNK_BYTES = 256 * 1024;
const SIGNED_VALIDITY_MS_MAX = 7 * 24 * 3_600_000; // what S3 takes, too
/** A temporary file of another machine is a leftover after this time; on our own we can ask whether its process lives. */
const FOREIGN_LEFTOVER_MS = 24 * 3_600_000;

export interface FileObjectStoreOptions {
  /** Created when missing. Needs hard links and a file system that tells upper from lower case. */
  readonly folder: string;
  /** Where the handler of signed-http.ts is reached, without a closing slash: `http://127.0.0.1:7070`. */
  readonly baseUrl: string;
  /** The deployment's key for signed URLs, at least 32 bytes. */
  readonly signingKey: Uint8Array;
  readonly clock: Clock;
  readonly syncToDisk?: boolean;
}

export interface FileObjectStore extends ObjectStore {
  /** Bytes `first` to `last` (inclusive) of an object that exists; `not-found` while reading when it is removed. */
  getRange(key: string, range: { readonly first: number; readonly last: number }): AsyncIterable<Uint8Array>;
}

/** Throws `version-mismatch` when the folder holds another format, `unavailable` when it cannot be used. */
export async function openFileObjectStore(options: FileObjectStoreOptions): Promise<FileObjectStore> {
  const store = new FolderStore(options);
  await guarded(() => store.prepare());
  return store;
}

class FolderStore implements FileObjectStore {
  readonly #options: FileObjectStoreOptions;
  readonly #objects: string;
  readonly #temporary: string;

  constructor(options: FileObjectStoreOptions) {
    this.#options = options;
    this.#objects = join(options.folder, "objects");
    this.#temporary = join(options.folder, "tmp");
  }

  async prepare(): Promise<void> {
    for (const folder of [this.#objects, this.#temporary]) await mkdir(folder, { recursive: true, mode: 0o700 });
    const format = join(this.#options.folder, "format");
    await this.#publish(format, (handle) => handle.writeFile(FORMAT));
    const found = await readFile(format, "utf8");
    if (found !== FORMAT)
      throw new SchedulerError(
        "version-mismatch",
        `the object folder has format ${JSON.stringify(found.trim())}, this release reads ${FORMAT.trim()}: use the release that wrote it`,
      );
    await sweepLeftovers(this.#temporary, this.#options.clock.now());
  }

  async putIfAbsent(key: string, body: Uint8Array): Promise<"written" | "exists"> {
    return guarded(() => this.#publish(this.#path(key), (handle) => handle.writeFile(body)));
  }

  async putStream(key: string, body: AsyncIterable<Uint8Array>, expect: ExpectedBody): Promise<"written" | "exists"> {
    return guarded(() => this.#publish(this.#path(key), (handle) => writeVerified(handle, body, expect)));
  }

  async get(key: string, bytesMax: number): Promise<Uint8Array | undefined> {
    return guarded(async () => {
      const path = this.#path(key);
      const bytes = await fileBytes(path);
      if (bytes === undefined) return undefined;
      if (bytes > bytesMax) throw new SchedulerError("too-large", `object ${key} has ${bytes} bytes, ${bytesMax} are taken`);
      return readFile(path).catch(ignoreMissing);
    });
  }

  async getStream(key: string): Promise<AsyncIterable<Uint8Array> | undefined> {
    const info = await this.stat(key);
    return info === undefined ? undefined : readObject(key, this.#path(key), {});
  }

  getRange(key: string, { first, last }: { readonly first: number; readonly last: number }): AsyncIterable<Uint8Array> {
    return readObject(key, this.#path(key), { start: first, end: last });
  }

  async stat(key: string): Promise<ObjectInfo | undefined> {
    return guarded(async () => {
      const bytes = await fileBytes(this.#path(key));
      return bytes === undefined ? undefined : { key, bytes };
    });
  }

  async list(prefix: string, { limit, after = "" }: { readonly limit: number; readonly after?: string }): Promise<readonly ObjectInfo[]> {
    checkObjectList(prefix, limit);
    return guarded(async () => {
      const found: ObjectInfo[] = [];
      for await (const info of walkObjects({ root: this.#objects, prefix, after })) {
        if (found.push(info) === limit) break;
      }
      return found;
    });
  }

  async remove(key: string): Promise<void> {
    await guarded(async () => {
      const path = this.#path(key);
      if (await isHeld(this.#options.folder))
        throw new SchedulerError("unavailable", "a backup is being made: objects are removed when it is done");
      await unlink(path).catch(ignoreMissing);
      await this.#pruneFolders(dirname(path));
    });
  }

  async signGet(key: string, expiresAtMs: number): Promise<string> {
    this.#checkSigned(key, expiresAtMs);
    return this.#options.baseUrl + signGrant(this.#options.signingKey, { method: "GET", key, expiresAtMs });
  }

  async signPut(key: string, expect: ExpectedBody, expiresAtMs: number): Promise<string> {
    this.#checkSigned(key, expiresAtMs);
    checkAnnounced(expect);
    return this.#options.baseUrl + signGrant(this.#options.signingKey, { method: "PUT", key, expiresAtMs, expect });
  }

  #path(key: string): string {
    checkObjectKey(key);
    return join(this.#objects, ...filePieces(key));
  }

  #checkSigned(key: string, expiresAtMs: number): void {
    checkObjectKey(key);
    const isTooLong = expiresAtMs - this.#options.clock.now() > SIGNED_VALIDITY_MS_MAX;
    if (!Number.isSafeInteger(expiresAtMs) || expiresAtMs < 0 || isTooLong)
      throw new SchedulerError("invalid-input", "a signed URL is valid for at most seven days");
  }

  /** Fills a temporary file and gives it its name, or nothing happens. Does not call `fill` when the name is taken. */
  async #publish(target: string, fill: (handle: FileHandle) => Promise<void>): Promise<"written" | "exists"> {
    if ((await fileBytes(target)) !== undefined) return "exists";
    const temporary = join(this.#temporary, temporaryName());
    try {
      const handle = await open(temporary, "wx", 0o600);
      try {
        await fill(handle);
        if (this.#options.syncToDisk === true) await handle.sync();
      } finally {
        await handle.close();
      }
      const outcome = await linkNew(temporary, target);
      if (this.#options.syncToDisk === true) await syncFolder(dirname(target));
      return outcome;
    } finally {
      await unlink(temporary).catch(() => undefined); // a failure leaves it to the next sweep
    }
  }

  /** Removes folders that have become empty; a put that loses its folder by this makes it again. */
  async #pruneFolders(from: string): Promise<void> {
    for (let folder = from; folder !== this.#objects; folder = dirname(folder)) {
      const isGone = await rmdir(folder).then(
        () => true,
        () => false,
      );
      if (!isGone) return;
    }
  }
}

async function writeVerified(handle: FileHandle, body: AsyncIterable<Uint8Array>, expect: ExpectedBody): Promise<void> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > expect.bytes) break;
    hash.update(chunk);
    await handle.writeFile(chunk);
  }
  if (bytes !== expect.bytes || hash.digest("hex") !== expect.sha256) throw notAnnounced();
}

/** Lazy, so that a stream nobody reads holds no file open. */
async function* readObject(
  key: string,
  path: string,
  range: { readonly start?: number; readonly end?: number },
): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(path, { ...range, highWaterMark: READ_CHUNK_BYTES });
  } catch (error) {
    if (codeOf(error) === "ENOENT") throw new SchedulerError("not-found", `object ${key} was removed`, { cause: error });
    throw asUnavailable(error);
  }
}

async function linkNew(temporary: string, target: string): Promise<"written" | "exists"> {
  for (let tries = 1; ; tries++) {
    try {
      await link(temporary, target);
      return "written";
    } catch (error) {
      if (codeOf(error) === "EEXIST") return "exists";
      if (codeOf(error) !== "ENOENT" || tries >= LINK_TRIES_MAX) throw error;
    }
    await mkdir(dirname(target), { recursive: true, mode: 0o700 }).catch(ignoreMissing); // a parent was pruned meanwhile: again
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Tells a later sweep whose it is: machine, process, and something unique. */
function temporaryName(): string {
  return `${machineTag()}.${process.pid}.${randomUUID()}`;
}

function machineTag(): string {
  return createHash("sha256").update(hostname()).digest("hex").slice(0, 12);
}

async function sweepLeftovers(folder: string, nowMs: number): Promise<void> {
  for (const name of await readdir(folder)) {
    const [machine, pid] = name.split(".");
    const isOld = async (): Promise<boolean> => nowMs - (await stat(join(folder, name))).mtimeMs > FOREIGN_LEFTOVER_MS;
    try {
      if (machine === machineTag() ? !isAlive(Number(pid)) : await isOld()) await unlink(join(folder, name));
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error; // another process swept it first
    }
  }
}

async function guarded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asUnavailable(error);
  }
}

/** Errors of the file system become `unavailable`; all others stay what they are. */
function asUnavailable(error: unknown): unknown {
  switch (codeOf(error)) {
    case undefined:
      return error;
    case "ENOSPC":
    case "EDQUOT":
      return new SchedulerError("unavailable", "the disk of the object store is full: free some space", { cause: error });
    default:
      return error instanceof Error && "syscall" in error
        ? new SchedulerError(
            "unavailable",
            "the object store's folder cannot be used: it must be writable, on a file system with hard links",
            { cause: error },
          )
        : error;
  }
}

function ignoreMissing(error: unknown): undefined {
  if (codeOf(error) !== "ENOENT") throw error;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
