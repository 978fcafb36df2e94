/**
 * The gateway's end of gRPC: TLS on one port. Join needs no client certificate; all other calls need one of this
 * deployment, and who the worker is comes from that certificate alone, never from a message.
 *
 * TLS asks every client for a certificate and lets in those without (grpc-js: certificate-provider credentials with
 * `requireClientCertificate` false; `createSsl` can only demand one or not ask). A certificate that does not verify is
 * treated as none: `getAuthContext` then names no peer, and the refusal arrives as a sentence instead of a TLS alert.
 */
import { X509Certificate } from "node:crypto";
import {
  experimental,
  Metadata,
  Server,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceError,
  type sendUnaryData,
  status,
} from "@grpc/grpc-js";
import { SchedulerError } from "#domain/error.ts";
import type { WorkerId } from "#domain/id.ts";
import type { Channel } from "#protocol/channel.ts";
import {
  type AgentMessage,
  GatewayMessage,
  type Hello,
  type JoinReply,
  type JoinRequest,
  type RenewReply,
  type RenewRequest,
  type SignUploadsReply,
  type SignUploadsRequest,
  TaskGatewayService,
} from "#protocol/gen/worker.ts";
import {
  CLOSE_WAIT_MS,
  KEEPALIVE_INTERVAL_MS,
  KEEPALIVE_WAIT_MS,
  MESSAGE_BYTES_MAX,
  TOKEN_BYTES_MAX,
  UPLOADS_PER_REQUEST_MAX,
} from "#protocol/limits.ts";
import type { Log } from "#protocol/log.ts";
import { statusOfError, type WireStatus, wireText } from "#protocol/outcome.ts";
import { createStreamChannel } from "#protocol/stream-channel.ts";
import { PROTOCOL_VERSION, RELEASE_VERSION } from "#protocol/version.ts";
import { type Authority, type ServerIdentity, workerOfName } from "./certificates.ts";
import { type Connections, createConnections } from "./connections.ts";
import { createJoinLimit, type JoinLimit } from "./join-limit.ts";
import {
  CALLS_PER_CONNECTION_MAX,
  CONNECTION_IDLE_MS,
  HELLO_WAIT_MS,
  JOIN_KEY_BYTES_MAX,
  SERVER_CERTIFICATE_CHECK_MS,
  SERVER_CERTIFICATE_RENEW_MS,
  WORK_STREAMS_MAX,
} from "./limits.ts";

/** A {@link SchedulerError} that a handler throws reaches the agent with its sentence; any other error as "failed". */
export interface GatewayHandlers {
  /** W3: trades the token for a certificate. */
  join(request: JoinRequest): Promise<JoinReply>;
  /** Serves one stream until it resolves; the first message received is Hello, its version already checked. */
  serve(workerId: WorkerId, channel: Channel<GatewayMessage, AgentMessage>): Promise<void>;
  /** URLs in the order of the files asked for. */
  signUploads(workerId: WorkerId, request: SignUploadsRequest): Promise<readonly string[]>;
}

export interface GatewayServerOptions {
  readonly host: string;
  /** 0 = any free one. */
  readonly port: number;
  /** Names and addresses for the certificate beside GATEWAY_NAME, for clients that check them. */
  readonly hosts?: readonly string[];
  readonly authority: Authority;
  readonly handlers: GatewayHandlers;
  readonly logger: Log;
}

export interface GatewayServer {
  readonly port: number;
  /** Ends all streams (agents are told to dial again), waits for their handlers, and cuts what is left after `graceMs`. */
  close(graceMs: number): Promise<void>;
}

export async function createGatewayServer(options: GatewayServerOptions): Promise<GatewayServer> {
  const hosts = options.hosts ?? [];
  const provider = createIdentityProvider(options.authority.caPem, await options.authority.issueServer({ hosts }));
  const server = new Server(SERVER_OPTIONS);
  // Declared here, used by both below: the calls cut connections, the connections feed the calls.
  const connections: Connections = createConnections((socket) => injector.injectConnection(socket));
  const calls = createCalls(options, connections);
  server.addService(SERVICE, { join: calls.join, renew: calls.renew, signUploads: calls.signUploads, work: calls.work });
  const injector = server.createConnectionInjector(experimental.createCertificateProviderServerCredentials(provider, provider, false));
  await new Promise(setImmediate); // the provider answers in the next tick; until then connections would be dropped

  const renewal = setInterval(() => {
    if (provider.expiresAtMs() - Date.now() > SERVER_CERTIFICATE_RENEW_MS) return;
    options.authority.issueServer({ hosts }).then(provider.replace, (error: unknown) => {
      options.logger.warn("the server certificate was not renewed", { cause: String(error) });
    });
  }, SERVER_CERTIFICATE_CHECK_MS).unref();

  const port = await connections.listen(options);
  return {
    port,
    async close(graceMs) {
      clearInterval(renewal);
      const streams = calls.stop();
      injector.destroy(); // lets open calls end, then closes their connections
      const cut = connections.close(graceMs);
      await Promise.race([Promise.all([streams, cut]), pause(graceMs)]);
      await cut;
      server.forceShutdown();
    },
  };
}

/** Work goes out as bytes: the channel encodes, so that it can count. */
const SERVICE = { ...TaskGatewayService, work: { ...TaskGatewayService.work, responseSerialize: (bytes: Buffer) => bytes } };

const SERVER_OPTIONS = {
  "grpc.max_send_message_length": MESSAGE_BYTES_MAX,
  "grpc.max_receive_message_length": MESSAGE_BYTES_MAX,
  "grpc.max_concurrent_streams": CALLS_PER_CONNECTION_MAX,
  "grpc.keepalive_time_ms": KEEPALIVE_INTERVAL_MS,
  "grpc.keepalive_timeout_ms": KEEPALIVE_WAIT_MS,
  "grpc.max_connection_idle_ms": CONNECTION_IDLE_MS,
  "grpc.enable_channelz": 0,
} as const;

const pause = (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms).unref());

interface IdentityProvider extends experimental.CertificateProvider {
  replace(identity: ServerIdentity): void;
  expiresAtMs(): number;
}

/** Feeds grpc-js the CA and the current server certificate; connections that are up keep the one they began with. */
function createIdentityProvider(caPem: string, first: ServerIdentity): IdentityProvider {
  let identity = first;
  const listeners = new Set<experimental.IdentityCertificateUpdateListener>();
  const update = () => ({ certificate: Buffer.from(identity.certificatePem), privateKey: Buffer.from(identity.keyPem) });
  return {
    addCaCertificateListener: (listener) => process.nextTick(() => listener({ caCertificate: Buffer.from(caPem) })),
    removeCaCertificateListener: () => {},
    addIdentityCertificateListener(listener) {
      listeners.add(listener);
      process.nextTick(() => listener(update()));
    },
    removeIdentityCertificateListener: (listener) => void listeners.delete(listener),
    replace(next) {
      identity = next;
      for (const listener of listeners) listener(update());
    },
    expiresAtMs: () => identity.expiresAtMs,
  };
}

type WorkCall = ServerDuplexStream<AgentMessage, Buffer>;

interface Calls {
  join(call: ServerUnaryCall<JoinRequest, JoinReply>, done: sendUnaryData<JoinReply>): void;
  renew(call: ServerUnaryCall<RenewRequest, RenewReply>, done: sendUnaryData<RenewReply>): void;
  signUploads(call: ServerUnaryCall<SignUploadsRequest, SignUploadsReply>, done: sendUnaryData<SignUploadsReply>): void;
  work(call: WorkCall): void;
  /** Refuses all calls from now on and ends the streams; resolves when their handlers have. */
  stop(): Promise<void>;
}

function createCalls(options: GatewayServerOptions, connections: Connections): Calls {
  const { handlers, logger } = options;
  const limit = createJoinLimit(Date.now);
  const streams = new Map<WorkSession, Promise<void>>();
  let stopping = false;

  /** The worker of a call, by its certificate alone. */
  const admit = (call: ServerUnaryCall<unknown, unknown> | WorkCall): WorkerId => {
    connections.used(call.getPeer());
    if (stopping) throw new SchedulerError("unavailable", STOPPING);
    const workerId = workerOfName(call.getAuthContext()?.sslPeerCertificate?.subject.CN);
    if (workerId === undefined) {
      throw new SchedulerError(
        "unauthenticated",
        "no valid worker certificate of this deployment came with the call: join with a new token",
      );
    }
    return workerId;
  };
  const answer = <Reply>(done: sendUnaryData<Reply>, reply: Promise<Reply>) => {
    reply.then(
      (value) => done(null, value),
      (error: unknown) => done(refusal(error, logger)),
    );
  };
  return {
    join(call, done) {
      connections.used(call.getPeer());
      answer(done, stopping ? Promise.reject(new SchedulerError("unavailable", STOPPING)) : join(call, handlers, limit));
    },
    renew(call, done) {
      const renew = async () => {
        const workerId = admit(call);
        const shown = new X509Certificate(call.getAuthContext()?.sslPeerCertificate?.raw ?? "");
        const publicKeySpki = shown.publicKey.export({ format: "der", type: "spki" });
        return { certificatePem: await options.authority.issueClient({ workerId, publicKeySpki }) };
      };
      answer(done, renew());
    },
    signUploads(call, done) {
      const sign = async () => {
        const workerId = admit(call);
        const files = call.request.files.length;
        if (files > UPLOADS_PER_REQUEST_MAX) {
          throw new SchedulerError("too-large", `${files} uploads in one request: ask for at most ${UPLOADS_PER_REQUEST_MAX}`);
        }
        return { urls: [...(await handlers.signUploads(workerId, call.request))] };
      };
      answer(done, sign());
    },
    work(call) {
      try {
        const workerId = admit(call);
        if (streams.size >= WORK_STREAMS_MAX)
          throw new SchedulerError("unavailable", "this gateway holds as many workers as it may: dial again later");
        call.sendMetadata(new Metadata()); // tells the agent that its certificate was taken
        const session = createSession(call, workerId, logger, connections);
        const served = session.run(handlers).finally(() => streams.delete(session));
        streams.set(session, served);
      } catch (error) {
        call.on("error", () => {});
        call.emit("error", refusal(error, logger));
      }
    },
    async stop() {
      stopping = true;
      const serving = [...streams.values()];
      for (const session of streams.keys()) session.end({ code: status.UNAVAILABLE, details: STOPPING });
      await Promise.all(serving);
    },
  };
}

const STOPPING = "this gateway is stopping: dial again";

async function join(call: ServerUnaryCall<JoinRequest, JoinReply>, handlers: GatewayHandlers, limit: JoinLimit): Promise<JoinReply> {
  const peer = call.getPeer();
  const address = peer.slice(0, peer.lastIndexOf(":"));
  if (!limit.admit(address))
    throw new SchedulerError("unavailable", "too many joins, or too many refused ones from this address: try again in a minute");
  try {
    const { token, publicKeySpki, protocolVersion, agentVersion } = call.request;
    if (token.length > TOKEN_BYTES_MAX || publicKeySpki.length > JOIN_KEY_BYTES_MAX) {
      throw new SchedulerError("invalid-input", "the token or the public key is too long: check the file that --token-file names");
    }
    checkVersion({ protocolVersion, agentVersion });
    return await handlers.join(call.request);
  } catch (error) {
    if (error instanceof SchedulerError && error.disposition === "terminal") limit.refused(address);
    throw error;
  }
}

function checkVersion({ protocolVersion, agentVersion }: Pick<Hello, "protocolVersion" | "agentVersion">): void {
  if (protocolVersion === PROTOCOL_VERSION) return;
  throw new SchedulerError(
    "version-mismatch",
    `the agent speaks protocol ${protocolVersion} (release ${wireText(agentVersion.slice(0, 50))}) and this gateway protocol ${PROTOCOL_VERSION} (release ${RELEASE_VERSION}): start the agent of release ${RELEASE_VERSION}`,
  );
}

/** The error as the agent may see it. The text of an error that is not ours stays in the log, under a reference. */
function refusal(error: unknown, logger: Log): Partial<ServiceError> & WireStatus {
  const known = statusOfError(error);
  if (known !== undefined) return known;
  const reference = crypto.randomUUID();
  logger.warn("a call failed", { reference, cause: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  return { code: status.INTERNAL, details: `the gateway failed: its log tells why under ${reference}` };
}

interface WorkSession {
  /** Hello, then the handler. Never rejects. */
  run(handlers: GatewayHandlers): Promise<void>;
  /** Ends the stream with a status; only the first one counts. */
  end(wire: WireStatus): void;
}

function createSession(call: WorkCall, workerId: WorkerId, logger: Log, connections: Connections): WorkSession {
  const peer = call.getPeer();
  let over = false;
  let overdue: NodeJS.Timeout | undefined;
  call.once("close", () => clearTimeout(overdue));

  const end = ({ code, details }: WireStatus) => {
    if (over) return;
    over = true;
    // The status follows all that is queued: a reader that takes none of it would keep it in memory for ever.
    overdue = setTimeout(() => connections.cut(peer), CLOSE_WAIT_MS);
    if (call.cancelled) clearTimeout(overdue);
    if (code === status.OK) call.end();
    else call.emit("error", { code, details });
    channel.close("");
  };
  const channel = createStreamChannel<GatewayMessage, AgentMessage>(call, {
    encode: (message) => GatewayMessage.encode(message).finish(),
    onClose: (reason) => end({ code: status.ABORTED, details: wireText(reason) }),
    onOverflow: () => {
      logger.warn("a worker reads too slowly: its connection was cut", { workerId, peer });
      over = true;
      connections.cut(peer);
    },
  });
  return {
    async run(handlers) {
      try {
        const hello = await firstMessage(channel);
        if (hello !== undefined) await handlers.serve(workerId, withFirst(hello, channel));
        end({ code: status.OK, details: "" });
      } catch (error) {
        end(refusal(error, logger));
      }
    },
    end,
  };
}

/** The checked Hello; `undefined` when the stream ended before. Throws what the agent did wrong. */
async function firstMessage(channel: Channel<GatewayMessage, AgentMessage>): Promise<AgentMessage | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new SchedulerError("unavailable", `no Hello within ${HELLO_WAIT_MS / 1000} s: dial again`);
    timer = setTimeout(() => reject(error), HELLO_WAIT_MS);
  });
  const message = await Promise.race([channel.receive(), late]).finally(() => clearTimeout(timer));
  if (message === undefined) return undefined;
  if (message.body?.$case !== "hello")
    throw new SchedulerError("invalid-input", "the first message was not Hello: this is no agent of this release");
  checkVersion(message.body.value);
  return message;
}

/** The channel with one message put back in front. */
function withFirst<Send, Receive>(first: Receive, channel: Channel<Send, Receive>): Channel<Send, Receive> {
  let waiting: Receive | undefined = first;
  return {
    ...channel,
    async receive() {
      if (waiting === undefined) return channel.receive();
      const message = waiting;
      waiting = undefined;
      return message;
    },
  };
}
