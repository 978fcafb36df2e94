/**
 * The folder that holds everything the embedded default keeps (`.airavata/`).
 *
 * - One supervisor at a time: `lock` names it by process id and start time, so that a process which got the same id
 *   later is not taken for it, and a lock left by kill -9 or a power cut is taken over.
 * - `format.json` carries the version of what lies here. An older one is migrated (migration.ts); a newer or unknown
 *   one, or a folder that is not ours, is refused.
 */
import { execFileSync } from "node:child_process";
import { linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { SchedulerError } from "#domain/error.ts";
import { formatText, migrate, tidyMigrations, writeWhole } from "./migration.ts";
import { DATA_FORMAT_VERSION, MIGRATIONS } from "./migrations.ts";

export interface DataFolder {
  readonly path: string;
  readonly logs: string;
  /** What only a running system needs; never part of a backup. */
  readonly run: string;
  /** Gives up the lock. */
  release(): void;
}

/** Makes the folder where there is none. Errors: `conflict` (in use), `version-mismatch` (not ours to read). */
export function openDataFolder(path: string, print: (line: string) => void = () => {}): DataFolder {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const lock = join(path, "lock");
  const mine = takeLock(lock, path);
  const release = () => {
    if (readText(lock) === mine) rmSync(lock, { force: true });
  };
  try {
    checkFormat(path, print);
    const [logs, run] = [join(path, "logs"), join(path, "run")];
    for (const folder of [logs, run]) mkdirSync(folder, { recursive: true, mode: 0o700 });
    return { path, logs, run, release };
  } catch (error) {
    release();
    throw error;
  }
}

interface Holder {
  readonly pid: number;
  readonly started: string;
  readonly host: string;
}

const TAKE_TRIES_MAX = 5;

/** Returns the text of our lock. It is linked into place whole: nobody reads half of one, and the first one wins. */
function takeLock(lock: string, folder: string): string {
  const holder: Holder = { pid: process.pid, started: startOf(process.pid) ?? "", host: hostname() };
  const mine = `${JSON.stringify(holder)}\n`;
  const draft = `${lock}.${process.pid}`;
  writeFileSync(draft, mine, { mode: 0o600 });
  try {
    for (let i = 0; i < TAKE_TRIES_MAX; i++) {
      if (linkIfFree(draft, lock)) return mine;
      const theirs = readText(lock);
      if (theirs === undefined) continue;
      if (isHeld(theirs)) throw inUse(theirs, folder);
      clearStale(lock, theirs);
    }
    throw new SchedulerError("conflict", `${folder} is being opened by several processes at once: try again`);
  } finally {
    rmSync(draft, { force: true });
  }
}

/** Moves the stale lock away. When another process was faster and this is its lock, it is put back. */
function clearStale(lock: string, stale: string): void {
  const aside = `${lock}.stale.${process.pid}`;
  try {
    renameSync(lock, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  if (readText(aside) !== stale) linkIfFree(aside, lock);
  rmSync(aside);
}

function isHeld(text: string): boolean {
  const holder = parseHolder(text);
  if (holder === undefined) return false;
  if (holder.host !== hostname()) return true; // another machine's processes can't be seen from here
  return startOf(holder.pid) === holder.started;
}

function inUse(text: string, folder: string): SchedulerError {
  const holder = parseHolder(text);
  const where = holder?.host === hostname() ? "" : ` on ${holder?.host} (if that machine is gone, delete the file named lock in it)`;
  return new SchedulerError(
    "conflict",
    `${folder} is in use by process ${holder?.pid}${where}: stop that process, or choose another folder with --data-dir`,
  );
}

function parseHolder(text: string): Holder | undefined {
  try {
    const { pid, started, host } = JSON.parse(text) as Partial<Holder>;
    return typeof pid === "number" && typeof started === "string" && typeof host === "string" ? { pid, started, host } : undefined;
  } catch {
    return undefined;
  }
}

/** When the process started, in a form that only compares; `undefined` when there is no such process. */
export function startOf(pid: number): string | undefined {
  if (process.platform !== "linux") return startByPs(pid);
  const stat = readText(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  // proc_pid_stat(5): the name stands in parentheses and may hold anything; state is field 3, start time field 22.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" ? undefined : `${readText("/proc/sys/kernel/random/boot_id")?.trim()}:${fields[19]}`;
}

function startByPs(pid: number): string | undefined {
  try {
    return execFileSync("ps", ["-o", "lstart=", "-p", String(pid)], { encoding: "utf8" }).trim() || undefined;
  } catch {
    return undefined;
  }
}

function checkFormat(folder: string, print: (line: string) => void): void {
  const path = join(folder, "format.json");
  const text = readText(path);
  if (text === undefined) {
    const others = readdirSync(folder).filter((name) => !/^(lock|format\.json)/.test(name));
    if (others.length > 0) {
      throw new SchedulerError(
        "version-mismatch",
        `${folder} holds files but no format.json, so it is no data folder of ours: choose another with --data-dir`,
      );
    }
    writeWhole(path, formatText(DATA_FORMAT_VERSION));
    return;
  }
  const version = readFormat(text);
  if (version === undefined) {
    throw new SchedulerError(
      "version-mismatch",
      `${path} is damaged, so nobody knows what lies there: restore the folder from a backup, or choose another with --data-dir`,
    );
  }
  if (version > DATA_FORMAT_VERSION) {
    throw new SchedulerError(
      "version-mismatch",
      `${folder} was written by a newer release (data format ${version}, this one reads up to ${DATA_FORMAT_VERSION}): ` +
        "install that release, or choose another folder with --data-dir",
    );
  }
  migrate({ folder, version, steps: MIGRATIONS, print });
  tidyMigrations(folder, DATA_FORMAT_VERSION);
}

/** The version in the text of a `format.json`; `undefined` when there is none to be had from it. */
export function readFormat(text: string): number | undefined {
  try {
    const { version } = JSON.parse(text) as { version?: unknown };
    return typeof version === "number" && Number.isInteger(version) && version >= 1 ? version : undefined;
  } catch {
    return undefined;
  }
}

/** Who has the folder open now, in words; `undefined` when nobody has. */
export function whoHolds(folder: string): string | undefined {
  const text = readText(join(folder, "lock"));
  if (text === undefined || !isHeld(text)) return undefined;
  const holder = parseHolder(text);
  return `process ${holder?.pid}${holder?.host === hostname() ? "" : ` on ${holder?.host}`}`;
}

function linkIfFree(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
}
