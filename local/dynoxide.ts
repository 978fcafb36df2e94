/**
 * The local database: dynoxide, DynamoDB's API over one SQLite file, a program in an npm package.
 * It checks no signatures: it listens on loopback only, and on a machine shared with others they can reach it.
 */
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { guardedCommand, type ReadyFacts } from "./child.ts";
import { type Command, describeEnd, startPart } from "./part-process.ts";
import type { Part } from "./supervisor.ts";

export interface DynoxideOptions {
  readonly dbPath: string;
  readonly port: number;
}

/** The program's path. Throws with what to do when the package for this platform is not installed. */
export function findDynoxide(platform: string = process.platform, arch: string = process.arch): string {
  const name = `@dynoxide/${platform}-${arch}`;
  try {
    return join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), "dynoxide");
  } catch (cause) {
    throw new Error(
      `the local database needs the optional package ${name}, which is not installed: run "npm install" without --omit=optional ` +
        "(it comes for Linux on x64), or set the address of another DynamoDB endpoint",
      { cause },
    );
  }
}

export function dynoxideCommand({ dbPath, port }: DynoxideOptions): Command {
  return guardedCommand(findDynoxide(), ["serve", "--host", "127.0.0.1", "--port", String(port), "--db-path", dbPath]);
}

/** It prints `Dynoxide listening on http://127.0.0.1:8000` once it has the port. */
export function parseDynoxideReady(line: string): ReadyFacts | undefined {
  const [, endpoint, port] = /listening on (http:\/\/127\.0\.0\.1:(\d+))/.exec(line) ?? [];
  return endpoint === undefined ? undefined : { endpoint, port: Number(port) };
}

/** The database as a part. Port 0: a free one, kept over restarts. */
export async function dynoxidePart(options: DynoxideOptions): Promise<Part> {
  const port = options.port === 0 ? await freePort() : options.port;
  return { name: "database", command: () => dynoxideCommand({ ...options, port }), parseReady: parseDynoxideReady };
}

export interface Dynoxide extends AsyncDisposable {
  readonly endpoint: string;
  readonly port: number;
  stop(): Promise<void>;
}

const READY_WITHIN_MS = 10_000;
const GRACE_MS = 5_000;

/** Runs the database beside the caller, without a supervisor (tests, benchmarks). Ends with the caller's process. */
export async function startDynoxide(options: { readonly dbPath: string; readonly port?: number }): Promise<Dynoxide> {
  const port = options.port ?? (await freePort());
  const run = startPart({
    ...dynoxideCommand({ dbPath: options.dbPath, port }),
    parseReady: parseDynoxideReady,
    readyWithinMs: READY_WITHIN_MS,
    output: () => {},
  });
  if ((await run.ready) === undefined) {
    const end = await run.ended;
    throw new Error(`the local database did not start: ${describeEnd(end)}; ${end.lastErrors.join("; ")}`);
  }
  const stop = async () => void (await run.stop(GRACE_MS));
  return { endpoint: `http://127.0.0.1:${port}`, port, stop, [Symbol.asyncDispose]: stop };
}

/** A port that was free a moment ago. Another process may take it before you do: then the start fails and says so. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => (typeof address === "object" && address !== null ? resolve(address.port) : reject(new Error("no port"))));
    });
  });
}
