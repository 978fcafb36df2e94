/** Builders for attempts of the process executor, and a file server they stage from and to. */
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TaskResult } from "#domain/result.ts";
import { type File, Assignment, Task } from "#protocol/gen/worker.ts";
import type { Attempt, Executor, WorkerFault } from "../../worker/agent/executor.ts";
import { createProcessExecutor, type ProcessExecutorOptions } from "../../worker/agent/process-executor.ts";

export const sha256 = (bytes: Buffer | string): string => createHash("sha256").update(bytes).digest("hex");

export const inlineFile = (path: string, text: string): File => {
  const inline = Buffer.from(text);
  return { path, sha256: sha256(inline), bytes: inline.length, url: "", inline };
};

const NOTHING = Buffer.alloc(0);
let attempts = 0;
export interface AttemptParts {
  readonly script: string;
  readonly assignment?: Partial<Assignment>;
  readonly task?: Partial<Task>;
  readonly signUploads?: Attempt["signUploads"];
  readonly enter?: Attempt["enter"];
  readonly publish?: Attempt["publish"];
}

export function anAttempt({
  script,
  assignment,
  task,
  signUploads,
  enter = () => undefined,
  publish = () => undefined,
}: AttemptParts): Attempt {
  const index = ++attempts;
  return {
    assignment: { ...Assignment.decode(NOTHING), lease: "exp_1/fit/0/1", scriptName: "fit", script, timeLimitMs: 60_000, ...assignment },
    task: { ...Task.decode(NOTHING), index, number: index, ...task },
    enter,
    publish,
    signUploads: signUploads ?? (() => Promise.reject(new Error("nothing to upload was expected"))),
  };
}

export interface Machine {
  readonly dir: string;
  readonly executor: Executor;
  run(parts: AttemptParts, signal?: AbortSignal): Promise<TaskResult>;
  runAny(parts: AttemptParts, signal?: AbortSignal): Promise<TaskResult | WorkerFault>;
  /** What is left in the work directory. */
  leftovers(): Promise<string[]>;
  remove(): Promise<void>;
}

/** A fresh work and cache directory with an executor in them. */
export async function aMachine(options: Partial<ProcessExecutorOptions> = {}): Promise<Machine> {
  const dir = await mkdtemp(join(tmpdir(), "agent-"));
  const executor = createProcessExecutor({
    workDir: join(dir, "work"),
    cacheDir: join(dir, "cache"),
    now: Date.now,
    killGraceMs: 300,
    ...options,
  });
  const never = new AbortController().signal;
  const runAny = (parts: AttemptParts, signal = never): Promise<TaskResult | WorkerFault> => executor.run(anAttempt(parts), signal);
  return {
    dir,
    executor,
    runAny,
    async run(parts, signal) {
      const result = await runAny(parts, signal);
      if (result.outcome === "worker-fault") throw new Error(`worker fault: ${result.message}`);
      return result;
    },
    leftovers: () => readdir(join(dir, "work")),
    remove: () => rm(dir, { recursive: true, force: true }),
  };
}

export function contentOf(result: TaskResult, name: string): string {
  const output = result.outputs.find((file) => file.name === name);
  if (output?.inline === undefined) throw new Error(`${result.outcome} without inline output ${name}: ${result.message} ${result.stderr}`);
  return Buffer.from(output.inline, "base64").toString();
}

/** Pids of processes that carry `text` in their command line. */
export async function processesWith(text: string): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    const line = await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "");
    if (line.includes(text)) found.push(Number(name));
  }
  return found;
}

export interface FileServer {
  readonly origin: string;
  /** Serves the bytes and gives the file that names them. */
  serve(path: string, bytes: Buffer | string): File;
  /** Answers requests of a path instead of serving it. */
  answer(path: string, handler: (request: IncomingMessage, response: ServerResponse) => void): void;
  readonly gets: string[];
  readonly puts: { readonly path: string; readonly headers: IncomingMessage["headers"]; readonly body: Buffer }[];
  close(): Promise<void>;
}

export async function aFileServer(): Promise<FileServer> {
  const files = new Map<string, Buffer>();
  const handlers = new Map<string, (request: IncomingMessage, response: ServerResponse) => void>();
  const gets: string[] = [];
  const puts: { path: string; headers: IncomingMessage["headers"]; body: Buffer }[] = [];
  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? "";
    const handler = handlers.get(path);
    if (request.method === "GET") gets.push(path);
    if (handler !== undefined) return handler(request, response);
    if (request.method === "PUT") {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      puts.push({ path, headers: request.headers, body: Buffer.concat(chunks) });
      response.writeHead(200).end();
      return;
    }
    const bytes = files.get(path);
    if (bytes === undefined) response.writeHead(404).end("no such file");
    else response.writeHead(200, { "content-length": bytes.length }).end(bytes);
  }
  const server = createServer((request, response) => void handle(request, response).catch(() => response.destroy()));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    origin,
    serve(path, content) {
      const bytes = Buffer.from(content);
      files.set(`/${path}`, bytes);
      return { path, sha256: sha256(bytes), bytes: bytes.length, url: `${origin}/${path}`, inline: Buffer.alloc(0) };
    },
    answer: (path, handler) => void handlers.set(path, handler),
    gets,
    puts,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
