/** dynoxide: the DynamoDB API on SQLite, as the embedded default runs it. Its port has no authentication: loopback only. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const BINARY = fileURLToPath(new URL("../../../node_modules/@dynoxide/linux-x64/dynoxide", import.meta.url));
const STARTS_MAX = 5;

export const hasDynoxide = existsSync(BINARY);

export interface Emulator extends AsyncDisposable {
  readonly endpoint: string;
}

/** Starts it on a free port with a database of its own. It can't say which port 0 gave it, so a port is looked for first. */
export async function startDynoxide(): Promise<Emulator> {
  const folder = await mkdtemp(join(tmpdir(), "dynoxide-"));
  for (let start = 0; start < STARTS_MAX; start++) {
    const port = await freePort();
    const child = spawn(BINARY, ["serve", "--host", "127.0.0.1", "--port", String(port), "--db-path", join(folder, "state.db")], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    if (!(await isListening(child))) continue;
    return {
      endpoint: `http://127.0.0.1:${port}`,
      [Symbol.asyncDispose]: async () => {
        await stop(child);
        await rm(folder, { recursive: true, force: true });
      },
    };
  }
  throw new Error("dynoxide does not start");
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** False when it ended first: somebody else took the port. */
async function isListening(child: ChildProcess): Promise<boolean> {
  const lines = [child.stdout, child.stderr].map(async (stream) => {
    if (stream === null) return false;
    for await (const line of createInterface({ input: stream })) if (line.includes("listening")) return true;
    return false;
  });
  const up = await Promise.race([
    Promise.any(lines.map(async (l) => (await l) || Promise.reject(new Error("ended")))).catch(() => false),
    once(child, "exit").then(() => false),
  ]);
  child.stdout?.resume();
  child.stderr?.resume();
  return up;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGKILL");
  await gone;
}
