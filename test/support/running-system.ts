/** The whole system as `npm start` runs it, in a folder of its own, and the command line beside it. */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const PROJECT = resolve(import.meta.dirname, "../..");
const START_MS = 120_000;

export interface Ran {
  readonly code: number | null;
  readonly out: string;
}

export interface RunningSystem extends AsyncDisposable {
  readonly url: string;
  readonly folder: string;
  readonly dataDir: string;
  /** The administrator's. */
  readonly token: string;
  airavata(...args: string[]): Promise<Ran>;
}

/** Resolves when it takes requests and has run its example. */
export async function startSystem(settings: Readonly<Record<string, string>> = {}): Promise<RunningSystem> {
  const folder = await mkdtemp(join(tmpdir(), "running-"));
  const dataDir = join(folder, "data");
  const context = join(folder, "context.json");
  const env = { ...process.env, ...settings, AIRAVATA_CONTEXT: context, NO_COLOR: "1" };
  const child = spawn(process.execPath, [join(PROJECT, "local/main.ts"), "--data-dir", dataDir, "--port", "0"], {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = new Promise<void>((done) => child.once("exit", () => done()));
  const dispose = async (): Promise<void> => {
    child.kill("SIGTERM");
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  let out = "";
  try {
    await new Promise<void>((ready, fail) => {
      const see = (chunk: Buffer): void => {
        out += chunk.toString();
        if (out.includes("checked against the data: ")) ready();
      };
      child.stdout.on("data", see);
      child.stderr.on("data", see);
      child.once("exit", (code) => fail(new Error(`the system ended with ${code}: ${out}`)));
      setTimeout(() => fail(new Error(`the system was not ready in time: ${out}`)), START_MS).unref();
    });
    const url = /\nready: (\S+)/.exec(out)?.[1] ?? "";
    const { token } = JSON.parse(await readFile(context, "utf8")) as { readonly token: string };
    const airavata = (...args: string[]): Promise<Ran> =>
      new Promise((done) => {
        const run = spawn(process.execPath, [join(PROJECT, "cli/main.ts"), ...args], { env, cwd: folder });
        let text = "";
        for (const stream of [run.stdout, run.stderr]) stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
        run.once("exit", (code) => done({ code, out: text }));
      });
    return { url, folder, dataDir, token, airavata, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}
