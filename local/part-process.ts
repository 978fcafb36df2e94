/** One run of one part: a child process from its start over its readiness to its end. */
import { type ChildProcess, spawn } from "node:child_process";
import { parseReadyLine, type ReadyFacts } from "./child.ts";

export interface Command {
  readonly command: string;
  readonly args: readonly string[];
  /** Added to our own environment. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface PartEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** What we know beyond that: it could not be started, or was killed because it did not get ready. */
  readonly failure: string | undefined;
  readonly lastErrors: readonly string[];
}

export interface PartProcess {
  /** `undefined` when it could not be started. */
  readonly pid: number | undefined;
  /** `undefined` when it ended before it was ready. Never rejects. */
  readonly ready: Promise<ReadyFacts | undefined>;
  /** Never rejects. Nothing of the part runs any more, processes that it left behind in its group included. */
  readonly ended: Promise<PartEnd>;
  /** SIGTERM, and SIGKILL when that did not help within `graceMs`. */
  stop(graceMs: number): Promise<PartEnd>;
}

export interface PartRun extends Command {
  readonly readyWithinMs: number;
  /** Reads a line of stdout or stderr; `undefined`: not the one that says "ready". */
  readonly parseReady?: (line: string) => ReadyFacts | undefined;
  readonly output: (chunk: Uint8Array) => void;
}

const ERROR_LINES_KEPT = 8;
const LINE_CHARS_MAX = 4_096;
/** How long after its end the rest of what a process wrote may take to arrive. */
const DRAIN_MS = 200;

/**
 * stdin is a pipe that we never write to: its closing tells the child that we are gone (see child.ts). The child leads
 * a process group of its own, so that Ctrl-C at a terminal reaches only us and parts end in the right order.
 */
export function startPart(run: PartRun): PartProcess {
  const child = spawn(run.command, [...run.args], { stdio: ["pipe", "pipe", "pipe"], detached: true, env: { ...process.env, ...run.env } });
  const lastErrors: string[] = [];
  let failure: string | undefined;
  const ready = Promise.withResolvers<ReadyFacts | undefined>();
  const parse = run.parseReady ?? parseReadyLine;
  const timer = setTimeout(() => {
    failure = `not ready within ${run.readyWithinMs / 1000} s`;
    killGroup(child);
  }, run.readyWithinMs);
  const isReady = (line: string) => {
    const facts = parse(line);
    if (facts === undefined) return;
    clearTimeout(timer);
    ready.resolve(facts);
  };
  child.stdin.on("error", () => {}); // EPIPE of a child that is gone
  child.stdout.on("data", run.output).on("data", eachLine(isReady));
  child.stderr.on("data", run.output).on(
    "data",
    eachLine((line) => {
      isReady(line);
      lastErrors.push(line);
      if (lastErrors.length > ERROR_LINES_KEPT) lastErrors.shift();
    }),
  );
  const ended = endOf(child).then(({ code, signal, error }): PartEnd => {
    clearTimeout(timer);
    ready.resolve(undefined);
    return { code, signal, failure: error ?? failure, lastErrors };
  });
  return {
    pid: child.pid,
    ready: ready.promise,
    ended,
    async stop(graceMs) {
      child.kill("SIGTERM");
      const force = setTimeout(() => killGroup(child), graceMs);
      return ended.finally(() => clearTimeout(force));
    },
  };
}

/** The end in words: `exit code 1`, `signal SIGSEGV`. */
export function describeEnd({ code, signal, failure }: PartEnd): string {
  const how = signal !== null ? `signal ${signal}` : code !== null ? `exit code ${code}` : "not started";
  return failure === undefined ? how : `${failure} (${how})`;
}

async function endOf(child: ChildProcess): Promise<{ code: number | null; signal: NodeJS.Signals | null; error?: string }> {
  const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const end = await new Promise<{ code: number | null; signal: NodeJS.Signals | null; error?: string }>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
    child.once("error", (error) => {
      if (child.pid === undefined) resolve({ code: null, signal: null, error: error.message });
    });
  });
  killGroup(child); // strays: they would hold ports and files that the next run needs
  if (child.pid !== undefined) await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, DRAIN_MS))]);
  return end;
}

function killGroup(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // nobody left in the group
  }
}

/** Longer lines are cut into pieces. */
function eachLine(take: (line: string) => void): (chunk: Buffer) => void {
  const decoder = new TextDecoder();
  let rest = "";
  return (chunk) => {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) take(line.trimEnd().slice(0, LINE_CHARS_MAX));
    if (rest.length > LINE_CHARS_MAX) {
      take(rest.slice(0, LINE_CHARS_MAX));
      rest = "";
    }
  };
}
