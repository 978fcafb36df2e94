/**
 * The directory of one attempt: `<workDir>/<lease>/<index>`, the task's working directory, removed at its end.
 *
 * Ours inside it is `.airavata/` (the script, and temporary files: TMPDIR). The path of a short task is kept to few calls, none of which
 * blocks the event loop: one mkdir for all folders, one write for the script, three removals.
 */
import { chmod, lstat, mkdir, readdir, rm, rmdir, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { codeOf, machineError, StagingError } from "./fault.ts";
import { KEPT_DIRECTORIES_MAX, SHEBANG_BYTES_MAX } from "./limits.ts";
import { killLeftovers } from "./orphans.ts";

export const OWN_FOLDER = ".airavata";
export const DIRECTORY_VARIABLE = "AIRAVATA_ATTEMPT_DIR";

export interface Sandbox {
  readonly dir: string;
  readonly temporary: string;
  /** Program and arguments that run the script. */
  readonly command: readonly [string, ...string[]];
  /** Removes it. `keep`: leaves it for the user to look at. Problems are returned, not thrown. */
  close(keep: boolean): Promise<string | undefined>;
}

export interface Sandboxes {
  /** @throws MachineError */
  open(place: { readonly lease: string; readonly index: number }, script: string): Promise<Sandbox>;
}

/** A place below the attempt's directory, without `./` and doubled slashes. @throws StagingError when it is not one */
export function normalizePlace(path: string, what: string): string {
  const refuse = (why: string): StagingError => new StagingError(`${what}: path ${JSON.stringify(path)} ${why}`);
  if (path.includes("\0")) throw refuse("holds a zero byte");
  if (path.startsWith("/")) throw refuse("must be relative to the task's directory");
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.length === 0) throw refuse("names no file");
  if (parts.includes("..")) throw refuse("must not hold ..");
  if (parts[0] === OWN_FOLDER) throw refuse("is reserved");
  return parts.join("/");
}

/**
 * What the kernel would make of the first line: interpreter and at most one argument; /bin/sh without one. Done here so that
 * scripts run where the work directory is mounted noexec, and a missing interpreter is told apart from a missing script.
 */
export function commandOf(script: string, path: string): [string, ...string[]] {
  if (!script.startsWith("#!")) return ["/bin/sh", path];
  const end = script.indexOf("\n");
  const line = script
    .slice(2, end === -1 ? undefined : end)
    .slice(0, SHEBANG_BYTES_MAX)
    .trim();
  const [, interpreter, argument] = /^(\S+)(?:\s+(.*))?$/s.exec(line) ?? [];
  if (interpreter === undefined) return ["/bin/sh", path];
  return argument === undefined || argument === "" ? [interpreter, path] : [interpreter, argument, path];
}

/** Removes a tree even where the task took away its own permissions. */
export async function removeTree(path: string): Promise<void> {
  const remove = (): Promise<void> => rm(path, { recursive: true, force: true, maxRetries: 3, retryDelay: 20 });
  try {
    await remove();
  } catch (error) {
    if (!["EACCES", "EPERM", "ENOTEMPTY"].includes(codeOf(error))) throw error;
    await openFolders(path);
    await remove();
  }
}

async function openFolders(path: string): Promise<void> {
  if (!(await lstat(path)).isDirectory()) return;
  await chmod(path, 0o700);
  for (const entry of await readdir(path, { withFileTypes: true })) if (entry.isDirectory()) await openFolders(join(path, entry.name));
}

/** The lease's name as one folder name; distinct leases stay distinct. */
export function folderOf(lease: string): string {
  const name = lease.replaceAll("%", "%25").replaceAll("/", "%2F").replaceAll("\0", "%00");
  return name.startsWith(".") || name === "" ? `%${name}` : name;
}

/** `true` when nothing but ours was in it. */
async function removeBare(dir: string): Promise<boolean> {
  try {
    await unlink(`${dir}/${OWN_FOLDER}/script`);
    await rmdir(`${dir}/${OWN_FOLDER}`);
    await rmdir(dir);
    return true;
  } catch {
    return false;
  }
}

export function createSandboxes(workDir: string): Sandboxes {
  /** Attempts open in each lease's folder: the last one out removes it. */
  const open = new Map<string, number>();
  const kept: string[] = [];

  async function enter(parent: string, dir: string): Promise<void> {
    open.set(parent, (open.get(parent) ?? 0) + 1);
    const temporary = `${dir}/${OWN_FOLDER}`;
    for (let tries = 1; ; tries++) {
      try {
        // Gives the first folder it had to make: one below `dir` means that an earlier life has left something there.
        const first = await mkdir(temporary, { recursive: true, mode: 0o700 });
        if (first !== undefined && dir.startsWith(first)) return;
        await removeTree(dir);
      } catch (error) {
        // The last attempt of the same lease has removed the parent just now.
        if (codeOf(error) !== "ENOENT" || tries >= 5) throw error;
      }
      if (tries >= 5) throw new Error(`${dir} is not to be emptied`);
    }
  }

  async function leave(parent: string): Promise<void> {
    const left = (open.get(parent) ?? 1) - 1;
    if (left > 0) {
      open.set(parent, left);
      return;
    }
    open.delete(parent);
    await rmdir(parent).catch(() => undefined); // kept attempts may be inside
  }

  async function keepDirectory(dir: string): Promise<void> {
    kept.push(dir);
    const oldest = kept.length > KEPT_DIRECTORIES_MAX ? kept.shift() : undefined;
    if (oldest !== undefined) await removeTree(oldest);
  }

  return {
    async open({ lease, index }, script) {
      const parent = join(workDir, folderOf(lease));
      const dir = join(parent, String(index));
      const close = async (keep: boolean): Promise<string | undefined> => {
        try {
          if (keep) await keepDirectory(dir);
          else if (!(await removeBare(dir))) await removeTree(dir);
          return undefined;
        } catch (error) {
          return `${dir}: ${machineError("cannot be removed", error).message}`;
        } finally {
          await leave(parent);
        }
      };
      const path = `${dir}/${OWN_FOLDER}/script`;
      try {
        await enter(parent, dir);
        await writeFile(path, script, { mode: 0o700, flag: "wx" });
      } catch (error) {
        await close(false);
        throw machineError("the attempt's directory cannot be made", error);
      }
      return { dir, temporary: `${dir}/${OWN_FOLDER}`, command: commandOf(script, path), close };
    },
  };
}

/**
 * Kills and removes what an earlier life of this agent left in `workDir`. Only for an agent that knows that no other uses the
 * same directory.
 */
export async function clearWorkDir(workDir: string): Promise<void> {
  await killLeftovers(workDir, DIRECTORY_VARIABLE);
  let names: string[];
  try {
    names = await readdir(workDir);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return;
    throw error;
  }
  for (const name of names) await removeTree(join(workDir, name));
}

/** Bytes the tree occupies (allocated blocks, so a sparse file counts for what it holds). Files that vanish meanwhile are skipped. */
export async function measureTree(path: string, signal: AbortSignal): Promise<number> {
  let bytes = 0;
  const folders = [path];
  for (let folder = folders.pop(); folder !== undefined && !signal.aborted; folder = folders.pop()) {
    const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
    for (const entry of entries) {
      const below = join(folder, entry.name);
      if (entry.isDirectory()) folders.push(below);
      const facts = await lstat(below).catch(() => undefined);
      bytes += (facts?.blocks ?? 0) * 512;
    }
  }
  return bytes;
}
