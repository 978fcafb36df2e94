/**
 * Serves signed object URLs over node:http: GET (with Range) and HEAD for those of `signGet`, PUT for those of
 * `signPut`. The URL is the only authority; without a right one the answer is 403 whether the object exists or not.
 *
 * A request that stalls or trickles is cut: each has `idleMs` without progress and a deadline by its signed or stored
 * size. The server the handler hangs in should take {@link SIGNED_SERVER_OPTIONS}, which bound its header phase.
 * Objects come from users, so answers forbid a browser to run or show them.
 */
import type { IncomingMessage, ServerOptions, ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import { type ErrorKind, SchedulerError } from "#domain/error.ts";
import type { Clock } from "#ports/clock.ts";
import type { Logger } from "#ports/logger.ts";
import type { FileObjectStore } from "./object-store.ts";
import { type Grant, openGrant } from "./signed-url.ts";

export interface SignedHttpLimits {
  /** Requests at once; more are answered 503. */
  readonly requestsMax: number;
  /** A connection without a byte for so long is cut. */
  readonly idleMs: number;
  /** A body slower than this on average is cut, `idleMs` granted on top. */
  readonly bytesPerSecondMin: number;
}

export const SIGNED_HTTP_LIMITS: SignedHttpLimits = { requestsMax: 512, idleMs: 30_000, bytesPerSecondMin: 16 * 1024 };

/** Node's own guards; `requestTimeout` is off because bodies have their own deadline here. */
export const SIGNED_SERVER_OPTIONS: ServerOptions = {
  headersTimeout: 10_000,
  requestTimeout: 0,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 5_000,
  maxHeaderSize: 16 * 1024,
};

export interface SignedObjectHandlerOptions {
  readonly store: FileObjectStore;
  /** The deployment's key for signed URLs: the one the store signs with. */
  readonly key: Uint8Array;
  readonly clock: Clock;
  readonly limits?: SignedHttpLimits;
  /** The path of the store's `baseUrl`, when it has one: `/data`. */
  readonly mountPath?: string;
  /** Told of errors that are not the client's, without the URL. */
  readonly logger?: Logger;
}

/** Answers the request; never rejects. */
export type SignedObjectHandler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

export function createSignedObjectHandler(options: SignedObjectHandlerOptions): SignedObjectHandler {
  const { store, key, clock, limits = SIGNED_HTTP_LIMITS, mountPath = "", logger } = options;
  let open = 0;

  const serve = async (exchange: Exchange): Promise<void> => {
    const { request } = exchange;
    const method = request.method ?? "";
    if (method !== "GET" && method !== "HEAD" && method !== "PUT") return refuse(exchange, 405);
    const url = request.url ?? "";
    const grant = url.startsWith(mountPath) ? openGrant(key, url.slice(mountPath.length), clock.now()) : undefined;
    if (grant === undefined || grant.method !== (method === "HEAD" ? "GET" : method)) return refuse(exchange, 403);
    return grant.method === "PUT" ? takeObject(exchange, grant) : giveObject(exchange, grant.key);
  };

  return async (request, response) => {
    const guard = new AbortController();
    const exchange: Exchange = {
      request,
      response,
      store,
      setDeadline(bytes) {
        void clock.sleep(limits.idleMs + (bytes / limits.bytesPerSecondMin) * 1_000, guard.signal).then(() => {
          if (!guard.signal.aborted) request.socket.destroy();
        });
      },
    };
    open++;
    request.socket.setTimeout(limits.idleMs); // Node destroys a socket that times out with nobody listening
    request.on("error", () => undefined); // a client that goes away is no event
    response.on("error", () => undefined);
    try {
      await (open > limits.requestsMax ? refuse(exchange, 503) : serve(exchange));
    } catch (error) {
      const status = error instanceof SchedulerError ? STATUS_OF_KIND[error.kind] : 500;
      if (status >= 500 && !request.destroyed)
        logger?.error("a signed object request failed", { reason: error instanceof Error ? error.message : "unknown" });
      refuse(exchange, status);
    } finally {
      guard.abort();
      open--;
    }
  };
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly store: FileObjectStore;
  /** Cuts the connection when the exchange takes longer than this many bytes may. To be called once. */
  readonly setDeadline: (bytes: number) => void;
}

const PROBLEM_TITLES = {
  400: "The request is not valid, or the bytes are not those the URL was signed for.",
  403: "This URL does not allow that, or no longer.",
  404: "There is no such object.",
  405: "This address does not take this method.",
  413: "That is more than the URL was signed for.",
  415: "Send the bytes as they are, without a content encoding.",
  416: "The object has no such bytes.",
  500: "Something went wrong on our side.",
  503: "The object store cannot do this now. Try again shortly.",
} as const;

type ProblemStatus = keyof typeof PROBLEM_TITLES;

const STATUS_OF_KIND: Readonly<Record<ErrorKind, ProblemStatus>> = {
  "invalid-input": 400,
  integrity: 400,
  unauthenticated: 403,
  forbidden: 403,
  "not-found": 404,
  conflict: 500,
  "too-large": 413,
  "version-mismatch": 500,
  unavailable: 503,
  "outcome-unknown": 503,
};

async function takeObject({ request, response, store, setDeadline }: Exchange, { key, expect }: Grant & { method: "PUT" }): Promise<void> {
  setDeadline(expect.bytes);
  if ((request.headers["content-encoding"] ?? "identity") !== "identity") return refuse({ request, response }, 415);
  const announced = request.headers["content-length"];
  if (announced !== undefined && Number(announced) !== expect.bytes)
    return refuse({ request, response }, Number(announced) > expect.bytes ? 413 : 400);
  // Without destroyOnReturn the socket lives on when the store stops reading, and can carry the answer.
  const body = request.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>;
  const outcome = await store.putStream(key, body, expect);
  if (outcome === "exists") await readOff(request, expect.bytes);
  response.writeHead(outcome === "written" ? 201 : 200, { ...HEADERS_ALWAYS, "content-length": 0 }).end();
}

/** Takes a body nobody wants, so that a client that writes first and reads then gets its answer. */
async function readOff(request: IncomingMessage, bytesMax: number): Promise<void> {
  let bytes = 0;
  if (request.readableEnded) return;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw new SchedulerError("too-large", "more bytes than the URL was signed for");
  }
}

async function giveObject({ request, response, store, setDeadline }: Exchange, key: string): Promise<void> {
  const info = await store.stat(key);
  if (info === undefined) return refuse({ request, response }, 404);
  const range = request.headers["if-range"] === undefined ? parseRange(request.headers.range, info.bytes) : "whole";
  if (range === "unsatisfiable") return refuse({ request, response }, 416, { "content-range": `bytes */${info.bytes}` });
  const { first, last } = range === "whole" ? { first: 0, last: info.bytes - 1 } : range;
  const bytes = last - first + 1;
  response.writeHead(range === "whole" ? 200 : 206, {
    ...HEADERS_ALWAYS,
    "content-type": "application/octet-stream",
    "content-length": bytes,
    "accept-ranges": "bytes",
    ...(range === "whole" ? {} : { "content-range": `bytes ${first}-${last}/${info.bytes}` }),
  });
  if (request.method === "HEAD" || bytes === 0) {
    response.end();
    return;
  }
  setDeadline(bytes);
  await pipeline(store.getRange(key, { first, last }), response);
}

type ByteRange = "whole" | "unsatisfiable" | { readonly first: number; readonly last: number };

/** One range of RFC 9110 §14.2; what is no range, or several of them, is ignored as the RFC allows. */
export function parseRange(header: string | undefined, bytes: number): ByteRange {
  const [, from, to] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? "") ?? [];
  if (from === undefined || to === undefined || (from === "" && to === "")) return "whole";
  if (from === "") {
    const length = Math.min(Number(to), bytes);
    return length === 0 ? "unsatisfiable" : { first: bytes - length, last: bytes - 1 };
  }
  if (to !== "" && Number(to) < Number(from)) return "whole";
  if (Number(from) >= bytes) return "unsatisfiable";
  return { first: Number(from), last: to === "" ? bytes - 1 : Math.min(Number(to), bytes - 1) };
}

const HEADERS_ALWAYS = {
  "cache-control": "private, no-store",
  "content-disposition": "attachment",
  "content-security-policy": "default-src 'none'; sandbox",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
} as const;

/** Answers with a problem (RFC 9457) of fixed text. A body not read to its end costs the connection. */
function refuse(
  { request, response }: Pick<Exchange, "request" | "response">,
  status: ProblemStatus,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (response.headersSent || response.destroyed) {
    response.destroy(); // half an answer must not look whole
    return;
  }
  const body = JSON.stringify({ type: "about:blank", title: PROBLEM_TITLES[status], status });
  const isUnread = request.method === "PUT" && !request.readableEnded;
  const extra = {
    ...headers,
    ...(status === 405 ? { allow: "GET, HEAD, PUT" } : {}),
    ...(status === 503 ? { "retry-after": "1" } : {}),
    ...(isUnread ? { connection: "close" } : {}),
  };
  response.writeHead(status, {
    ...HEADERS_ALWAYS,
    ...extra,
    "content-type": "application/problem+json",
    "content-length": Buffer.byteLength(body),
  });
  response.end(request.method === "HEAD" ? undefined : body);
}
