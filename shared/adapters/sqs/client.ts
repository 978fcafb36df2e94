/** The SQS client and what its errors mean. */
import { SQSClient, type SQSClientConfig, SQSServiceException } from "@aws-sdk/client-sqs";
import { SchedulerError } from "#domain/error.ts";
import { CONNECT_TIMEOUT_MS, REQUEST_TRIES_MAX, SOCKET_IDLE_MS, SOCKETS_MAX } from "./limits.ts";

export interface SqsClientOptions {
  /** Default: AWS's own by region, or AWS_ENDPOINT_URL_SQS. */
  readonly endpoint?: string;
  /** Default: AWS_REGION, then us-east-1. */
  readonly region?: string;
  /** Default: the SDK's chain. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

const isAmazons = ({ endpoint }: SqsClientOptions): boolean =>
  endpoint === undefined && process.env.AWS_ENDPOINT_URL_SQS === undefined && process.env.AWS_ENDPOINT_URL === undefined;

/** Retries lost answers itself: a message sent twice is a hint given twice (G5). */
export function createSqsClient(options: SqsClientOptions = {}): SQSClient {
  const sockets = { keepAlive: true, maxSockets: SOCKETS_MAX };
  const config: SQSClientConfig = {
    region: options.region ?? process.env.AWS_REGION ?? "us-east-1",
    maxAttempts: REQUEST_TRIES_MAX,
    // A queue's address names the host that it was asked at; behind a given endpoint that host may be another one.
    useQueueUrlAsEndpoint: isAmazons(options),
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      socketTimeout: SOCKET_IDLE_MS,
      httpAgent: sockets,
      httpsAgent: sockets,
    },
  };
  if (options.endpoint !== undefined) config.endpoint = options.endpoint;
  if (options.credentials !== undefined) config.credentials = options.credentials;
  return new SQSClient(config);
}

const nameOf = (error: unknown): string => (error instanceof Error ? error.name : "");

/** Both protocols' names of one thing: emulators speak either. */
export const isMissingQueue = (error: unknown): boolean => /(QueueDoesNotExist|NonExistentQueue)$/.test(nameOf(error));
export const isTakenName = (error: unknown): boolean => /(QueueNameExists|QueueAlreadyExists)$/.test(nameOf(error));

const PASSING = /(Throttl|RequestThrottled|OverLimit|ServiceUnavailable|InternalError|QueueDeletedRecently|KmsThrottled)/;

/** `unavailable` for what may pass, `not-found` for a queue that is not there; our own mistakes stay what they are. */
export function asSchedulerError(error: unknown, queue: string): unknown {
  if (error instanceof SchedulerError) return error;
  if (isMissingQueue(error)) return new SchedulerError("not-found", `there is no queue ${queue}: deploy it first`, { cause: error });
  if (nameOf(error) === "CredentialsProviderError" || error instanceof TypeError || error instanceof RangeError) return error;
  const status = error instanceof SQSServiceException ? error.$metadata.httpStatusCode : undefined;
  const passes = status === undefined ? isNetwork(error) : status >= 500 || status === 429;
  if (passes || PASSING.test(nameOf(error)))
    return new SchedulerError("unavailable", "the message queue does not answer; try again", { cause: error });
  return error;
}

function isNetwork(error: unknown): boolean {
  return error instanceof Error && ("code" in error || ["TimeoutError", "AbortError", "NetworkingError"].includes(error.name));
}
