/**
 * A backup of a data folder in one tar file, made while the system runs or stands still.
 *
 * B1 The databases are read as they were at one moment, in this order within milliseconds: state, relationships, queue.
 *    Relationships are written before the items that need them and messages are hints, so later ones do no harm.
 * B2 Objects are copied after that moment and none is removed meanwhile (removal-hold.ts): an object is written before
 *    the item that names it, so whatever the state names is there; what came later is too much and harmless.
 * B3 The file appears under its name when it is complete and on the disk, and its last entry lists every other one with
 *    its checksum: half a backup is never taken for one.
 *
 * It holds the keys of the installation and is as secret as the folder: mode 0600.
 */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, existsSync } from "node:fs";
import { link, lstat, mkdtemp, open, readdir, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { holdRemovals } from "#adapters/file/removal-hold.ts";
import { SchedulerError } from "#domain/error.ts";
import { RELEASE_VERSION } from "#protocol/version.ts";
import { pack, type Pack } from "tar-stream";
import { readFormat, readText } from "./data-folder.ts";
import { pinDatabases } from "./database-snapshot.ts";

export const BACKUP_FORMAT_VERSION = 1;
/** First and last entry. */
export const ABOUT_ENTRY = "backup.json";
export const MANIFEST_ENTRY = "MANIFEST";

export interface BackupAbout {
  readonly formatVersion: number;
  readonly dataFormat: number;
  readonly release: string;
  readonly madeAt: string;
}

export interface BackupReport {
  readonly file: string;
  readonly files: number;
  readonly bytes: number;
}

/** In this order. */
const DATABASES = ["state.db", "relationships.db", "queue.db"];
/** Made again, or of use to a running system alone. */
const LEFT_OUT = /^(lock.*|logs|run|cache|format\.json\..*|migration-\d+|.*\.db(-.*)?|.*-engine|worker-\d+\/work|objects\/(tmp|holds))$/;
/** Drafts of files that are renamed into place. */
const DRAFT = /^(.*\/)?\.[^/]*$|^[^/]*\.\d+$/;

/** Throws `conflict` when `file` exists, `not-found` when there is no data folder, `unavailable` when something can't be read or written. */
export async function makeBackup(folder: string, file: string): Promise<BackupReport> {
  const target = resolve(file);
  if (existsSync(target)) throw new SchedulerError("conflict", `${target} exists: name another file, or remove it first`);
  const dataFormat = readFormat(readText(join(folder, "format.json")) ?? "");
  if (dataFormat === undefined) throw new SchedulerError("not-found", `${folder} is no data folder: name it with --data-dir`);
  if (!existsSync(join(folder, "state.db")))
    throw new SchedulerError("invalid-input", `${folder} has no database of its own: back up the DynamoDB that it uses together with it`);
  if (!existsSync(join(folder, "objects", "format")))
    throw new SchedulerError("invalid-input", `${folder} has no objects of its own: back up the bucket that it uses, after the database`);
  const release = holdRemovals(join(folder, "objects")); // B2, before B1
  const work = await mkdtemp(join(dirname(target), `.${basename(target)}-`)).catch((error: unknown) => {
    release();
    throw new SchedulerError("unavailable", `${dirname(target)} can't be written (${textOf(error)})`, { cause: error });
  });
  try {
    const about: BackupAbout = {
      formatVersion: BACKUP_FORMAT_VERSION,
      dataFormat,
      release: RELEASE_VERSION,
      madeAt: new Date().toISOString(),
    };
    const snapshots = await pinDatabases(
      DATABASES.filter((name) => existsSync(join(folder, name))).map((name) => join(folder, name)),
      work,
    );
    const report = await writeTar({ folder, snapshots, draft: join(work, "tar"), about });
    await link(join(work, "tar"), target); // B3: unlike rename it replaces nothing
    await syncPath(dirname(target));
    return { file: target, ...report };
  } catch (cause) {
    if (cause instanceof SchedulerError) throw cause;
    throw new SchedulerError("unavailable", `the backup was not made (${textOf(cause)}): nothing is left of it; mend that and try again`, {
      cause,
    });
  } finally {
    release();
    await rm(work, { recursive: true, force: true });
  }
}

interface TarContent {
  readonly folder: string;
  /** Copies of databases. */
  readonly snapshots: readonly string[];
  readonly draft: string;
  readonly about: BackupAbout;
}

async function writeTar({ folder, snapshots, draft, about }: TarContent): Promise<{ files: number; bytes: number }> {
  const tar = pack();
  const written = pipeline(tar, createWriteStream(draft, { flags: "wx", mode: 0o600, flush: true }));
  written.catch(() => undefined); // awaited below; a failure also ends the entries
  const manifest: string[] = [];
  let bytes = 0;
  const add = async (path: string, name: string) => {
    const size = (await lstat(path)).size;
    manifest.push(`${await addFile(tar, { path, name, size })} ${size} ${name}\n`);
    bytes += size;
  };
  await Promise.race([
    written,
    (async () => {
      await addText(tar, ABOUT_ENTRY, `${JSON.stringify(about)}\n`);
      for (const path of snapshots) await add(path, basename(path));
      for await (const name of filesBelow(folder, "")) await add(join(folder, name), name);
      await addText(tar, MANIFEST_ENTRY, manifest.join(""));
      tar.finalize();
    })(),
  ]);
  await written;
  return { files: manifest.length, bytes };
}

/** Gives the SHA-256 of what went into the tar. */
async function addFile(tar: Pack, { path, name, size }: { path: string; name: string; size: number }): Promise<string> {
  const hash = createHash("sha256");
  const count = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      done(null, chunk);
    },
  });
  await pipeline(createReadStream(path, { highWaterMark: 256 * 1024 }), count, tar.entry({ name, size, mode: 0o600, type: "file" }));
  return hash.digest("hex");
}

function addText(tar: Pack, name: string, text: string): Promise<void> {
  return new Promise((done, fail) =>
    tar.entry({ name, mode: 0o600, type: "file" }, text, (error) => (error === null || error === undefined ? done() : fail(error))),
  );
}

/** Regular files of the backup, below the folder, by name. */
async function* filesBelow(root: string, below: string): AsyncGenerator<string> {
  const entries = await readdir(join(root, below), { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const name = below === "" ? entry.name : `${below}/${entry.name}`;
    const isObject = name.startsWith("objects/objects/");
    if (!isObject && (LEFT_OUT.test(name) || DRAFT.test(name))) continue;
    if (entry.isDirectory()) yield* filesBelow(root, name);
    else if (entry.isFile()) yield name;
  }
}

async function syncPath(path: string): Promise<void> {
  const handle = await open(path, "r");
  await handle.sync().finally(() => handle.close());
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
