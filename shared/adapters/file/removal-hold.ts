/**
 * Keeps every object in place while somebody copies the folder: a copy of the state, taken first, may name any of them.
 *
 * A hold is a file named after its process, so that one left by kill -9 holds nothing.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";

const HOLDS = "holds";

/** From now on removals in the object store at `folder` are refused, in every process. Gives the end of it. */
export function holdRemovals(folder: string): () => void {
  const file = join(folder, HOLDS, String(process.pid));
  mkdirSync(join(folder, HOLDS), { recursive: true, mode: 0o700 });
  writeFileSync(file, "", { mode: 0o600 });
  return () => rmSync(file, { force: true });
}

export async function isHeld(folder: string): Promise<boolean> {
  const names = await readdir(join(folder, HOLDS)).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  });
  return names.some((name) => isAlive(Number(name)));
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
