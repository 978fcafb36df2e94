/** The S3 client and what its errors mean. */
import { S3Client, type S3ClientConfig, S3ServiceException } from "@aws-sdk/client-s3";
import { SchedulerError } from "#domain/error.ts";
import { CONNECT_TIMEOUT_MS, REQUEST_TRIES_MAX, SOCKET_IDLE_MS, SOCKETS_MAX } from "./limits.ts";

export interface S3ClientOptions {
  /** Default: AWS's own by region, or AWS_ENDPOINT_URL_S3. Given: keys stand in the path, as emulators want it. */
  readonly endpoint?: string;
  /** Default: AWS_REGION, then us-east-1. */
  readonly region?: string;
  /** Default: the SDK's chain. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

/**
 * Retries throttling, 5xx and lost connections itself: every request here is a read, a delete, a part that may be sent
 * twice, or a put that writes only what is absent.
 */
export function createS3Client(options: S3ClientOptions = {}): S3Client {
  const sockets = { keepAlive: true, maxSockets: SOCKETS_MAX };
  const config: S3ClientConfig = {
    region: options.region ?? process.env.AWS_REGION ?? "us-east-1",
    maxAttempts: REQUEST_TRIES_MAX,
    // Every put carries the SHA-256 of its bytes; the SDK's own CRC beside it would only cost time.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    requestHandler: {
      connectionTimeout: CONNECT_TIMEOUT_MS,
      socketTimeout: SOCKET_IDLE_MS,
      httpAgent: sockets,
      httpsAgent: sockets,
    },
  };
  const isElsewhere = options.endpoint ?? process.env.AWS_ENDPOINT_URL_S3 ?? process.env.AWS_ENDPOINT_URL;
  if (isElsewhere !== undefined) config.forcePathStyle = true;
  if (options.endpoint !== undefined) config.endpoint = options.endpoint;
  if (options.credentials !== undefined) config.credentials = options.credentials;
  return new S3Client(config);
}

export const statusOf = (error: unknown): number | undefined =>
  error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;

export const nameOf = (error: unknown): string => (error instanceof Error ? error.name : "");

const PASSING = new Set(["SlowDown", "ThrottlingException", "Throttling", "RequestTimeout", "ServiceUnavailable", "InternalError"]);

/**
 * `unavailable` for what may pass: throttling, 5xx, timeouts, lost connections. Our own mistakes (no such bucket, no
 * permission, wrong credentials) stay what they are.
 */
export function asSchedulerError(error: unknown): unknown {
  if (error instanceof SchedulerError) return error;
  if (nameOf(error) === "CredentialsProviderError" || error instanceof TypeError || error instanceof RangeError) return error;
  const status = statusOf(error);
  const passes = status === undefined ? isNetwork(error) : status >= 500 || status === 429 || status === 408;
  if (passes || PASSING.has(nameOf(error)))
    return new SchedulerError("unavailable", "the object store does not answer; try again", { cause: error });
  return error;
}

/** Errors of sockets and of the SDK's timers: those of Node have a code. */
function isNetwork(error: unknown): boolean {
  return error instanceof Error && ("code" in error || ["TimeoutError", "AbortError", "NetworkingError"].includes(error.name));
}

export async function guarded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asSchedulerError(error);
  }
}
