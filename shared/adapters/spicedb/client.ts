/** One connection to a SpiceDB server, and its failures in our terms. Imported by this folder only. */
import { v1 } from "@authzed/authzed-node";
import { type CallOptions, type ServiceError, status } from "@grpc/grpc-js";
import { SchedulerError } from "#domain/error.ts";

export interface SpiceDbOptions {
  /** `host:port`. */
  readonly endpoint: string;
  readonly presharedKey: string;
  /** `plaintext` sends the key unprotected: loopback and private networks only. */
  readonly transport: "tls" | "plaintext";
  /** How long one call may take. */
  readonly deadlineMs?: number;
}

export const CALL_DEADLINE_MS = 5_000;

/** A restarted server is found again within about a second; the library's own pause grows to two minutes. */
const RECONNECT_MS_MIN = 50;
const RECONNECT_MS_MAX = 1_000;

export type SpiceDbClient = v1.ZedClientInterface;

export function connectSpiceDb(options: SpiceDbOptions): SpiceDbClient {
  const security = options.transport === "tls" ? v1.ClientSecurity.SECURE : v1.ClientSecurity.INSECURE_PLAINTEXT_CREDENTIALS;
  return v1.NewClient(options.presharedKey, options.endpoint, security, undefined, {
    "grpc.initial_reconnect_backoff_ms": RECONNECT_MS_MIN,
    "grpc.min_reconnect_backoff_ms": RECONNECT_MS_MIN,
    "grpc.max_reconnect_backoff_ms": RECONNECT_MS_MAX,
  });
}

type Done<T> = (error: ServiceError | null, value?: T) => void;

/** Makes one unary call under a deadline. Throws SchedulerError. */
export function ask<T>(deadlineMs: number, call: (options: CallOptions, done: Done<T>) => unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    call({ deadline: Date.now() + deadlineMs }, (error, value) => {
      if (error !== null || value === undefined) reject(asSchedulerError(error));
      else resolve(value);
    });
  });
}

const REFUSED_INPUT: ReadonlySet<number> = new Set([
  status.INVALID_ARGUMENT,
  status.FAILED_PRECONDITION,
  status.OUT_OF_RANGE,
  status.NOT_FOUND,
]);

/**
 * A lost answer to a write is `unavailable` like one that never arrived: our writes (TOUCH, DELETE) may be repeated
 * without harm, so nobody has to tell the two apart.
 */
export function asSchedulerError(error: { readonly code?: number; readonly details?: string } | null): SchedulerError {
  const details = error?.details ?? "no answer";
  if (error?.code !== undefined && REFUSED_INPUT.has(error.code)) {
    return new SchedulerError("invalid-input", `the authorization service refused the request: ${details}`, { cause: error });
  }
  if (error?.code === status.UNAUTHENTICATED || error?.code === status.PERMISSION_DENIED) {
    return new SchedulerError("unavailable", "the authorization service refused our preshared key: set the same key on both sides", {
      cause: error,
    });
  }
  return new SchedulerError("unavailable", `the authorization service can't be asked now (${details}): try again`, { cause: error });
}
