/** The route table, problems and the OpenAPI document that is made of it. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { buildOpenApi } from "../../shared/api/openapi.ts";
import { errorOfAnswer, makeProblem, PROBLEMS, problem, problemOf } from "../../shared/api/problem.ts";
import { problemsText } from "../../shared/api/problems-page.ts";
import { errorsOf, OPERATION_IDS, routeOf, scopeOf } from "../../shared/api/routes.ts";
import { ERROR_KINDS, type ErrorKind, SchedulerError } from "../../shared/domain/error.ts";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const kinds = Object.keys(ERROR_KINDS) as ErrorKind[];

describe("the route table", () => {
  it("names every address once", () => {
    const addresses = OPERATION_IDS.map((id) => `${routeOf(id).method} ${routeOf(id).path}`);
    expect(new Set(addresses).size).toBe(addresses.length);
  });

  it.each(OPERATION_IDS)("%s reads exactly the parameters of its path", (id) => {
    const { path, params } = routeOf(id);
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
    expect(Object.keys(params?.shape ?? {})).toEqual(inPath);
  });

  it.each(OPERATION_IDS)("%s: who names an experiment asks for its permission", (id) => {
    const { path, permission } = routeOf(id);
    const isOfExperiment = typeof permission === "object" && permission.on === "experiment";
    expect(isOfExperiment).toBe(path.startsWith("/v1/experiments/{id}"));
  });

  it("leaves signing in, health and metrics (which look for themselves) public, nothing else", () => {
    const open = OPERATION_IDS.filter((id) => routeOf(id).permission === "public");
    expect(open).toEqual(["login", "refreshLogin", "getSignIn", "register", "getHealth", "getMetrics", "getGatewayHealth"]);
  });

  it("lets every change be repeated, but what holds or gives a secret: nothing of that is kept under a key", () => {
    const secret = ["login", "refreshLogin", "logout", "register", "changePassword", "createToken", "createUser", "resetPassword"];
    for (const id of OPERATION_IDS) {
      const { method, idempotent } = routeOf(id);
      expect([id, idempotent]).toEqual([id, method === "POST" && id !== "planExperiment" && !secret.includes(id)]);
    }
  });

  it("asks API tokens for more than reading wherever something is changed", () => {
    for (const id of OPERATION_IDS) {
      const route = routeOf(id);
      if (route.permission === "public" || route.method === "GET" || ["planExperiment", "logout"].includes(id)) continue;
      expect([id, scopeOf(route)]).not.toEqual([id, "read"]);
    }
  });
});

describe("problems", () => {
  it.each(kinds)("%s crosses and comes back as the same kind", (kind) => {
    const there = problemOf(new SchedulerError(kind, "text", { complaints: [{ path: "a", message: "b", line: 1, column: 2 }] }), "req");
    const back = errorOfAnswer(there.status, problem.parse(JSON.parse(JSON.stringify(there))));
    expect(back.kind).toBe(kind);
    expect(back.requestId).toBe("req");
    if (there.status < 500) expect(back.complaints).toEqual([{ path: "a", message: "b", line: 1, column: 2 }]);
  });

  it("above 499 keep what happened to themselves", () => {
    for (const error of [new Error("secret"), new SchedulerError("unavailable", "secret"), new SchedulerError("integrity", "secret")]) {
      expect(JSON.stringify(problemOf(error))).not.toContain("secret");
    }
  });

  it("of a proxy on the way are understood by their status", () => {
    expect(errorOfAnswer(502, "<html>").kind).toBe("unavailable");
    expect(errorOfAnswer(413, undefined).kind).toBe("too-large");
    expect(errorOfAnswer(404, { message: "Not Found" }).kind).toBe("not-found");
  });

  it("without a domain kind get one by their status", () => {
    const of = (code: keyof typeof PROBLEMS) => errorOfAnswer(PROBLEMS[code].status, makeProblem({ code })).kind;
    expect([of("idempotency-mismatch"), of("idempotency-in-progress"), of("unsupported-media-type"), of("internal")]).toEqual([
      "conflict",
      "conflict",
      "invalid-input",
      "unavailable",
    ]);
  });
});

describe("docs/PROBLEMS.md", () => {
  it("is what the table says: node shared/api/problems-page.ts > docs/PROBLEMS.md", () => {
    expect(readFileSync(join(root, "docs", "PROBLEMS.md"), "utf8")).toBe(problemsText());
  });
});

describe("docs/openapi.json", () => {
  it("is what the table says: node shared/api/openapi.ts > docs/openapi.json", () => {
    const committed = JSON.parse(readFileSync(join(root, "docs", "openapi.json"), "utf8"));
    expect(committed).toEqual(JSON.parse(JSON.stringify(buildOpenApi(committed.info.version))));
  });

  it("has every operation with its permission and its problems", () => {
    const { paths } = buildOpenApi("1") as { paths: Record<string, Record<string, { "x-permission": string; responses: object }>> };
    for (const id of OPERATION_IDS) {
      const route = routeOf(id);
      const operation = paths[route.path]?.[route.method.toLowerCase()];
      expect(operation?.["x-permission"]).toBeTruthy();
      for (const kind of errorsOf(route)) expect(Object.keys(operation?.responses ?? {})).toContain(String(PROBLEMS[kind].status));
    }
  });

  it("says where a redirect leads, and of which operations", () => {
    const { paths } = buildOpenApi("1") as { paths: Record<string, Record<string, { responses: Record<string, unknown> }>> };
    const redirects = OPERATION_IDS.filter((id) => {
      const { path, method } = routeOf(id);
      return paths[path]?.[method.toLowerCase()]?.responses["302"] !== undefined;
    });
    expect(redirects).toEqual(["getOutput"]);
    const { path } = routeOf("getOutput");
    expect(paths[path]?.["get"]?.responses["302"]).toMatchObject({ headers: { Location: { required: true } } });
  });
});
