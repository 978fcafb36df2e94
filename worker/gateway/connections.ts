/**
 * The sockets under gRPC. grpc-js accepts without a limit, gives a TLS handshake two minutes and can't reset one stream
 * from the server's side; so the gateway accepts sockets itself, hands them to grpc-js, and can cut one by its peer.
 */
import { createServer, type Socket } from "node:net";
import { CONNECTIONS_MAX, FIRST_CALL_WAIT_MS } from "./limits.ts";

export interface Connections {
  /** Gives the port that was bound; rejects when it is taken. */
  listen(at: { readonly host: string; readonly port: number }): Promise<number>;
  /** A call came over the connection; `peer` as gRPC names it, `address:port`. */
  used(peer: string): void;
  /** Drops the connection without a word: all that is queued for it is freed. */
  cut(peer: string): void;
  /** Accepts nothing new; resolves once all are gone, and cuts those that remain after `graceMs`. */
  close(graceMs: number): Promise<void>;
}

interface Held {
  readonly socket: Socket;
  readonly timer: NodeJS.Timeout;
}

export function createConnections(accept: (socket: Socket) => void): Connections {
  const held = new Map<string, Held>();
  let gone: (() => void) | undefined;

  const listener = createServer({ noDelay: true }, (socket) => {
    const peer = `${socket.remoteAddress}:${socket.remotePort}`;
    const timer = setTimeout(() => socket.destroy(), FIRST_CALL_WAIT_MS);
    held.set(peer, { socket, timer });
    socket.on("error", () => {}); // "close" follows
    socket.once("close", () => {
      clearTimeout(timer);
      if (held.get(peer)?.socket === socket) held.delete(peer);
      if (held.size === 0) gone?.();
    });
    accept(socket);
  });
  listener.maxConnections = CONNECTIONS_MAX;

  return {
    listen: ({ host, port }) =>
      new Promise((resolve, reject) => {
        listener.once("error", reject);
        listener.listen({ host, port, backlog: 4096 }, () => {
          listener.off("error", reject);
          const bound = listener.address();
          resolve(typeof bound === "object" && bound !== null ? bound.port : port);
        });
      }),
    used(peer) {
      clearTimeout(held.get(peer)?.timer);
    },
    cut(peer) {
      held.get(peer)?.socket.destroy();
    },
    async close(graceMs) {
      listener.close();
      if (held.size === 0) return;
      const empty = new Promise<void>((resolve) => {
        gone = resolve;
      });
      const timer = setTimeout(() => {
        for (const { socket } of held.values()) socket.destroy();
      }, graceMs);
      await empty;
      clearTimeout(timer);
    },
  };
}
