/** Starts a program as the leader of its own session and process group, and reads its pipes to their end whatever they hold. */
import { type ChildProcess, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import type { LogStream } from "#domain/task-log.ts";
import { codeOf, isMachineCode, MachineError, textOf } from "./fault.ts";
import { DRAIN_AFTER_EXIT_MS } from "./limits.ts";
import { createLogBuffer, type LogBuffer } from "./log-buffer.ts";
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
  /** What it has written so far. */
  readonly logs: Logs;
  /** All who could write are gone and `logs` is whole. Call after `ended`. */
  drained(): Promise<void>;
}

export type Logs = { readonly [S in LogStream]: LogBuffer };

function drain(stream: Readable): { readonly log: LogBuffer; readonly closed: Promise<void> } {
  const log = createLogBuffer();
  stream.on("data", log.push);
  const closed = new Promise<void>((resolve) => {
    stream.on("close", resolve);
    stream.on("error", () => undefined); // "close" follows
  });
  return { log, closed };
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
    logs: { stdout: out.log, stderr: err.log },
    async drained() {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, DRAIN_AFTER_EXIT_MS);
      });
      await Promise.race([Promise.all([out.closed, err.closed]), late]);
      clearTimeout(timer);
      // Whoever still holds them gets SIGPIPE or EPIPE from now on.
      stdout.destroy();
      stderr.destroy();
    },
  };
}
