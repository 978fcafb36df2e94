/**
 * What a process that the supervisor starts has to do: say when it is ready, and end when its supervisor does.
 *
 * The supervisor holds the write end of every child's stdin. The kernel closes it when the supervisor ends, however
 * it ends (kill -9 included), and the child then reads end-of-file.
 */
import { fstatSync } from "node:fs";

/** Ends this process when the supervisor is gone. Does nothing without a pipe for stdin: then it was started by hand. */
export function exitWithParent(leave: () => void = () => process.exit(0)): void {
  if (!isPipe(0)) return;
  let left = false;
  const once = () => {
    if (left) return;
    left = true;
    leave();
  };
  process.stdin.on("end", once).on("close", once).on("error", once);
  process.stdin.resume();
  // Held by nobody else: a child whose work is done may still end by itself.
  if ("unref" in process.stdin && typeof process.stdin.unref === "function") process.stdin.unref();
}

/** Node gives a child a socket pair, a shell a FIFO. */
function isPipe(descriptor: number): boolean {
  try {
    const stat = fstatSync(descriptor);
    return stat.isFIFO() || stat.isSocket();
  } catch {
    return false; // closed
  }
}

/** What a part tells those that depend on it, such as its port. */
export type ReadyFacts = Readonly<Record<string, string | number | boolean>>;

/** Prints the line that the supervisor waits for. */
export function announceReady(facts: ReadyFacts): void {
  process.stdout.write(`${JSON.stringify({ ready: true, ...facts })}\n`);
}

/** Reads {@link announceReady}'s line; `undefined` when it is another one. */
export function parseReadyLine(line: string): ReadyFacts | undefined {
  if (!line.startsWith('{"ready":true')) return undefined;
  try {
    const { ready: _, ...facts } = JSON.parse(line) as ReadyFacts;
    return facts;
  } catch {
    return undefined;
  }
}

/** Runs a program that knows nothing of us so that it ends with its parent too: a shell watches stdin in its place. */
export function guardedCommand(command: string, args: readonly string[]): { command: string; args: readonly string[] } {
  return { command: "/bin/sh", args: ["-c", GUARD, command, command, ...args] };
}

/**
 * `wait` returns early when a trapped signal arrives, hence the loop. A background job's stdin is /dev/null in a
 * shell without job control, hence descriptor 3.
 */
const GUARD = `
exec 3<&0 </dev/null
"$@" 3<&- &
pid=$!
trap 'kill -TERM $pid 2>/dev/null' TERM INT
( read -r _ <&3; kill -KILL $pid 2>/dev/null ) >/dev/null 2>&1 &
guard=$!
exec 3<&-
wait $pid; code=$?
while kill -0 $pid 2>/dev/null; do wait $pid; code=$?; done
kill -KILL $guard 2>/dev/null
exit $code
`;
