/**
 * node:http in front of one Lambda handler: requests become API Gateway v2 events.
 *
 * Limits: bytes of a request, time for headers and request, connections. A result goes through memory, as in Lambda;
 * what is too large for that (archives) is named in `streams` and answered by a fetch-shaped function directly.
 */
import { isUtf8 } from "node:buffer";
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http";
import type { AddressInfo } from "node:net";
import { type Duplex, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { makeProblem, PROBLEM_CONTENT_TYPE } from "#api/problem.ts";
import type { Logger } from "#ports/logger.ts";
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from "aws-lambda";

/** API Gateway's own limit is 10 MB; the application's is lower still. */
const REQUEST_BYTES_MAX = 10_000_000;
/** So much of a refused request is read and thrown away, so that its sender gets to see the answer. */
const DRAIN_BYTES_MAX = 64 * 1024 * 1024;
const HEADER_BYTES_MAX = 16 * 1024;
const HEADERS_LIMIT_MS = 10_000;
/** For a request that goes through memory. */
const REQUEST_LIMIT_MS = 60_000;
/** For one whose content is streamed; nothing may arrive for {@link SILENCE_LIMIT_MS}. */
const STREAM_LIMIT_MS = 12 * 3_600_000;
const SILENCE_LIMIT_MS = 120_000;
const KEEP_ALIVE_MS = 5_000;
const CONNECTIONS_MAX = 1_000;

export interface HttpFrontOptions {
  readonly handler: (event: APIGatewayProxyEventV2) => Promise<APIGatewayProxyStructuredResultV2>;
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** GET and PUT that are answered as streams, past the handler. */
  readonly streams?: readonly { readonly matches: (path: string) => boolean; readonly fetch: (request: Request) => Promise<Response> }[];
}

export interface HttpFront {
  /** Gives the address. */
  start(): Promise<string>;
  stop(graceMs: number): Promise<void>;
}

/** `undefined`: more than {@link REQUEST_BYTES_MAX}. */
async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  if (Number(request.headers["content-length"] ?? 0) > REQUEST_BYTES_MAX) return undefined;
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Not `for await`: leaving that loop early destroys the request, and with it the connection of the answer.
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => request.destroy(new Error("the request took too long")), REQUEST_LIMIT_MS);
    request.on("close", () => clearTimeout(late));
    request.on("error", reject);
    request.on("end", () => {
      clearTimeout(late);
      resolve(Buffer.concat(chunks));
    });
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.byteLength;
      if (bytes > REQUEST_BYTES_MAX) {
        request.removeAllListeners("data");
        resolve(undefined);
      } else chunks.push(chunk);
    });
  });
}

function headersOf(request: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(",") : value;
  }
  return headers;
}

const isTextType = (type: string): boolean => /^(text\/|application\/json)/.test(type);

function eventOf(request: IncomingMessage, body: Buffer): APIGatewayProxyEventV2 {
  const [path = "/", query = ""] = splitOnce(request.url ?? "/", "?");
  const headers = headersOf(request);
  const asText = isTextType(headers["content-type"] ?? "") && isUtf8(body);
  const method = request.method ?? "GET";
  const now = new Date();
  return {
    version: "2.0",
    routeKey: "$default",
    rawPath: path,
    rawQueryString: query,
    headers,
    requestContext: {
      accountId: "000000000000",
      apiId: "local",
      domainName: headers.host ?? "localhost",
      domainPrefix: "local",
      http: {
        method,
        path,
        protocol: `HTTP/${request.httpVersion}`,
        sourceIp: request.socket.remoteAddress ?? "",
        userAgent: headers["user-agent"] ?? "",
      },
      requestId: randomUUID(),
      routeKey: "$default",
      stage: "$default",
      time: now.toISOString(),
      timeEpoch: now.getTime(),
    },
    ...(body.byteLength === 0 ? {} : { body: body.toString(asText ? "utf8" : "base64") }),
    isBase64Encoded: body.byteLength > 0 && !asText,
  };
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

function sendResult(response: ServerResponse, result: APIGatewayProxyStructuredResultV2): void {
  response.statusCode = result.statusCode ?? 200;
  for (const [name, value] of Object.entries(result.headers ?? {})) response.setHeader(name, String(value));
  if (result.cookies !== undefined) response.setHeader("set-cookie", result.cookies);
  response.end(Buffer.from(result.body ?? "", result.isBase64Encoded === true ? "base64" : "utf8"));
}

async function sendStream(response: ServerResponse, answer: Response): Promise<void> {
  response.statusCode = answer.status;
  for (const [name, value] of answer.headers) response.setHeader(name, value);
  if (answer.body === null) response.end();
  else await pipeline(Readable.fromWeb(answer.body), response);
}

/** As API Gateway words its own refusals. */
function refuse(request: IncomingMessage, response: ServerResponse, refusal: { readonly status: number; readonly message: string }): void {
  response.writeHead(refusal.status, { "content-type": "application/json", connection: "close" });
  response.end(JSON.stringify({ message: refusal.message }));
  drain(request);
}

/** What is left of a request whose answer is out. */
function drain(request: IncomingMessage): void {
  if (request.readableEnded) return;
  let drained = 0;
  request.on("data", (chunk: Buffer) => {
    drained += chunk.byteLength;
    if (drained > DRAIN_BYTES_MAX) request.destroy();
  });
}

function requestOf(request: IncomingMessage): Request {
  const url = `http://${request.headers.host ?? "localhost"}${request.url ?? "/"}`;
  const init = { method: request.method ?? "GET", headers: headersOf(request) };
  if (request.method !== "PUT") return new Request(url, init);
  // Leaving the content unread must not destroy the connection: the answer goes out by it.
  const body = ReadableStream.from(request.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>);
  return new Request(url, { ...init, body, duplex: "half" });
}

async function answerOne(options: HttpFrontOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [path] = splitOnce(request.url ?? "/", "?");
  const stream = request.method === "GET" || request.method === "PUT" ? options.streams?.find(({ matches }) => matches(path)) : undefined;
  if (stream !== undefined) {
    await sendStream(response, await stream.fetch(requestOf(request)));
    return drain(request);
  }
  const body = await readBody(request);
  if (body === undefined) return refuse(request, response, { status: 413, message: "Request Entity Too Large" });
  sendResult(response, await options.handler(eventOf(request, body)));
}

/** What Node could not even read: a head beyond the limit, or something that is not HTTP. */
function refuseUnread(error: Error & { readonly code?: string }, socket: Duplex): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const problem = makeProblem({ code: error.code === "HPE_HEADER_OVERFLOW" ? "header-too-large" : "invalid-input" });
  const body = JSON.stringify(problem);
  const head = [
    `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
    `content-type: ${PROBLEM_CONTENT_TYPE}`,
    `content-length: ${Buffer.byteLength(body)}`,
    "connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`);
}

export function createHttpFront(options: HttpFrontOptions, logger: Logger): HttpFront {
  const limits = {
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: HEADERS_LIMIT_MS,
    requestTimeout: STREAM_LIMIT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
  };
  const server: Server = createServer(limits, (request, response) => {
    answerOne(options, request, response).catch((error: unknown) => {
      logger.error("http function failed", { path: request.url, error: error instanceof Error ? error.message : String(error) });
      if (response.headersSent) response.destroy();
      else refuse(request, response, { status: 500, message: "Internal Server Error" });
    });
  });
  server.on("clientError", refuseUnread);
  server.maxConnections = CONNECTIONS_MAX;
  server.setTimeout(SILENCE_LIMIT_MS);
  return {
    start: () =>
      new Promise((resolve, reject) => {
        server.once("error", reject);
        server.listen(options.port, options.host, () => {
          server.off("error", reject);
          const { port } = server.address() as AddressInfo;
          resolve(`http://${options.host.includes(":") ? `[${options.host}]` : options.host}:${port}`);
        });
      }),
    stop: (graceMs) =>
      new Promise((resolve) => {
        const cut = setTimeout(() => server.closeAllConnections(), graceMs);
        server.close(() => {
          clearTimeout(cut);
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}
