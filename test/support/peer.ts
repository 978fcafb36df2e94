/** A child process that answers lines of JSON, one for each line it is told. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export interface Peer extends AsyncDisposable {
  /** Resolves with the answer; calls are answered in order. Rejects when the process ends first. */
  tell(command: unknown): Promise<unknown>;
  /** kill -9, resolved when the process is gone. */
  kill(): Promise<void>;
}

/** Starts `script` (a file of this folder) with one JSON argument and waits for its first line. */
export async function startPeer(script: string, argument: unknown): Promise<Peer> {
  const child = spawn(process.execPath, [fileURLToPath(new URL(script, import.meta.url)), JSON.stringify(argument)], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async (): Promise<unknown> => {
    const line = await answers.next();
    if (line.done === true) throw new Error(`${script} ended`);
    return JSON.parse(line.value) as unknown;
  };
  await answer();
  child.stdin.on("error", () => undefined); // a command to a process just killed
  let last: Promise<unknown> = Promise.resolve();
  const kill = (): Promise<void> => killed(child);
  return {
    tell(command) {
      child.stdin.write(`${JSON.stringify(command)}\n`);
      last = last.then(answer);
      // The caller may be busy killing the process when this rejects: it sees it when it awaits the answer.
      last.catch(() => undefined);
      return last;
    },
    kill,
    [Symbol.asyncDispose]: kill,
  };
}

function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.kill("SIGKILL");
  });
}
