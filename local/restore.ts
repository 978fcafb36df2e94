/**
 * Puts a backup into a folder, or only checks it.
 *
 * Everything is written beside the folder and renamed into place when every checksum is right and every database sound:
 * a restore that was killed or refused leaves no data folder behind.
 */
import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { mkdir, mkdtemp, open, readdir, rename, rm, rmdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { SchedulerError } from "#domain/error.ts";
import { extract, type Header } from "tar-stream";
import { ABOUT_ENTRY, BACKUP_FORMAT_VERSION, type BackupAbout, type BackupReport, MANIFEST_ENTRY } from "./backup.ts";
import { whoHolds } from "./data-folder.ts";
import { checkDatabase } from "./database-snapshot.ts";
import { DATA_FORMAT_VERSION } from "./migrations.ts";

export interface RestoreReport extends BackupReport {
  readonly about: BackupAbout;
}

type Content = AsyncIterable<Buffer>;

const NAME_CHARACTERS_MAX = 2_048;
const ABOUT_BYTES_MAX = 64 * 1024;
const MANIFEST_BYTES_MAX = 2 ** 31;

/**
 * `folder` must not exist, or be empty. Errors: `conflict` (it holds something), `integrity` (the file is no backup, or
 * damaged), `version-mismatch` (of a newer release), `unavailable` (something can't be read or written).
 */
export async function restoreBackup(file: string, folder: string): Promise<RestoreReport> {
  const target = resolve(folder);
  await refuseUsed(target);
  const draft = `${target}.restoring`;
  await rm(draft, { recursive: true, force: true }); // of a restore that was killed
  try {
    const report = await unpack(file, draft);
    await rmdir(target).catch(() => undefined); // empty
    await rename(draft, target);
    await syncPath(dirname(target));
    return report;
  } catch (error) {
    throw asKnown(error);
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

/** Reads all of it and checks what a restore checks; writes the databases to a temporary folder for that. Errors as {@link restoreBackup}. */
export async function verifyBackup(file: string): Promise<RestoreReport> {
  const folder = await mkdtemp(join(tmpdir(), "airavata-verify-"));
  try {
    return await unpack(file, folder, (name) => name.endsWith(".db"));
  } catch (error) {
    throw asKnown(error);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function refuseUsed(target: string): Promise<void> {
  if (!existsSync(target)) return;
  const holder = whoHolds(target);
  if (holder !== undefined) throw new SchedulerError("conflict", `${target} is in use by ${holder}: restore into another folder`);
  if ((await readdir(target)).length > 0)
    throw new SchedulerError("conflict", `${target} is not empty: restore into a new folder, and look at both before you remove one`);
}

async function unpack(file: string, folder: string, keep: (name: string) => boolean = () => true): Promise<RestoreReport> {
  const found = new Map<string, string>();
  let about: BackupAbout | undefined;
  let manifest: string | undefined;
  let bytes = 0;
  const takeEntry = async (entry: Content, { name, size = 0 }: Header) => {
    if (manifest !== undefined) throw damaged(`${name} stands behind the list of contents`);
    if (about === undefined) about = readAbout(name === ABOUT_ENTRY ? await readAll(entry, size, ABOUT_BYTES_MAX) : "");
    else if (name === MANIFEST_ENTRY) manifest = await readAll(entry, size, MANIFEST_BYTES_MAX);
    else {
      if (found.has(name)) throw damaged(`${name} stands in it twice`);
      found.set(name, `${await takeFile(entry, keep(name) ? join(folder, name) : undefined)} ${size} ${name}`);
      bytes += size;
    }
  };
  const entries = extract();
  const reading = pipeline(createReadStream(file), entries);
  const takeAll = async () => {
    for await (const entry of entries) {
      checkHeader(entry.header);
      await takeEntry(entry as unknown as Content, entry.header);
    }
  };
  await Promise.all([reading, takeAll()]); // an entry that is cut off never ends: the file's reader tells
  if (about === undefined || manifest === undefined) throw damaged("its end is missing");
  compare(manifest, found);
  for (const name of found.keys()) {
    const wrong = name.endsWith(".db") ? checkDatabase(join(folder, name)) : [];
    if (wrong.length > 0) throw damaged(`the database ${name} is not sound (${wrong.join("; ")})`);
  }
  return { file: resolve(file), files: found.size, bytes, about };
}

function checkHeader({ name, type }: Header): void {
  const isPlain =
    name.length <= NAME_CHARACTERS_MAX &&
    name.split("/").every((part) => /^[A-Za-z0-9._+~=-]+$/.test(part) && part !== "." && part !== "..");
  if (!isPlain || type !== "file") throw damaged(`it holds ${JSON.stringify(name.slice(0, 100))} (${type}), which no backup does`);
}

function readAbout(text: string): BackupAbout {
  let about: Partial<BackupAbout>;
  try {
    about = JSON.parse(text) as Partial<BackupAbout>;
  } catch {
    throw damaged("it does not begin like one");
  }
  const { formatVersion, dataFormat, release = "?", madeAt = "?" } = about;
  if (typeof formatVersion !== "number" || typeof dataFormat !== "number") throw damaged("it does not begin like one");
  if (formatVersion > BACKUP_FORMAT_VERSION || dataFormat > DATA_FORMAT_VERSION)
    throw new SchedulerError(
      "version-mismatch",
      `the backup was made by the newer release ${String(release)}: restore it with that release`,
    );
  return { formatVersion, dataFormat, release, madeAt };
}

function compare(manifest: string, found: ReadonlyMap<string, string>): void {
  const lines = manifest.split("\n").filter((line) => line !== "");
  for (const line of lines) {
    const name = line.split(" ").slice(2).join(" ");
    const has = found.get(name);
    if (has === undefined) throw damaged(`${name} is missing`);
    if (has !== line) throw damaged(`${name} has another checksum than when it was made`);
  }
  if (lines.length !== found.size) throw damaged("it holds files that its list of contents does not name");
}

/** Writes the entry, or only reads it; gives its SHA-256. */
async function takeFile(entry: Content, path: string | undefined): Promise<string> {
  const hash = createHash("sha256");
  const digest = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
  if (path === undefined) {
    for await (const chunk of entry) hash.update(chunk);
    return hash.digest("hex");
  }
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const file = await open(path, "wx", 0o600);
  await pipeline(entry, digest, file.createWriteStream({ flush: basename(path).endsWith(".db") }));
  return hash.digest("hex");
}

async function readAll(entry: Content, size: number, bytesMax: number): Promise<string> {
  if (size > bytesMax) throw damaged("an entry is too large");
  const chunks: Buffer[] = [];
  for await (const chunk of entry) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

const damaged = (what: string): SchedulerError =>
  new SchedulerError("integrity", `this is no sound backup: ${what}. Nothing was restored; use another one`);

function asKnown(error: unknown): unknown {
  if (error instanceof SchedulerError) return error;
  const text = error instanceof Error ? error.message : String(error);
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "ENOENT") return new SchedulerError("not-found", `there is no such backup (${text})`, { cause: error });
  if (/tar|header|end of data/i.test(text)) return damaged(text);
  return new SchedulerError("unavailable", `nothing was restored (${text}): mend that and try again`, { cause: error });
}

async function syncPath(path: string): Promise<void> {
  const handle = await open(path, "r");
  await handle.sync().finally(() => handle.close());
}
