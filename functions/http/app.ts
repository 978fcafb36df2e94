/**
 * The HTTP application over the route table: the same in Lambda, in the local functions host and in tests.
 *
 * Order of every request: route, authenticate, rate, path, authorize (P1), query, content type, body, idempotency, handler.
 * Nothing before the handler has an effect. Answers of one experiment's routes never tell strangers that it exists.
 */
import { FILE_CONTENT, type FunctionsOperation, type OperationId, type Route, routeOf } from "#api/routes.ts";
import { SchedulerError } from "#domain/error.ts";
import { type ExperimentId, parseId } from "#domain/id.ts";
// The one pattern matcher that these routes need: 6 kB less to start than all of them.
import { Hono } from "hono/tiny";
import { createOwnAccountHandlers, createSignInHandlers, createUserHandlers } from "./accounts.ts";
import { authenticate, authorize, type RouteParams } from "./authenticate.ts";
import { checkContentType, contentOf, decodeBody, parseShape, readBytes } from "./body.ts";
import type { Handlers } from "./call.ts";
import type { AppDeps, HttpDeps } from "./deps.ts";
import { createCors } from "./cors.ts";
import { createCostHandlers } from "./costs.ts";
import { createDeadLetterHandlers } from "./dead-letters.ts";
import { createDepartureHandlers } from "./departure.ts";
import { createExperimentHandlers } from "./experiments.ts";
import { createExplainHandlers } from "./explain.ts";
import { runOnce } from "./idempotency.ts";
import { createLiveHandlers, type LiveDeps } from "./live.ts";
import { createLogHandlers } from "./logs.ts";
import { createOutputHandlers } from "./outputs.ts";
import { createProjectHandlers } from "./projects.ts";
import { createRateGuard } from "./rate-limit.ts";
import { createResourceHandlers } from "./resources.ts";
import { createStorageHandlers } from "./storage.ts";
import { jsonResponse, problemResponse, Refusal, revalidated } from "./problem-response.ts";

const REQUEST_ID = /^[A-Za-z0-9._=-]{8,64}$/;

/** The caller's id for the request when it is harmless, else a new one. */
function requestIdOf(request: Request): string {
  const given = request.headers.get("x-request-id");
  return given !== null && REQUEST_ID.test(given) ? given : crypto.randomUUID();
}

type LooseHandler = (call: {
  user: unknown;
  params: unknown;
  query: unknown;
  body: unknown;
  requestId: string;
  newId: ExperimentId | undefined;
  request: Request;
  recheck: () => Promise<void>;
}) => Promise<unknown>;

/** A malformed id names nothing: 404 like an unknown one. */
function readParams(route: Route, params: Record<string, string>): RouteParams | undefined {
  if (route.params === undefined) return undefined;
  const read = route.params.safeParse(params);
  if (!read.success) throw new SchedulerError("not-found", "there is nothing at this address");
  return read.data;
}

function readQuery(route: Route, url: string): unknown {
  if (route.query === undefined) return undefined;
  const query: Record<string, string> = {};
  for (const [key, value] of new URL(url).searchParams) {
    if (key in query) throw new SchedulerError("invalid-input", `the query names ${key} twice`);
    query[key] = value;
  }
  return parseShape(route.query, query, "the query is not what this address takes");
}

/** A request about an experiment is for it, once whoever sends it has been found to be allowed to. */
function charged(deps: Pick<AppDeps, "charging">, handler: LooseHandler, id = ""): LooseHandler {
  const payer = parseId("experiment", id);
  return payer === undefined ? handler : (call) => deps.charging([payer], () => handler(call));
}

async function serve(
  deps: AppDeps,
  at: { readonly route: Route; readonly handler: LooseHandler; readonly guard: (account: string) => Promise<void> },
  request: { readonly raw: Request; readonly params: Record<string, string>; readonly id: string },
): Promise<Response> {
  const { route } = at;
  const { raw, id: requestId } = request;
  const user = await authenticate(deps, route, raw);
  if (user !== undefined) await at.guard(user.id);
  const params = readParams(route, request.params);
  await authorize(deps, route, user, params ?? {});
  const handler = charged(deps, at.handler, params?.id);
  const query = readQuery(route, raw.url);
  checkContentType(route, raw);
  const bytes = route.method === "POST" ? await readBytes(route, raw) : new Uint8Array(0);
  const body = route.body === FILE_CONTENT ? contentOf(raw) : decodeBody(route, raw, bytes);
  const recheck = async () => authorize(deps, route, await authenticate(deps, route, raw), params ?? {});
  const call = { user, params, query, body, requestId, newId: undefined, request: raw, recheck };
  const { success } = route;
  if ("bytes" in success) return (await handler(call)) as Response;
  if (route.method === "GET") return revalidated(raw, JSON.stringify(await handler(call)));
  const run = async (newId: ExperimentId | undefined) => ({
    status: success.status,
    text: JSON.stringify(await handler({ ...call, newId })),
  });
  return runOnce(deps, { route, request: raw, bytes, user, run });
}

/** Headers that every answer has; nothing here is for caches. */
function finish(response: Response, requestId: string): Response {
  response.headers.set("x-request-id", requestId);
  response.headers.set("x-content-type-options", "nosniff");
  if (!response.headers.has("cache-control")) response.headers.set("cache-control", "no-store");
  return response;
}

function logFailure(
  deps: AppDeps,
  error: unknown,
  facts: { readonly requestId: string; readonly method: string; readonly path: string },
): void {
  const kind = error instanceof SchedulerError ? error.kind : "internal";
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : undefined;
  deps.logger.error("request failed", { ...facts, kind, error: error instanceof Error ? error.message : String(error), cause });
}

/** Path of the table as Hono writes it. */
const patternOf = (route: Route): string => route.path.replace(/\{(\w+)\}/g, ":$1");

const isAt = (route: Route, path: string): boolean =>
  new RegExp(`^${route.path.replace(/[.]/g, "\\.").replace(/\{\w+\}/g, "[^/]+")}$`).test(path);

/** 405 with the methods that the address does take, or 404. */
function unknownAddress(served: readonly OperationId[], path: string): Refusal | SchedulerError {
  const methods = served
    .map(routeOf)
    .filter((route) => isAt(route, path))
    .map((route) => route.method);
  if (methods.length === 0) return new SchedulerError("not-found", "there is nothing at this address");
  const allow = [...new Set(methods)].join(", ");
  return new Refusal("method-not-allowed", `this address takes ${allow}`, { allow });
}

export interface HttpApp {
  /** Never rejects: whatever goes wrong is a problem response. */
  fetch(request: Request): Promise<Response>;
}

export function createHttpApp(deps: HttpDeps): HttpApp {
  const handlers: Handlers<FunctionsOperation> = {
    ...createSignInHandlers(deps),
    ...createOwnAccountHandlers(deps),
    ...createUserHandlers(deps),
    ...createProjectHandlers(deps),
    ...createDepartureHandlers(deps),
    ...createDeadLetterHandlers(deps),
    ...createExperimentHandlers(deps),
    ...createExplainHandlers(deps),
    ...createOutputHandlers(deps),
    ...createCostHandlers(deps),
    ...createResourceHandlers(deps),
    ...createStorageHandlers(deps),
    ...createLogHandlers(deps),
  };
  return createApp(deps, handlers);
}

/** The routes that the gateway serves, under the same rules. */
export const createGatewayApp = (deps: AppDeps, live: LiveDeps): HttpApp => createApp(deps, createLiveHandlers(live));

function createApp(deps: AppDeps, handlers: Partial<Handlers>): HttpApp {
  const served = Object.keys(handlers) as OperationId[];
  const guard = createRateGuard(deps);
  const cors = createCors(deps.corsOrigins);
  const app = new Hono<{ Bindings: { requestId: string } }>();
  const fail = (error: unknown, request: Request, requestId: string): Response => {
    const response = problemResponse(error, requestId);
    if (response.status >= 500) logFailure(deps, error, { requestId, method: request.method, path: new URL(request.url).pathname });
    return response;
  };
  for (const id of served) {
    const route = routeOf(id);
    // The handler's own types hold per operation; here they are one of many.
    const handler = handlers[id] as LooseHandler;
    app.on(route.method, patternOf(route), (c) =>
      serve(deps, { route, handler, guard }, { raw: c.req.raw, params: c.req.param(), id: c.env.requestId }),
    );
  }
  let document: Promise<string> | undefined;
  app.get("/openapi.json", async () => {
    document ??= import("#api/openapi.ts").then(({ openApiText }) => openApiText(deps.version));
    return jsonResponse(200, await document, { "cache-control": "public, max-age=300" });
  });
  let page: Promise<string> | undefined;
  app.get("/docs", async () => {
    page ??= import("./docs-page.ts").then(({ docsPage }) => docsPage(deps.version));
    const { DOCS_POLICY } = await import("./docs-page.ts");
    const headers = { "content-type": "text/html; charset=utf-8", "content-security-policy": DOCS_POLICY };
    return new Response(await page, { headers: { ...headers, "cache-control": "public, max-age=300" } });
  });
  app.notFound((c) => fail(unknownAddress(served, c.req.path), c.req.raw, c.env.requestId));
  app.onError((error, c) => fail(error, c.req.raw, c.env.requestId));
  return {
    async fetch(request) {
      const requestId = requestIdOf(request);
      const answer = async () => cors.preflight(request) ?? (await app.fetch(request, { requestId }));
      const response = finish(await answer().catch((error: unknown) => fail(error, request, requestId)), requestId);
      cors.addTo(response, request);
      return response;
    },
  };
}
