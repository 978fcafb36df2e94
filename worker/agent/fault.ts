/** The two ways an attempt ends without its script's doing: staging failed (the task's), or this machine did (the worker's). */

export class StagingError extends Error {
  override readonly name = "StagingError";
}

export class MachineError extends Error {
  override readonly name = "MachineError";
}

/** The machine refuses to make or write our own files and processes: another worker may well succeed. */
const MACHINE_CODES = new Set([
  "EMFILE",
  "ENFILE",
  "ENOSPC",
  "EDQUOT",
  "EROFS",
  "EACCES",
  "EPERM",
  "EIO",
  "ENOMEM",
  "EAGAIN",
  "ESTALE",
  "ENODEV",
  "ENXIO",
]);

export function codeOf(error: unknown): string {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return typeof code === "string" ? code : "";
}

export function textOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === "") return error.errors.map(textOf).join("; ");
  return error instanceof Error ? error.message : String(error);
}

export function isMachineCode(code: string): boolean {
  return MACHINE_CODES.has(code);
}

/** Use around work on our own directories: any error of the file system there is the machine's. */
export function machineError(what: string, error: unknown): Error {
  if (error instanceof StagingError || error instanceof MachineError) return error;
  return new MachineError(`${what}: ${textOf(error)}`, { cause: error });
}
