/** Which pages of other origins may use the API (Fetch standard, CORS). Tokens travel in a header, so no credentials are allowed. */
const METHODS = "GET, POST, DELETE";
const REQUEST_HEADERS = "authorization, content-type, idempotency-key, if-none-match, last-event-id, x-request-id";
const ANSWER_HEADERS =
  "etag, idempotency-replayed, link, retry-after, x-log-attempt, x-log-bytes, x-log-omitted, x-log-outcome, x-request-id";
const MAX_AGE_S = 600;

export interface Cors {
  /** The answer to a preflight request; `undefined`: it is none, or not of an origin that may. */
  preflight(request: Request): Response | undefined;
  addTo(response: Response, request: Request): void;
}

/** `origins`: as browsers send them (`https://portal.example.org`), or `*` for every one. Empty: no page elsewhere. */
export function createCors(origins: readonly string[]): Cors {
  const allowed = (request: Request): string | undefined => {
    const origin = request.headers.get("origin");
    if (origin === null) return undefined;
    if (origins.includes("*")) return "*";
    return origins.includes(origin) ? origin : undefined;
  };
  return {
    preflight(request) {
      if (request.method !== "OPTIONS" || !request.headers.has("access-control-request-method")) return undefined;
      if (allowed(request) === undefined) return undefined;
      const headers = {
        "access-control-allow-methods": METHODS,
        "access-control-allow-headers": REQUEST_HEADERS,
        "access-control-max-age": String(MAX_AGE_S),
      };
      return new Response(null, { status: 204, headers });
    },
    addTo(response, request) {
      if (origins.length === 0) return;
      response.headers.append("vary", "origin");
      const origin = allowed(request);
      if (origin === undefined) return;
      response.headers.set("access-control-allow-origin", origin);
      response.headers.set("access-control-expose-headers", ANSWER_HEADERS);
    },
  };
}
