/**
 * node:http in front of a fetch-shaped application: what the gateway says over HTTP. An answer is made piece by piece as its
 * reader takes it; a reader that takes nothing for a while, or is gone, ends it.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { once } from "node:events";
import type { AddressInfo, Socket } from "node:net";
import { HTTP_CONNECTIONS_MAX, HTTP_HEADER_BYTES_MAX, HTTP_HEADERS_WAIT_MS, HTTP_STALL_MS } from "./limits.ts";

export interface HttpServerOptions {
  readonly host: string;
  /** 0 = any free one. */
  readonly port: number;
  /** Never rejects. */
  readonly fetch: (request: Request, from: { readonly address: string }) => Promise<Response>;
}

export interface HttpServer {
  readonly url: string;
  readonly port: number;
  /** Ends all streams; their readers come again. */
  close(): Promise<void>;
}

const BODY_BYTES_MAX = 1024;

function requestOf(request: IncomingMessage, signal: AbortSignal): Request {
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(",") : value);
  }
  const method = request.method ?? "GET";
  return new Request(`http://gateway.invalid${request.url?.startsWith("/") ? request.url : "/"}`, { method, headers, signal });
}

/** Waits for the socket to take a piece before the next one is made. */
async function send(response: ServerResponse, answer: Response, gone: AbortSignal): Promise<void> {
  response.statusCode = answer.status;
  for (const [name, value] of answer.headers) response.setHeader(name, value);
  response.flushHeaders();
  const reader = answer.body?.getReader();
  try {
    for (let piece = await reader?.read(); piece !== undefined && !piece.done && !gone.aborted; piece = await reader?.read()) {
      if (!response.write(piece.value)) await once(response, "drain", { signal: gone });
    }
    response.end();
  } finally {
    await reader?.cancel().catch(() => undefined);
  }
}

export async function createHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const limits = { maxHeaderSize: HTTP_HEADER_BYTES_MAX, headersTimeout: HTTP_HEADERS_WAIT_MS, requestTimeout: HTTP_HEADERS_WAIT_MS };
  const sockets = new Set<Socket>();
  const server = createServer({ ...limits, highWaterMark: 16 * 1024 }, (request, response) => {
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    response.on("error", () => gone.abort());
    let bytes = 0;
    // No route here takes a body.
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > BODY_BYTES_MAX) request.destroy();
    });
    options
      .fetch(requestOf(request, gone.signal), { address: request.socket.remoteAddress ?? "" })
      .then((answer) => send(response, answer, gone.signal))
      .catch(() => response.destroy());
  });
  server.maxConnections = HTTP_CONNECTIONS_MAX;
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  // Streams write a sign of life far more often: a socket without any traffic has a reader that takes nothing.
  server.setTimeout(HTTP_STALL_MS, (socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, options.host, () => resolve());
  });
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://${options.host.includes(":") ? `[${options.host}]` : options.host}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
