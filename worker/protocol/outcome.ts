/**
 * How a call or a stream ended, as the agent sees it, and the two tables that carry errors over the wire:
 * error kind -> gRPC status (gateway), gRPC status -> outcome (agent).
 * Meaning of the codes: https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
 */
import { status } from "@grpc/grpc-js";
import { type ErrorKind, SchedulerError } from "#domain/error.ts";
import { REASON_CHARS_MAX } from "./limits.ts";

export type Failure =
  /** Dial again after a backoff. */
  | { readonly kind: "retryable"; readonly reason: string }
  /** The same try would fail again: say the reason and stop. */
  | { readonly kind: "fatal"; readonly reason: string };

export type Outcome =
  /** Ended in order, no drain was asked for: dial again when there is a reason to. */
  | { readonly kind: "served" }
  /** Ended in order after the gateway had sent Drain: the worker's life is over. */
  | { readonly kind: "drained" }
  | Failure;

/** Thrown where a call to the gateway did not work. */
export class OutcomeError extends Error {
  override readonly name = "OutcomeError";
  readonly outcome: Failure;

  constructor(outcome: Failure, options?: ErrorOptions) {
    super(outcome.reason, options);
    this.outcome = outcome;
  }
}

const STATUS_OF_KIND: Readonly<Record<ErrorKind, status>> = {
  "invalid-input": status.INVALID_ARGUMENT,
  unauthenticated: status.UNAUTHENTICATED,
  forbidden: status.PERMISSION_DENIED,
  "not-found": status.NOT_FOUND,
  conflict: status.ALREADY_EXISTS,
  "too-large": status.OUT_OF_RANGE,
  "version-mismatch": status.FAILED_PRECONDITION,
  integrity: status.DATA_LOSS,
  unavailable: status.UNAVAILABLE,
  "outcome-unknown": status.UNKNOWN,
};

/** Codes that say "not this request, ever"; all others may pass with time (code.proto, notes on retrying). */
const FATAL: ReadonlySet<status> = new Set([
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.ALREADY_EXISTS,
  status.PERMISSION_DENIED,
  status.FAILED_PRECONDITION,
  status.OUT_OF_RANGE,
  status.UNIMPLEMENTED,
  status.DATA_LOSS,
  status.UNAUTHENTICATED,
]);

export interface WireStatus {
  readonly code: status;
  readonly details: string;
}

/** What a handler's error becomes on the wire; `undefined` = one that is not ours, whose text stays in the gateway's log. */
export const statusOfError = (error: unknown): WireStatus | undefined =>
  error instanceof SchedulerError ? { code: STATUS_OF_KIND[error.kind], details: wireText(error.message) } : undefined;

/** A sentence that fits in a header: well-formed and bounded. */
export const wireText = (text: string): string => text.slice(0, REASON_CHARS_MAX).toWellFormed();

/** What a status means for the agent. */
export function outcomeOfStatus({ code, details }: WireStatus, drainSeen: boolean): Outcome {
  if (code === status.OK) return { kind: drainSeen ? "drained" : "served" };
  return failureOfStatus({ code, details });
}

export function failureOfStatus({ code, details }: WireStatus): Failure {
  const untrusted = code === status.UNAVAILABLE ? distrust(details) : undefined;
  if (untrusted !== undefined) return { kind: "fatal", reason: untrusted };
  const reason = details === "" ? `the gateway answered ${status[code] ?? code}` : details;
  return { kind: FATAL.has(code) ? "fatal" : "retryable", reason };
}

/**
 * grpc-js reports a server certificate that the client refuses as UNAVAILABLE and leaves the cause to the text. Trying
 * again cannot help: a worker would burn its allocation. Texts: OpenSSL X509_verify_cert_error_string(3) and Node's
 * ERR_TLS_CERT_ALTNAME_INVALID.
 */
const DISTRUST =
  /self-signed certificate|unable to get (local )?issuer certificate|unable to verify the first certificate|certificate signature failure|certificate has expired|certificate is not yet valid|unsuitable certificate purpose|unsupported certificate purpose|does not match certificate's altnames/i;

function distrust(details: string): string | undefined {
  const found = DISTRUST.exec(details)?.[0];
  if (found === undefined) return undefined;
  return `the gateway's certificate is not trusted (${found}): check that --ca names this deployment's CA file, --gateway its address, and that this machine's clock is right`;
}
