/**
 * Space of the file system that a folder lies on. A shortage begins below the reserve and ends a quarter above it, so that
 * work does not start and stop with every file.
 */
import { statfsSync } from "node:fs";
import type { Space } from "#ports/space.ts";

const LOOK_EVERY_MS = 1_000;
const ENOUGH = 1.25;

/** `freeBytes` is for tests. */
export function createDiskSpace(folder: string, reserveBytes: number, freeBytes = freeBytesOf): Space {
  let lookedMs = Number.NEGATIVE_INFINITY;
  let free = 0;
  let isShort = false;
  return {
    shortage() {
      const now = performance.now();
      if (now - lookedMs >= LOOK_EVERY_MS) {
        lookedMs = now;
        // A folder that can't be asked is not called full: whoever uses it says what is wrong with it.
        free = freeBytes(folder) ?? Number.POSITIVE_INFINITY;
        isShort = free < reserveBytes * (isShort ? ENOUGH : 1);
      }
      return isShort ? { freeBytes: free, reserveBytes } : undefined;
    },
  };
}

/** Without what only the superuser may use. A file system that is out of inodes has nothing free. */
export function freeBytesOf(folder: string): number | undefined {
  try {
    const { bavail, bsize, files, ffree } = statfsSync(folder);
    return files > 0 && ffree === 0 ? 0 : bavail * bsize;
  } catch {
    return undefined;
  }
}
