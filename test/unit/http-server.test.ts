/** The gateway's HTTP server over real sockets: readers that don't read, go away, or ask for nonsense. */
import { request } from "node:http";
import { connect } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { createHttpServer, type HttpServer } from "../../worker/gateway/http-server.ts";

let server: HttpServer | undefined;
afterEach(() => server?.close());

const PIECE = new Uint8Array(64 * 1024);

/** An answer without an end, and what was made of it. */
function endless() {
  const state = { bytes: 0, canceled: false };
  const body = () =>
    new ReadableStream<Uint8Array>(
      {
        pull(controller) {
          state.bytes += PIECE.length;
          controller.enqueue(PIECE);
        },
        cancel() {
          state.canceled = true;
        },
      },
      { highWaterMark: 0 },
    );
  return { state, fetch: async () => new Response(body()) };
}

async function until(what: () => boolean): Promise<void> {
  const deadline = Date.now() + 8_000;
  while (!what()) {
    if (Date.now() > deadline) throw new Error("not in time");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe("a reader", () => {
  test("that takes nothing gets no more made than the sockets hold", async () => {
    const { state, fetch } = endless();
    server = await createHttpServer({ host: "127.0.0.1", port: 0, fetch });
    const socket = connect(server.port, "127.0.0.1");
    socket.pause();
    socket.write("GET /x HTTP/1.1\r\nhost: a\r\n\r\n");
    await until(() => state.bytes > 0);
    let before = -1;
    // What the kernel takes on its way is all: then it stands still.
    while (before !== state.bytes) {
      before = state.bytes;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    expect(state.bytes).toBeLessThan(16 * 1024 * 1024);
    socket.destroy();
    await until(() => state.canceled);
  });

  test("that goes away in the middle ends what was made for it", async () => {
    const { state, fetch } = endless();
    server = await createHttpServer({ host: "127.0.0.1", port: 0, fetch });
    const asked = request({ port: server.port, host: "127.0.0.1" }, (response) => response.once("data", () => asked.destroy()));
    asked.on("error", () => undefined);
    asked.end();
    await until(() => state.canceled);
  });

  test("that sends a body is cut off, and others are served", async () => {
    server = await createHttpServer({ host: "127.0.0.1", port: 0, fetch: async (r) => new Response(new URL(r.url).pathname) });
    const sent = await fetch(server.url, { method: "POST", body: "x".repeat(100_000) }).then(
      (r) => r.text(),
      () => "cut",
    );
    expect(["cut", "/"]).toContain(sent);
    expect(await (await fetch(`${server.url}/a/b`)).text()).toBe("/a/b");
  });

  test("is told by its address", async () => {
    server = await createHttpServer({ host: "127.0.0.1", port: 0, fetch: async (_, from) => new Response(from.address) });
    expect(await (await fetch(server.url)).text()).toBe("127.0.0.1");
  });
});

test("closing ends open answers", async () => {
  const { state, fetch: answer } = endless();
  server = await createHttpServer({ host: "127.0.0.1", port: 0, fetch: answer });
  const asked = request({ port: server.port, host: "127.0.0.1" }, (response) => response.resume().on("error", () => undefined));
  asked.on("error", () => undefined);
  asked.end();
  await until(() => state.bytes > 1_000_000);
  await server.close();
  await until(() => state.canceled);
});
