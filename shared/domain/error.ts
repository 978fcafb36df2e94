/** The closed union of what can go wrong, each kind terminal or retryable. Message = what happened and what to do. */

export const ERROR_KINDS = {
  "invalid-input": "terminal",
  unauthenticated: "terminal",
  forbidden: "terminal",
  "not-found": "terminal",
  conflict: "terminal",
  "too-large": "terminal",
  "version-mismatch": "terminal",
  integrity: "terminal",
  unavailable: "retryable",
  "outcome-unknown": "retryable",
} as const;

export type ErrorKind = keyof typeof ERROR_KINDS;

/** One place in the input that is wrong. `line` and `column` count from 1. */
export interface Complaint {
  readonly path: string;
  readonly message: string;
  readonly line?: number;
  readonly column?: number;
}

export class SchedulerError extends Error {
  override readonly name = "SchedulerError";
  readonly kind: ErrorKind;
  readonly complaints: readonly Complaint[];

  constructor(kind: ErrorKind, message: string, options: { cause?: unknown; complaints?: readonly Complaint[] } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.complaints = options.complaints ?? [];
  }

  get disposition(): "terminal" | "retryable" {
    return ERROR_KINDS[this.kind];
  }
}

/** Ends a `switch` over a union: a new variant becomes a compile error here. */
export function assertNever(value: never): never {
  throw new Error(`unexpected variant ${JSON.stringify(value)}`);
}

/** Checks our own mistakes; never input. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}
