/**
 * Brings an older data folder to the format of this release, step by step, whatever kills it meanwhile.
 *
 * M1 A step begins from the files that the last format left: those that it rewrites are copied first, and a copy that is
 *    found at the next start is put back before the step begins again.
 * M2 `format.json` moves on only when the step has ended; everything else that a step does may be done twice.
 * M3 A step that fails puts the copies back: the release that wrote the folder can still use it.
 */
import { copyFileSync, existsSync, fsyncSync, mkdirSync, openSync, closeSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { SchedulerError } from "#domain/error.ts";

export interface Migration {
  /** Leads from this format to the next. */
  readonly from: number;
  /** What changes, for people. */
  readonly what: string;
  /** Files that it rewrites, below the folder; one that is not there was not there before either. */
  readonly rewrites: readonly string[];
  readonly run: (folder: string) => void;
}

/** Name of the file that says the copies are complete. */
const COMPLETE = "complete";

export interface MigrationOptions {
  readonly folder: string;
  readonly version: number;
  readonly steps: readonly Migration[];
  readonly print: (line: string) => void;
}

/** Runs the steps from `version` on. Throws `version-mismatch` when one fails; the folder is then as it was before that step. */
export function migrate({ folder, version, steps, print }: MigrationOptions): void {
  for (const step of steps.filter((s) => s.from >= version)) {
    print(`${folder}: from data format ${step.from} to ${step.from + 1}: ${step.what}`);
    const saved = savedFolder(folder, step.from);
    if (existsSync(join(saved, COMPLETE)))
      putBack(folder, saved, step); // M1
    else copyFiles(folder, saved, step);
    try {
      step.run(folder);
    } catch (cause) {
      putBack(folder, saved, step); // M3
      rmSync(saved, { recursive: true });
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new SchedulerError(
        "version-mismatch",
        `${folder} could not be brought from data format ${step.from} to ${step.from + 1} (${why}); it is as it was: ` +
          "mend the cause and start again, or use the release that wrote it",
        { cause },
      );
    }
    writeWhole(join(folder, "format.json"), formatText(step.from + 1)); // M2
    rmSync(saved, { recursive: true });
  }
}

/** What a step that had ended could not tidy up any more. */
export function tidyMigrations(folder: string, version: number): void {
  for (let from = 1; from < version; from++) rmSync(savedFolder(folder, from), { recursive: true, force: true });
}

export const formatText = (version: number): string => `${JSON.stringify({ version })}\n`;

const savedFolder = (folder: string, from: number): string => join(folder, `migration-${from}`);

function copyFiles(folder: string, saved: string, step: Migration): void {
  rmSync(saved, { recursive: true, force: true }); // half a copy of an earlier try
  mkdirSync(saved, { recursive: true, mode: 0o700 });
  for (const name of step.rewrites) {
    if (!existsSync(join(folder, name))) continue;
    mkdirSync(dirname(join(saved, name)), { recursive: true, mode: 0o700 });
    copyFileSync(join(folder, name), join(saved, name));
    syncPath(join(saved, name));
  }
  writeWhole(join(saved, COMPLETE), "");
}

function putBack(folder: string, saved: string, step: Migration): void {
  for (const name of step.rewrites) {
    const target = join(folder, name);
    if (!existsSync(join(saved, name))) rmSync(target, { force: true, recursive: true });
    else {
      copyFileSync(join(saved, name), `${target}.restored`);
      syncPath(`${target}.restored`);
      renameSync(`${target}.restored`, target);
    }
  }
}

/** All of the text under the name or nothing of it, also after a power cut. */
export function writeWhole(path: string, text: string): void {
  const draft = `${path}.${process.pid}`;
  writeFileSync(draft, text, { mode: 0o600, flush: true });
  renameSync(draft, path);
  syncPath(dirname(path));
}

function syncPath(path: string): void {
  const handle = openSync(path, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
