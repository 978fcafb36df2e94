/**
 * Problems: how errors cross HTTP (RFC 9457, application/problem+json), both ways, from one table.
 *
 * `code` is stable and meant for programs. `detail` never holds internals: for answers of 500 and above it is the text
 * of this table, and the cause stays in the log under the request's id.
 */
import { type Complaint, type ErrorKind, SchedulerError } from "#domain/error.ts";
import * as z from "zod";

interface ProblemKind {
  readonly status: number;
  readonly title: string;
}

export const PROBLEMS = {
  "invalid-input": { status: 400, title: "The request is not valid." },
  unauthenticated: { status: 401, title: "Log in first." },
  forbidden: { status: 403, title: "You may not do this." },
  "not-found": { status: 404, title: "There is no such thing, or you may not see it." },
  "method-not-allowed": { status: 405, title: "This address does not take this method." },
  conflict: { status: 409, title: "The present state does not allow this." },
  "idempotency-in-progress": { status: 409, title: "The first request with this idempotency key is still running. Try again shortly." },
  "too-large": { status: 413, title: "That is too large." },
  "unsupported-media-type": { status: 415, title: "This content type is not taken here." },
  "header-too-large": { status: 431, title: "Address and headers of the request are too long together." },
  "rate-limited": { status: 429, title: "Too many requests from this account. Wait as long as Retry-After says, then try again." },
  "idempotency-mismatch": { status: 422, title: "This idempotency key was used for another request." },
  "version-mismatch": { status: 426, title: "Client and server do not understand each other. Update the older one." },
  integrity: { status: 500, title: "Stored data did not have its checksum, so it is not given out." },
  internal: { status: 500, title: "Something went wrong on our side. It is in the log under the id of this request." },
  unavailable: { status: 503, title: "A part of the system does not answer. Try again shortly." },
  "outcome-unknown": { status: 503, title: "It is not known whether this took effect. Look, then try again." },
} as const satisfies Record<ErrorKind, ProblemKind> & Record<string, ProblemKind>;

export type ProblemCode = keyof typeof PROBLEMS;

export const PROBLEM_CONTENT_TYPE = "application/problem+json";

const complaint = z.object({
  path: z.string(),
  message: z.string(),
  line: z.int().min(1).exactOptional(),
  column: z.int().min(1).exactOptional(),
}) satisfies z.ZodType<Complaint>;

export const problem = z.object({
  type: z.string().describe("`urn:airavata:problem:<code>`"),
  title: z.string(),
  status: z.int(),
  code: z.string(),
  detail: z.string(),
  requestId: z.string().exactOptional(),
  complaints: z.array(complaint).readonly().exactOptional(),
});
export type Problem = z.output<typeof problem>;

export const COMPLAINTS_MAX = 100;

interface ProblemFacts {
  readonly code: ProblemCode;
  readonly detail?: string;
  readonly requestId?: string;
  readonly complaints?: readonly Complaint[];
}

export function makeProblem(facts: ProblemFacts): Problem {
  const kind = PROBLEMS[facts.code];
  return {
    type: `urn:airavata:problem:${facts.code}`,
    title: kind.title,
    status: kind.status,
    code: facts.code,
    detail: facts.detail ?? kind.title,
    ...(facts.requestId === undefined ? {} : { requestId: facts.requestId }),
    ...(facts.complaints === undefined || facts.complaints.length === 0 ? {} : { complaints: facts.complaints.slice(0, COMPLAINTS_MAX) }),
  };
}

/** What a caller may know of an error. Anything that is not a {@link SchedulerError} is `internal`. */
export function problemOf(error: unknown, requestId?: string): Problem {
  const id = requestId === undefined ? {} : { requestId };
  if (!(error instanceof SchedulerError)) return makeProblem({ code: "internal", ...id });
  if (PROBLEMS[error.kind].status >= 500) return makeProblem({ code: error.kind, ...id });
  return makeProblem({ code: error.kind, detail: error.message, complaints: error.complaints, ...id });
}

/** An answer that was not a success, as its caller throws it. `code` is finer than `kind`. */
export class RemoteError extends SchedulerError {
  readonly code: string;
  readonly status: number;
  readonly requestId: string | undefined;

  constructor(
    kind: ErrorKind,
    message: string,
    answer: { code: string; status: number; requestId?: string; complaints?: readonly Complaint[] },
  ) {
    super(kind, message, answer.complaints === undefined ? {} : { complaints: answer.complaints });
    this.code = answer.code;
    this.status = answer.status;
    this.requestId = answer.requestId;
  }
}

const KIND_OF_STATUS: ReadonlyMap<number, ErrorKind> = new Map<number, ErrorKind>([
  [400, "invalid-input"],
  [401, "unauthenticated"],
  [403, "forbidden"],
  [404, "not-found"],
  [405, "version-mismatch"],
  [409, "conflict"],
  [413, "too-large"],
  [415, "invalid-input"],
  [422, "conflict"],
  [426, "version-mismatch"],
  [431, "too-large"],
]);

const isErrorKind = (code: string): code is ErrorKind =>
  code in PROBLEMS &&
  !["internal", "method-not-allowed", "unsupported-media-type", "header-too-large", "rate-limited"].includes(code) &&
  !code.startsWith("idempotency-");

/** Reads an answer that was not a success; also one that some proxy on the way wrote. */
export function errorOfAnswer(status: number, body: unknown): RemoteError {
  const read = problem.safeParse(body);
  const fallback = KIND_OF_STATUS.get(status) ?? "unavailable";
  if (!read.success) return new RemoteError(fallback, `the server answered ${status}`, { code: fallback, status });
  const { code, detail, requestId, complaints } = read.data;
  const kind = isErrorKind(code) ? code : fallback;
  return new RemoteError(kind, detail, {
    code,
    status,
    ...(requestId === undefined ? {} : { requestId }),
    ...(complaints === undefined ? {} : { complaints }),
  });
}

/** Complaints of a failed zod parse. */
export const complaintsOf = (error: z.ZodError): Complaint[] =>
  error.issues.slice(0, COMPLAINTS_MAX).map((issue) => ({ path: issue.path.map(String).join("."), message: issue.message }));
