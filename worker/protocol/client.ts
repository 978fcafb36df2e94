/** The agent's end of gRPC: one TLS connection to a gateway. Nothing here dials again; see backoff.ts and outcome.ts. */
import { credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import type { Channel } from "./channel.ts";
import {
  AgentMessage,
  type GatewayMessage,
  type JoinReply,
  type JoinRequest,
  type RenewReply,
  type SignUploadsReply,
  type SignUploadsRequest,
  TaskGatewayClient,
  TaskGatewayService,
} from "./gen/worker.ts";
import {
  CLOSE_WAIT_MS,
  CONNECT_WAIT_MS,
  KEEPALIVE_INTERVAL_MS,
  KEEPALIVE_WAIT_MS,
  MESSAGE_BYTES_MAX,
  UNARY_WAIT_MS,
  WINDOW_BYTES,
} from "./limits.ts";
import { failureOfStatus, type Outcome, OutcomeError, outcomeOfStatus } from "./outcome.ts";
import { createStreamChannel } from "./stream-channel.ts";

/**
 * The name that every gateway certificate of a deployment carries, and the only one the agent checks. The CA signs
 * nothing but this deployment's gateways for server use, so an address adds no proof; and compute nodes reach a gateway
 * through tunnels and forwarded ports whose names no certificate could list.
 */
export const GATEWAY_NAME = "gateway.airavata.internal";

export interface DialOptions {
  /** host:port */
  readonly address: string;
  /** PEM of the deployment's CA: nothing else is trusted. */
  readonly ca: string;
  /** PEM; absent for Join alone. */
  readonly identity?: { readonly certificate: string; readonly key: string };
}

export interface WorkStream extends Channel<AgentMessage, GatewayMessage> {
  /** How it ended; never rejects. Settles only once all messages were received or the channel was closed. */
  readonly ended: Promise<Outcome>;
}

/** Calls reject with {@link OutcomeError}. */
export interface GatewayClient {
  join(request: JoinRequest): Promise<JoinReply>;
  renew(): Promise<RenewReply>;
  /** Resolves once the gateway has accepted the certificate. */
  work(): Promise<WorkStream>;
  signUploads(request: SignUploadsRequest): Promise<SignUploadsReply>;
  close(): void;
}

export function createGatewayClient(options: DialOptions): GatewayClient {
  const pem = (text: string | undefined) => (text === undefined ? null : Buffer.from(text));
  let client: TaskGatewayClient;
  try {
    const tls = credentials.createSsl(pem(options.ca), pem(options.identity?.key), pem(options.identity?.certificate));
    client = new TaskGatewayClient(`dns:${options.address}`, tls, CLIENT_OPTIONS);
  } catch (cause) {
    throw new OutcomeError(
      { kind: "fatal", reason: "the CA, certificate or key is not readable PEM: check --ca, or join again" },
      { cause },
    );
  }
  const deadline = () => ({ deadline: Date.now() + UNARY_WAIT_MS });
  return {
    join: (request) => unary((done) => client.join(request, new Metadata(), deadline(), done)),
    renew: () => unary((done) => client.renew({}, new Metadata(), deadline(), done)),
    signUploads: (request) => unary((done) => client.signUploads(request, new Metadata(), deadline(), done)),
    work: () => openWork(client),
    close: () => client.close(),
  };
}

const CLIENT_OPTIONS = {
  "grpc.ssl_target_name_override": GATEWAY_NAME,
  "grpc.default_authority": GATEWAY_NAME,
  "grpc.max_send_message_length": MESSAGE_BYTES_MAX,
  "grpc.max_receive_message_length": MESSAGE_BYTES_MAX,
  "grpc.keepalive_time_ms": KEEPALIVE_INTERVAL_MS,
  "grpc.keepalive_timeout_ms": KEEPALIVE_WAIT_MS,
  "grpc-node.flow_control_window": WINDOW_BYTES,
  "grpc.service_config_disable_resolution": 1,
  // Each client has a connection of its own, gone with it: no back-off of an earlier failure is shared.
  "grpc.use_local_subchannel_pool": 1,
  "grpc.enable_channelz": 0,
  // Tries are ours to repeat. A retry buffer would also report writes as taken before they are, and hide the backlog.
  "grpc.enable_retries": 0,
  "grpc.per_rpc_retry_buffer_size": 0,
} as const;

function unary<Reply>(call: (done: (error: ServiceError | null, reply: Reply) => void) => void): Promise<Reply> {
  return new Promise((resolve, reject) => {
    call((error, reply) => (error === null ? resolve(reply) : reject(new OutcomeError(failureOfStatus(error), { cause: error }))));
  });
}

const WORK = TaskGatewayService.work;

function openWork(client: TaskGatewayClient): Promise<WorkStream> {
  const call = client.makeBidiStreamRequest(WORK.path, (bytes: Buffer) => bytes, WORK.responseDeserialize, new Metadata());
  let drainSeen = false;
  let cut: string | undefined;
  let closed = false;

  const channel = createStreamChannel<AgentMessage, GatewayMessage>(call, {
    encode: (message) => AgentMessage.encode(message).finish(),
    onClose: () => {
      closed = true;
      call.end();
      setTimeout(() => call.cancel(), CLOSE_WAIT_MS).unref();
    },
    onOverflow: () => {
      cut = "the gateway reads too slowly: the connection was given up";
      call.cancel();
    },
  });
  const ended = new Promise<Outcome>((resolve) => {
    call.on("status", (wire) => {
      const ownCancel = closed && wire.code === status.CANCELLED;
      if (cut !== undefined) resolve({ kind: "retryable", reason: cut });
      else resolve(outcomeOfStatus(ownCancel ? { code: status.OK, details: "" } : wire, drainSeen));
    });
  });
  const stream: WorkStream = {
    ...channel,
    ended,
    async receive() {
      const message = await channel.receive();
      if (message?.body?.$case === "drain") drainSeen = true;
      return message;
    },
  };
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      cut = `the gateway did not answer within ${CONNECT_WAIT_MS / 1000} s`;
      call.cancel();
    }, CONNECT_WAIT_MS);
    const settled = () => clearTimeout(timer);
    call.once("metadata", () => {
      settled();
      resolve(stream);
    });
    void ended.then((outcome) => {
      settled();
      const reason = "the gateway ended the stream at once";
      reject(new OutcomeError(outcome.kind === "retryable" || outcome.kind === "fatal" ? outcome : { kind: "retryable", reason }));
    });
  });
}
