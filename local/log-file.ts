/** The output of one part in a file of bounded size: `queue.log`, and older ones as `queue.log.1` … `queue.log.3`. */
import { closeSync, fstatSync, openSync, renameSync, rmSync, writeSync } from "node:fs";

export const LOG_BYTES_MAX = 10 * 1024 * 1024;
export const LOG_FILES_KEPT = 3;

export interface LogFile {
  /** Appends. A full disk loses the chunk and is reported once; it never stops the part. */
  write(chunk: Uint8Array): void;
  close(): void;
}

export interface LogFileOptions {
  readonly path: string;
  /** Told about trouble with the file, once until it works again. */
  readonly report: (message: string) => void;
  readonly bytesMax?: number;
  readonly filesKept?: number;
}

export function openLogFile({ path, report, bytesMax = LOG_BYTES_MAX, filesKept = LOG_FILES_KEPT }: LogFileOptions): LogFile {
  let file = openSync(path, "a", 0o600);
  let bytes = fstatSync(file).size;
  let isTroubled = false;
  let isClosed = false;

  function rotate(): void {
    closeSync(file);
    rmSync(`${path}.${filesKept}`, { force: true });
    for (let n = filesKept - 1; n >= 0; n--) renameIfThere(n === 0 ? path : `${path}.${n}`, `${path}.${n + 1}`);
    file = openSync(path, "a", 0o600);
    bytes = 0;
  }

  return {
    write(chunk) {
      if (isClosed) return;
      try {
        if (bytes > 0 && bytes + chunk.length > bytesMax) rotate();
        bytes += writeSync(file, chunk);
        isTroubled = false;
      } catch (error) {
        if (!isTroubled) report(`${path} can't be written (${error instanceof Error ? error.message : String(error)}): lines are lost`);
        isTroubled = true;
      }
    },
    close() {
      if (!isClosed) closeSync(file);
      isClosed = true;
    },
  };
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}
