/** The embedded default as `npm start` runs it, in a temporary folder: supervisor, database, functions, gateway, workers. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Client, createClient } from "#api/client.ts";

const PROJECT = resolve(import.meta.dirname, "..");
const READY_MS = 180_000;
const EXAMPLE_MS = 180_000;

export interface System extends AsyncDisposable {
  readonly client: Client;
  /** Temporary, gone at the end. */
  readonly folder: string;
}

/** Started, its first example run: everything is warm. */
export async function startSystem(options: { readonly workers: number; readonly slots: number }): Promise<System> {
  const folder = await mkdtemp(join(tmpdir(), "airavata-bench-"));
  const args = ["--data-dir", join(folder, "data"), "--port", "0", "--workers", String(options.workers), "--slots", String(options.slots)];
  const env = { ...process.env, AIRAVATA_CONTEXT: join(folder, "context.json"), AIRAVATA_RATE_BURST: "1000000", NO_COLOR: "1" };
  const child = spawn(process.execPath, [join(PROJECT, "local/main.ts"), ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  const stop = async (): Promise<void> => {
    await ended(child);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const url = await ready(child);
    const password = (await readFile(join(folder, "data", "admin-password"), "utf8")).trim();
    const { token } = await createClient({ server: url }).call("login", { body: { name: "admin", password } });
    return { client: createClient({ server: url, token }), folder, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The address, once the example of a first start has been checked. */
function ready(child: ChildProcess): Promise<string> {
  let out = "";
  return new Promise((done, fail) => {
    const late = setTimeout(() => fail(new Error(`the system was not ready in time: ${out}`)), READY_MS + EXAMPLE_MS);
    const see = (chunk: Buffer): void => {
      out += chunk.toString();
      const url = /\nready: (\S+)/.exec(out)?.[1];
      if (url === undefined || !out.includes("checked against the data: right")) return;
      clearTimeout(late);
      done(url);
    };
    child.stdout?.on("data", see);
    child.stderr?.on("data", see);
    child.once("exit", (code) => fail(new Error(`the system ended with ${code}: ${out}`)));
  });
}

const ended = (child: ChildProcess): Promise<void> =>
  new Promise((done) => {
    if (child.exitCode !== null || child.signalCode !== null) return done();
    child.once("exit", () => done());
    child.kill("SIGTERM");
  });
