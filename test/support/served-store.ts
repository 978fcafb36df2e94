/** A file object store behind a real HTTP server on a clock that the test owns. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type FileObjectStore, openFileObjectStore } from "#adapters/file/object-store.ts";
import { createSignedObjectHandler, SIGNED_SERVER_OPTIONS, type SignedHttpLimits } from "#adapters/file/signed-http.ts";
import { createFakeClock, type FakeClock } from "./fake-clock.ts";
import { makeFolder, type TestFolder } from "./test-folder.ts";

export const SIGNING_KEY = new Uint8Array(32).fill(5);

export interface ServedStore extends TestFolder {
  readonly store: FileObjectStore;
  readonly clock: FakeClock;
  readonly server: Server;
  readonly port: number;
}

export async function serveStore(limits?: SignedHttpLimits): Promise<ServedStore> {
  const made = await makeFolder();
  const clock = createFakeClock();
  const server = createServer(SIGNED_SERVER_OPTIONS);
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  const store = await openFileObjectStore({ folder: made.folder, baseUrl: `http://127.0.0.1:${port}`, signingKey: SIGNING_KEY, clock });
  server.on("request", createSignedObjectHandler({ store, key: SIGNING_KEY, clock, ...(limits === undefined ? {} : { limits }) }));
  const dispose = async (): Promise<void> => {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
    await made[Symbol.asyncDispose]();
  };
  return { folder: made.folder, store, clock, server, port, [Symbol.asyncDispose]: dispose };
}
