/** `airavata`: the command line. Commands are loaded when they are called. Errors go to stderr and say what to do. */
import { RemoteError } from "#api/problem.ts";
import { SchedulerError } from "#domain/error.ts";
import { Command, CommanderError } from "commander";
import { EXIT, MEANINGS } from "./exit-code.ts";
import { clean } from "./output.ts";
import { addCommands } from "./program.ts";
import type { Io } from "./session.ts";

const INTERRUPTED = 130;

/** Lines for stderr. Complaints stand as `line:column: path: message`, the way editors read them. */
function explain(error: unknown): string[] {
  if (!(error instanceof SchedulerError)) {
    const text = error instanceof Error ? error.message : String(error);
    return [`error: ${text}`];
  }
  const where = error.complaints.map(({ line, column, path, message }) => {
    const at = line === undefined ? "" : `${line}:${column ?? 1}: `;
    return `  ${at}${path === "" ? "" : `${path}: `}${message}`;
  });
  const request =
    error instanceof RemoteError && error.status >= 500 && error.requestId !== undefined ? [`  request ${error.requestId}`] : [];
  const { hint } = MEANINGS[error.kind];
  return [`error: ${error.message}`, ...where, ...request, ...(hint === undefined ? [] : [`hint: ${hint}`])];
}

async function run(io: Io, argv: readonly string[]): Promise<number> {
  const interrupted = new AbortController();
  process.once("SIGINT", () => interrupted.abort());
  process.once("SIGTERM", () => interrupted.abort());
  let exit: number = EXIT.done;
  const program = new Command("airavata");
  addCommands(program, { io, signal: interrupted.signal, done: (code) => (exit = code) });
  try {
    await program.parseAsync(argv, { from: "user" });
    return interrupted.signal.aborted ? INTERRUPTED : exit;
  } catch (error) {
    if (interrupted.signal.aborted) return INTERRUPTED;
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    for (const line of explain(error)) io.stderr.write(`${clean(line)}\n`);
    return error instanceof SchedulerError ? MEANINGS[error.kind].exit : EXIT.failed;
  }
}

// `airavata experiment list | head` closes the pipe: that is no error.
process.stdout.on("error", (error) => {
  if ("code" in error && error.code === "EPIPE") process.exit(EXIT.done);
  throw error;
});

process.exitCode = await run(
  { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr, env: process.env },
  process.argv.slice(2),
);
