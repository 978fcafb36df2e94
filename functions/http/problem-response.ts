/** ENCODE: answers and problems as responses. */
import { JSON_TYPE } from "#api/routes.ts";
import { makeProblem, PROBLEM_CONTENT_TYPE, type Problem, type ProblemCode, problemOf } from "#api/problem.ts";

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
