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
  text(): string;
}

/** Keeps the last `bytesMax` bytes; holds at most one chunk more. */
export function createTail(bytesMax: number): Tail {
  let chunks: Buffer[] = [];
  let bytes = 0;
  let truncated = false;
  return {
    push(chunk) {
      if (chunk.length >= bytesMax) {
        truncated ||= bytes > 0 || chunk.length > bytesMax;
        chunks = [Buffer.from(chunk.subarray(chunk.length - bytesMax))]; // a copy: the pool behind the chunk can go
        bytes = bytesMax;
        return;
      }
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes < 2 * bytesMax && chunks.length < 256) return;
      const all = Buffer.concat(chunks);
      truncated ||= all.length > bytesMax;
      chunks = [Buffer.from(all.subarray(Math.max(0, all.length - bytesMax)))];
      bytes = chunks[0]?.length ?? 0;
    },
    text() {
      const all = chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
      let start = Math.max(0, all.length - bytesMax);
      // A character cut in two at the front is left out.
      if (truncated || start > 0) for (let cut = 0; cut < 3 && ((all[start] ?? 0) & 0xc0) === 0x80; cut++) start++;
      return all.toString("utf8", start);
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

function startChild({ command, cwd, environment, cgroupEntrance }: Program): ChildProcess {
  const [file, ...args] = cgroupEntrance === undefined ? command : (["/bin/sh", "-c", ENTER_AND_RUN, cgroupEntrance, ...command] as const);
  try {
    return spawn(file, args, { cwd, env: environment, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    throw startError(file, error);
  }
}

function startError(file: string, error: unknown): Error {
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
    throw startError(program.command[0], error);
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
