/** The embedded authorization engine as a child process on files of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseReadyLine } from "../../local/child.ts";

const PROGRAM = fileURLToPath(new URL("../../local/authorization-engine.ts", import.meta.url));

export interface EngineProcess extends AsyncDisposable {
  readonly endpoint: string;
  readonly presharedKey: string;
  readonly folder: string;
  /** Ends the process with the signal and waits for it. */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same files and the same port. */
  restart(): Promise<void>;
  /** Closes its stdin, as the kernel does when its supervisor dies, and returns how it ended. */
  orphan(): Promise<number | null>;
}

export async function startEngineProcess(): Promise<EngineProcess> {
  const folder = mkdtempSync(join(tmpdir(), "authorization-"));
  let { child, port } = await launch(folder, 0);
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
  };
  return {
    endpoint: `127.0.0.1:${port}`,
    presharedKey: readFileSync(join(folder, "key"), "utf8"),
    folder,
    kill: end,
    async restart() {
      ({ child, port } = await launch(folder, port));
    },
    async orphan() {
      const ended = once(child, "exit");
      child.stdin?.end();
      return (await ended)[0] as number | null;
    },
    async [Symbol.asyncDispose]() {
      await end("SIGTERM");
      rmSync(folder, { recursive: true, force: true });
      rmSync(join(tmpdir(), `spicedb-streaming-${child.pid}-1.sock`), { force: true }); // what kill -9 leaves
    },
  };
}

async function launch(folder: string, port: number): Promise<{ child: ChildProcess; port: number }> {
  const args = [PROGRAM, "--journal", join(folder, "relationships.sqlite"), "--key-file", join(folder, "key"), "--port", String(port)];
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "pipe"] });
  let errors = "";
  child.stderr.on("data", (text: Buffer) => {
    errors += text.toString();
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const facts = parseReadyLine(line);
    if (facts !== undefined) return { child, port: Number(facts.port) };
  }
  throw new Error(`the engine did not start: ${errors}`);
}
