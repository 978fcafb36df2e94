/**
 * Typed client over the route table.
 *
 * Laws. GETs, DELETEs, PUTs of JSON and POSTs with an idempotency key are repeated after network errors, 429, 5xx and "still running", with
 * growing, jittered waits; everything else is sent once. Each attempt has a time limit. The token goes to the server's
 * own origin only (fetch drops it on a redirect elsewhere). Answers are checked against the contract.
 */
import { SchedulerError } from "#domain/error.ts";
import * as z from "zod";
import { errorOfAnswer, RemoteError } from "./problem.ts";
import {
  type AnswerOf,
  type BodyInput,
  type BytesOperation,
  EXPERIMENT_FILE,
  FILE_CONTENT,
  FILE_CONTENT_TYPE,
  type FileContent,
  type ExperimentFileBody,
  JSON_TYPE,
  type JsonOperation,
  type OperationId,
  type ParamsInput,
  type QueryInput,
  type Route,
  routeOf,
} from "./routes.ts";

export const ATTEMPTS_MAX = 6;
const ATTEMPT_LIMIT_MS = 30_000;
/** For sending a file. */
const CONTENT_LIMIT_MS = 12 * 3_600_000;
const WAIT_FIRST_MS = 200;
const WAIT_MAX_MS = 10_000;
const ANSWER_BYTES_MAX = 64 * 1024 * 1024;

type Needed<Name extends string, T> = undefined extends T ? { readonly [N in Name]?: never } : { readonly [N in Name]: T };
type NeededQuery<T> = undefined extends T ? { readonly query?: never } : { readonly query?: T };

export type CallOptions<K extends OperationId> = Needed<"params", ParamsInput<K>> &
  NeededQuery<QueryInput<K>> &
  Needed<"body", BodyInput<K>> & { readonly idempotencyKey?: string; readonly signal?: AbortSignal };

export interface ClientOptions {
  /** `http(s)://host[:port]`, a path in it is kept. */
  readonly server: string;
  /** Asked anew for every attempt when it is a function: tokens end. */
  readonly token?: string | (() => Promise<string>);
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>;
  readonly sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** Uniform in [0, 1): spreads the waits. */
  readonly random?: () => number;
  readonly attemptsMax?: number;
}

export interface Client {
  call<K extends JsonOperation>(id: K, options: CallOptions<K>): Promise<AnswerOf<K>>;
  /** The caller reads or cancels the body. */
  open<K extends BytesOperation>(id: K, options: CallOptions<K>): Promise<Response>;
}

interface Loose {
  readonly params?: object;
  readonly query?: object;
  readonly body?: unknown;
  readonly idempotencyKey?: string;
  readonly signal?: AbortSignal;
}

const sleepFor = (ms: number, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
    if (signal?.aborted) done();
    else signal?.addEventListener("abort", done);
  });

function addressOf(server: string, route: Route, options: Loose): string {
  const params = new Map(Object.entries(options.params ?? {}));
  const path = route.path.replace(/\{(\w+)\}/g, (_, key: string) => encodeURIComponent(String(params.get(key))));
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(options.query ?? {})) if (value !== undefined) query.set(key, String(value));
  return `${server.replace(/\/+$/, "")}${path}${query.size > 0 ? `?${query}` : ""}`;
}

/** Larger files are sent compressed: a workflow of some megabytes becomes a tenth. */
const COMPRESSED_FROM_BYTES = 128 * 1024;

async function fileRequest({ bytes, ...options }: ExperimentFileBody, headers: Record<string, string>): Promise<Uint8Array<ArrayBuffer>> {
  const plain = Object.keys(options).length === 0;
  headers["content-type"] = plain ? "application/yaml" : JSON_TYPE;
  const body = plain ? bytes : new TextEncoder().encode(JSON.stringify({ file: new TextDecoder().decode(bytes), ...options }));
  if (body.length < COMPRESSED_FROM_BYTES) return body as Uint8Array<ArrayBuffer>;
  headers["content-encoding"] = "gzip";
  const packed = new Blob([body as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}

async function requestOf(route: Route, options: Loose, token: string | undefined): Promise<RequestInit> {
  const headers: Record<string, string> = { accept: "application/json, application/problem+json, */*;q=0.1" };
  if (token !== undefined) headers.authorization = `Bearer ${token}`;
  if (options.idempotencyKey !== undefined) headers["idempotency-key"] = options.idempotencyKey;
  const init: RequestInit = { method: route.method, headers, redirect: route.method === "GET" ? "follow" : "error" };
  if (route.body === EXPERIMENT_FILE) {
    init.body = await fileRequest(options.body as ExperimentFileBody, headers);
  } else if (route.body === FILE_CONTENT) {
    headers["content-type"] = FILE_CONTENT_TYPE;
    init.body = ReadableStream.from(options.body as FileContent);
    init.duplex = "half";
  } else if (route.body !== undefined) {
    headers["content-type"] = JSON_TYPE;
    init.body = JSON.stringify(options.body);
  }
  return init;
}

async function readAnswer(response: Response): Promise<unknown> {
  const declared = Number(response.headers.get("content-length") ?? 0);
  if (declared > ANSWER_BYTES_MAX) throw new SchedulerError("too-large", `the server's answer has ${declared} bytes`);
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const isWorthRepeating = (error: unknown): boolean =>
  error instanceof RemoteError
    ? error.status >= 500 || error.status === 429 || error.code === "idempotency-in-progress"
    : error instanceof SchedulerError && error.disposition === "retryable";

const limitMsOf = (route: Route): number => (route.body === FILE_CONTENT ? CONTENT_LIMIT_MS : ATTEMPT_LIMIT_MS);

function isRepeatable(route: Route, request: Loose): boolean {
  if (route.method === "POST") return route.idempotent && request.idempotencyKey !== undefined;
  // Content that was read once can't be sent again.
  return route.body !== FILE_CONTENT;
}

export function createClient(options: ClientOptions): Client {
  const { server, token, fetch = globalThis.fetch, sleep = sleepFor, random = Math.random, attemptsMax = ATTEMPTS_MAX } = options;

  const bearer = async (route: Route): Promise<string | undefined> => {
    if (route.permission === "public") return undefined;
    return typeof token === "function" ? token() : token;
  };

  async function attempt(route: Route, request: Loose): Promise<Response> {
    const limit = new AbortController();
    const limitMs = limitMsOf(route);
    const timer = setTimeout(() => limit.abort(new Error(`no answer within ${limitMs} ms`)), limitMs);
    const signal = request.signal === undefined ? limit.signal : AbortSignal.any([limit.signal, request.signal]);
    try {
      const init = await requestOf(route, request, await bearer(route));
      const response = await fetch(addressOf(server, route, request), { ...init, signal });
      if (response.ok) return response;
      const error = errorOfAnswer(response.status, await readAnswer(response));
      throw Object.assign(error, { retryAfterMs: Number(response.headers.get("retry-after") ?? 0) * 1000 });
    } catch (error) {
      if (request.signal?.aborted || error instanceof SchedulerError) throw error;
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new SchedulerError("unavailable", `can't reach ${server}: ${why}`, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }

  async function send(route: Route, request: Loose): Promise<Response> {
    const attempts = isRepeatable(route, request) ? attemptsMax : 1;
    for (let n = 1; ; n++) {
      try {
        return await attempt(route, request);
      } catch (error) {
        if (n >= attempts || !isWorthRepeating(error) || request.signal?.aborted) throw error;
        const asked = error instanceof Error && "retryAfterMs" in error && typeof error.retryAfterMs === "number" ? error.retryAfterMs : 0;
        const grown = WAIT_FIRST_MS * 2 ** (n - 1) * (0.5 + random() / 2);
        await sleep(Math.min(WAIT_MAX_MS, Math.max(grown, asked || 0)), request.signal);
      }
    }
  }

  return {
    async call<K extends JsonOperation>(id: K, request: CallOptions<K>): Promise<AnswerOf<K>> {
      const route = routeOf(id);
      if (!("json" in route.success)) throw new Error(`${id} does not answer JSON`);
      const response = await send(route, request as Loose);
      const read = route.success.json.safeParse(await readAnswer(response));
      if (!read.success) {
        const facts = z.prettifyError(read.error).split("\n")[0] ?? "";
        throw new SchedulerError(
          "version-mismatch",
          `${server} answered ${id} with something unknown here (${facts}): update client or server`,
        );
      }
      return read.data as AnswerOf<K>;
    },
    open: (id, request) => send(routeOf(id), request as Loose),
  };
}
