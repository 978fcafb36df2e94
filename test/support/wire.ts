/** A gateway server with handlers of the test's own, workers for it, and a wire between them that can be cut. */
import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { connect as dial, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeId, type WorkerId } from "#domain/id.ts";
import type { Channel } from "#protocol/channel.ts";
import type { AgentMessage, GatewayMessage } from "#protocol/gen/worker.ts";
import { PROTOCOL_VERSION, RELEASE_VERSION } from "#protocol/version.ts";
import { type Connection, connect } from "../../worker/agent/connection.ts";
import { type Authority, loadOrCreateAuthority } from "../../worker/gateway/certificates.ts";
import { createGatewayServer, type GatewayHandlers, type GatewayServer } from "../../worker/gateway/server.ts";

export type GatewayEnd = Channel<GatewayMessage, AgentMessage>;

export interface Wire extends AsyncDisposable {
  readonly dir: string;
  readonly authority: Authority;
  readonly server: GatewayServer;
  readonly address: string;
  /** Lines that the server logged. */
  readonly logged: string[];
  connectAs(
    workerId: WorkerId,
    options?: { readonly authority?: Authority; readonly address?: string; readonly kind?: "ec" | "ed25519" },
  ): Promise<Connection>;
}

export const quiet = { info() {}, warn() {} };

export const hello = (protocolVersion: number = PROTOCOL_VERSION): AgentMessage => ({
  body: {
    $case: "hello",
    value: {
      protocolVersion,
      agentVersion: RELEASE_VERSION,
      incarnation: 0,
      size: { cpuMilli: 1000, memoryMib: 1024, gpu: 0 },
      host: "node",
      endsAtMs: 0,
      prefetchPercent: 100,
      packages: [],
    },
  },
});
export const beat = (sequence: number): AgentMessage => ({ body: { $case: "beat", value: { sequence, leases: [], draining: "" } } });
export const beatSeen = (sequence: number): GatewayMessage => ({ body: { $case: "beatSeen", value: { sequence } } });

let made = 0;
export function aWorkerId(): WorkerId {
  made += 1;
  return makeId("worker", 1_700_000_000_000 + made, new Uint8Array(10));
}

export function aKey(kind: "ec" | "ed25519" = "ec"): { readonly key: string; readonly spki: Buffer } {
  const pair = kind === "ec" ? generateKeyPairSync("ec", { namedCurve: "P-256" }) : generateKeyPairSync("ed25519");
  return {
    key: pair.privateKey.export({ format: "pem", type: "pkcs8" }).toString(),
    spki: pair.publicKey.export({ format: "der", type: "spki" }),
  };
}

export async function startWire(handlers: Partial<GatewayHandlers> = {}): Promise<Wire> {
  const dir = await mkdtemp(join(tmpdir(), "wire-"));
  const authority = await loadOrCreateAuthority(join(dir, "authority"));
  const logged: string[] = [];
  const log = (message: string, facts?: object) => void logged.push(`${message} ${JSON.stringify(facts ?? {})}`);
  const unasked = () => Promise.reject(new Error("this test has no such handler"));
  const server = await createGatewayServer({
    host: "127.0.0.1",
    port: 0,
    authority,
    handlers: { join: unasked, serve: unasked, signUploads: unasked, ...handlers },
    logger: { info: log, warn: log },
  });
  const address = `127.0.0.1:${server.port}`;
  return {
    dir,
    authority,
    server,
    address,
    logged,
    async connectAs(workerId, options = {}) {
      const { key, spki } = aKey(options.kind);
      const certificate = await (options.authority ?? authority).issueClient({ workerId, publicKeySpki: spki });
      return connect({ address: options.address ?? address, ca: authority.caPem, certificate, key, logger: quiet });
    },
    async [Symbol.asyncDispose]() {
      await server.close(0);
      await rm(dir, { recursive: true });
    },
  };
}

export interface Proxy extends AsyncDisposable {
  readonly address: string;
  /** Ends all connections without a word to either side's protocol. */
  cut(): void;
}

/** A TCP relay in front of the server. */
export async function startProxy(port: number): Promise<Proxy> {
  const sockets = new Set<Socket>();
  const listener = createServer((near) => {
    const far = dial(port, "127.0.0.1");
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => {});
    }
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => void listener.listen(0, "127.0.0.1", resolve));
  const cut = () => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  const bound = listener.address();
  return {
    address: `127.0.0.1:${typeof bound === "object" && bound !== null ? bound.port : 0}`,
    cut,
    async [Symbol.asyncDispose]() {
      cut();
      await new Promise((resolve) => void listener.close(resolve));
    },
  };
}
