/** ENCODE: answers and problems as responses. */
import { JSON_TYPE } from "#api/routes.ts";
import { makeProblem, PROBLEM_CONTENT_TYPE, type Problem, type ProblemCode, problemOf } from "#api/problem.ts";

const ETAG_CHARACTERS = 27;

/** Thrown for refusals that have no domain kind (405, 415, 422, a key in progress). */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly code: ProblemCode;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: ProblemCode, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.code = code;
    this.headers = headers;
  }
}

function headersOf(problem: Problem): Record<string, string> {
  if (problem.status === 401) return { "www-authenticate": 'Bearer realm="airavata"' };
  if (problem.status === 503) return { "retry-after": "1" };
  return {};
}

export function problemResponse(error: unknown, requestId: string): Response {
  const refusal = error instanceof Refusal ? error : undefined;
  const problem =
    refusal === undefined ? problemOf(error, requestId) : makeProblem({ code: refusal.code, detail: refusal.message, requestId });
  return new Response(JSON.stringify(problem), {
    status: problem.status,
    headers: { "content-type": PROBLEM_CONTENT_TYPE, ...headersOf(problem), ...refusal?.headers },
  });
}

export const jsonResponse = (status: number, text: string, headers: Readonly<Record<string, string>> = {}): Response =>
  new Response(text, { status, headers: { "content-type": JSON_TYPE, ...headers } });

/** A state for whoever polls: 304 without content when it is what `If-None-Match` names (RFC 9110, 13.1.2). */
export async function revalidated(request: Request, text: string): Promise<Response> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  const etag = `"${Buffer.from(digest).toString("base64url").slice(0, ETAG_CHARACTERS)}"`;
  const headers = { etag, "cache-control": "private, no-cache" };
  const known = (request.headers.get("if-none-match") ?? "").split(",").map((tag) => tag.trim().replace(/^W\//, ""));
  return known.includes(etag) || known.includes("*") ? new Response(null, { status: 304, headers }) : jsonResponse(200, text, headers);
}
