/** Starts a program as the leader of its own session and process group, and reads its pipes to their end whatever they hold. */
import { type ChildProcess, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { codeOf, isMachineCode, MachineError, textOf } from "./fault.ts";
import { DRAIN_AFTER_EXIT_MS, OUTPUT_TAIL_BYTES_MAX } from "./limits.ts";
import { signalProcess } from "./process-table.ts";

/** The script's own fault: no such interpreter, not a program, too long an environment. */
export class StartError extends Error {
  override readonly name = "StartError";
}

export interface Ending {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  /** CPU of the leader and all it waited for, where the starter knows. */
  readonly cpuMs?: number;
  /** Others of the group were alive, and have been killed. */
  readonly othersKilled?: boolean;
  /** The starter is gone: how the program ended, or whether, is not known. */
  readonly lost?: boolean;
}

export interface ProcessGroup {
  /** The leader's, and so the group's. */
  readonly pid: number;
  /** The leader has ended and is reaped; the rest of the group may live. */
  readonly ended: Promise<Ending>;
  signal(signal: NodeJS.Signals): void;
  /** The last output, once all who could write are gone. Call after `ended`. */
  readTails(): Promise<{ readonly stdout: string; readonly stderr: string }>;
}

export interface Tail {
  push(chunk: Buffer): void;
  endsWith(end: Buffer): boolean;
  /** Without `end`, where it is the end. */
  text(end?: Buffer): string;
}

/** Keeps the last `bytesMax` bytes, and an end of `endBytes` behind them; holds at most as much again. */
export function createTail(bytesMax: number, endBytes = 0): Tail {
  const heldMax = bytesMax + endBytes;
  let chunks: Buffer[] = [];
  let bytes = 0;
  let truncated = false;
  const keep = (all: Buffer): void => {
    truncated ||= all.length > heldMax;
    chunks = [Buffer.from(all.subarray(Math.max(0, all.length - heldMax)))]; // a copy: the pool behind the chunk can go
    bytes = Math.min(all.length, heldMax);
  };
  const joined = (): Buffer => {
    if (chunks.length !== 1) chunks = [Buffer.concat(chunks)];
    return chunks[0] as Buffer;
  };
  const endsWith = (end: Buffer): boolean => bytes >= end.length && joined().subarray(-end.length).equals(end);
  return {
    push(chunk) {
      truncated ||= bytes > 0 && chunk.length >= heldMax;
      if (chunk.length >= heldMax) return keep(chunk);
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes >= 2 * heldMax || chunks.length >= 256) keep(joined());
    },
    endsWith,
    text(end) {
      const all = joined();
      const stop = end !== undefined && endsWith(end) ? all.length - end.length : all.length;
      let start = Math.max(0, stop - bytesMax);
      // A character cut in two at the front is left out.
      if (truncated || start > 0) for (let cut = 0; cut < 3 && ((all[start] ?? 0) & 0xc0) === 0x80; cut++) start++;
      return all.toString("utf8", start, stop);
    },
  };
}

function drain(stream: Readable): { readonly tail: Tail; readonly closed: Promise<void> } {
  const tail = createTail(OUTPUT_TAIL_BYTES_MAX);
  stream.on("data", (chunk: Buffer) => tail.push(chunk));
  const closed = new Promise<void>((resolve) => {
    stream.on("close", resolve);
    stream.on("error", () => undefined); // "close" follows
  });
  return { tail, closed };
}

export interface Program {
  readonly command: readonly [string, ...string[]];
  readonly cwd: string;
  readonly environment: Readonly<Record<string, string>>;
  /** See cgroup.ts. */
  readonly cgroupEntrance?: string | undefined;
}

/** Enters the cgroup before the program exists; where that fails, the program runs sampled instead. */
const ENTER_AND_RUN = 'echo 0 2>/dev/null >"$0"; exec "$@"';

export function commandLine({ command, cgroupEntrance }: Program): readonly [string, ...string[]] {
  return cgroupEntrance === undefined ? command : ["/bin/sh", "-c", ENTER_AND_RUN, cgroupEntrance, ...command];
}

function startChild(program: Program): ChildProcess {
  const [file, ...args] = commandLine(program);
  try {
    return spawn(file, args, { cwd: program.cwd, env: program.environment, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    throw startErrorOf(file, error);
  }
}

export function startErrorOf(file: string, error: unknown): Error {
  const code = codeOf(error);
  // EACCES and EPERM are the interpreter's here: our own directory has just been made.
  if (isMachineCode(code) && code !== "EACCES" && code !== "EPERM")
    return new MachineError(`cannot start a process: ${textOf(error)}`, { cause: error });
  const reasons: Record<string, string> = {
    ENOENT: `the script's interpreter ${file} does not exist on this worker`,
    EACCES: `the script's interpreter ${file} may not be executed`,
    E2BIG: "the parameters and environment are too long for a process",
  };
  return new StartError(reasons[code] ?? `the script cannot be started by ${file}: ${textOf(error)}`, { cause: error });
}

/** @throws StartError @throws MachineError */
export async function startGroup(program: Program): Promise<ProcessGroup> {
  const child = startChild(program);
  const { pid, stdout, stderr } = child;
  if (pid === undefined || stdout === null || stderr === null) {
    const error = await new Promise((resolve) => child.once("error", resolve));
    throw startErrorOf(program.command[0], error);
  }
  child.on("error", () => undefined); // a signal that could not be sent: the group is dead already
  const out = drain(stdout);
  const err = drain(stderr);
  const ended = new Promise<Ending>((resolve) => child.once("exit", (exitCode, signal) => resolve({ exitCode, signal })));
  return {
    pid,
    ended,
    signal: (signal) => void signalProcess(-pid, signal),
    async readTails() {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, DRAIN_AFTER_EXIT_MS);
      });
      await Promise.race([Promise.all([out.closed, err.closed]), late]);
      clearTimeout(timer);
      // Whoever still holds them gets SIGPIPE or EPIPE from now on.
      stdout.destroy();
      stderr.destroy();
      return { stdout: out.tail.text(), stderr: err.tail.text() };
    },
  };
}
