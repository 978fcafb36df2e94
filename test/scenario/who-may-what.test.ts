/**
 * P1 on the real application, driven from the route table: every route with every kind of token that must not work, and as
 * somebody else. A new row is covered by being in the table; one of a kind that this does not know makes it fail.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { isOfGateway, type OperationId, OPERATION_IDS, routeOf, scopeOf } from "#api/routes.ts";
import { isWithin, SCOPES } from "#domain/account.ts";
import type { Authorization } from "#ports/authorization.ts";
import { EXPERIMENT_YAML } from "../support/fake-http-deps.ts";
import { openAuthorizations } from "../support/authorizations.ts";
import { openRealHttp, type RealHttp } from "../support/real-http.ts";
import { requestOf } from "../support/route-requests.ts";

const guarded = OPERATION_IDS.filter((id) => routeOf(id).permission !== "public");
const HOUR_MS = 3_600_000;
const YEAR_MS = 366 * 86_400_000;

/** How a route refuses somebody who has nothing to do with what its path names. */
function strangersStatus(id: OperationId): 404 | 403 | "own" {
  const { permission } = routeOf(id);
  if (permission === "authenticated" || permission === "signed-in") return "own";
  if (typeof permission === "string") throw new Error(`${id}: say here how ${permission} refuses strangers`);
  switch (permission.on) {
    case "deployment":
      return 403;
    case "project":
    case "experiment":
    case "storage_resource":
      return 404;
  }
}

describe.each(openAuthorizations())("with permissions in $name", ({ open, close }) => {
  let authorization: Authorization;
  let real: RealHttp;
  beforeAll(async () => {
    authorization = await open();
  }, 30_000);
  afterAll(close);
  beforeEach(async () => {
    real = await openRealHttp(authorization);
  });

  const send = (id: OperationId, token: string | undefined, named = real.alice.named) =>
    (isOfGateway(id) ? real.gateway : real.app).fetch(requestOf(id, named, token));
  const statusOf = async (id: OperationId, token: string | undefined, named = real.alice.named): Promise<number> => {
    const response = await send(id, token, named);
    await response.body?.cancel(); // some never end
    return response.status;
  };

  async function refusesAll(tokens: Readonly<Record<string, string | undefined>>): Promise<void> {
    const before = await real.stored();
    for (const id of guarded)
      for (const [kind, token] of Object.entries(tokens)) expect([id, kind, await statusOf(id, token)]).toEqual([id, kind, 401]);
    expect(await real.stored()).toBe(before);
  }

  it("every route refuses what is no token of anybody, and nothing changes", async () => {
    const { token, apiToken, refreshToken } = real.alice;
    const [head, body] = token.split(".");
    const forged = (text: string) => `${text.slice(0, -2)}${text.endsWith("00") ? "11" : "00"}`;
    const unsigned = `${Buffer.from('{"alg":"none","typ":"JWT"}').toString("base64url")}.${body}.`;
    await refusesAll({
      none: undefined,
      empty: "",
      rubbish: "rubbish",
      "forged access token": forged(token),
      "cut access token": `${head}.${body}.`,
      "unsigned access token": unsigned,
      "forged API token": forged(apiToken),
      "refresh token": refreshToken,
    });
  });

  it("every route refuses tokens that have expired", async () => {
    const { token, apiToken } = real.alice;
    real.clock.nowMs += HOUR_MS;
    await refusesAll({ "access token": token });
    real.clock.nowMs += YEAR_MS;
    await refusesAll({ "API token": apiToken });
  });

  it("every route refuses what was revoked, from the next request on", async () => {
    const { token, apiToken, named, refreshToken } = real.alice;
    expect(await statusOf("getMe", apiToken)).toBe(200);
    expect((await real.call("DELETE", `/v1/tokens/${named.tokens}`, token)).status).toBe(200);
    const next = await real.deps.accounts.refresh(refreshToken);
    expect((await real.call("POST", "/v1/logout", token)).status).toBe(200);
    await refusesAll({ "access token": token, "API token": apiToken, "the sign-in's other access token": next.token });
    expect((await real.call("POST", "/v1/refresh", undefined, { refreshToken: next.refreshToken })).status).toBe(401);
  });

  it("every route refuses a disabled user by whatever token, from the next request on", async () => {
    const { token, apiToken, refreshToken } = real.alice;
    expect(await statusOf("getMe", token)).toBe(200);
    expect((await real.call("POST", "/v1/users/alice/disable", real.admin.token)).status).toBe(200);
    await refusesAll({ "access token": token, "API token": apiToken });
    expect((await real.call("POST", "/v1/refresh", undefined, { refreshToken })).status).toBe(401);
    expect((await real.call("POST", "/v1/users/alice/enable", real.admin.token)).status).toBe(200);
    expect([await statusOf("getMe", apiToken), await statusOf("getMe", token)]).toEqual([200, 401]);
  });

  it("every route refuses an API token whose scopes do not reach it, though its user might", async () => {
    const object = { type: "deployment", id: real.deps.deploymentId } as const;
    await authorization.write([{ object, relation: "admin", subject: { type: "user", id: real.alice.id } }]);
    for (const scope of SCOPES) {
      const { value } = await real.deps.accounts.createToken(real.alice.id, { name: scope, scopes: [scope], lifetimeMs: HOUR_MS });
      const refused = guarded.filter((id) => !isWithin([scope], scopeOf(routeOf(id))) || routeOf(id).permission === "signed-in");
      const before = await real.stored();
      for (const id of refused) expect([scope, id, await statusOf(id, value)]).toEqual([scope, id, 403]);
      expect(await real.stored()).toBe(before);
    }
    const { value } = await real.deps.accounts.createToken(real.alice.id, { name: "r", scopes: ["read"], lifetimeMs: HOUR_MS });
    const reads = (id: OperationId) => routeOf(id).method === "GET" && routeOf(id).permission !== "signed-in";
    const reading = guarded.filter((id) => reads(id) && scopeOf(routeOf(id)) === "read");
    expect(reading.length).toBeGreaterThan(10);
    for (const id of reading) expect([id, [401, 403].includes(await statusOf(id, value))]).toEqual([id, false]);
  });

  it("every route that names what is somebody else's refuses, as if it were not there, and nothing changes", async () => {
    const before = await real.stored();
    const { token, apiToken } = real.bob;
    for (const id of guarded) {
      const expected = strangersStatus(id);
      if (expected === "own") continue;
      for (const as of [token, apiToken]) expect([id, await statusOf(id, as)]).toEqual([id, expected]);
    }
    const personal = { ...real.alice.named, experiments: real.alice.personalExperiment };
    for (const id of guarded.filter((one) => routeOf(one).path.startsWith("/v1/experiments/{id}")))
      expect([id, await statusOf(id, token, personal)]).toEqual([id, 404]);
    expect(await real.stored()).toBe(before);
  });

  it("no route about oneself shows or touches what is somebody else's", async () => {
    const { alice, bob } = real;
    const secrets = [alice.named.experiments, alice.named.projects, alice.named.tokens, alice.personalExperiment, alice.id, "alices"];
    for (const id of guarded) {
      if (strangersStatus(id) !== "own" || id === "logout") continue;
      const text = await (await send(id, bob.token)).text();
      for (const secret of secrets) expect([id, secret, text.includes(secret)]).toEqual([id, secret, false]);
    }
    expect([await statusOf("getMe", alice.apiToken), await statusOf("getMe", alice.token)]).toEqual([200, 200]);
  });

  it("lists give one's own things only, also when asked by the other's project or with the other's cursor", async () => {
    const { alice, bob } = real;
    const idsOf = async (path: string, as: string) =>
      ((await (await real.call("GET", path, as)).json()) as { items: { id: string }[] }).items.map((item) => item.id);
    const own = [bob.personalExperiment, bob.named.experiments].sort();
    expect([...(await idsOf("/v1/experiments", bob.token))].sort()).toEqual(own);
    expect(await idsOf(`/v1/experiments?project=${bob.named.projects}`, bob.token)).toEqual([bob.named.experiments]);
    expect((await real.call("GET", `/v1/experiments?project=${alice.named.projects}`, bob.token)).status).toBe(404);
    expect(await idsOf("/v1/projects", bob.token)).toHaveLength(2);
    const { cursor } = (await (await real.call("GET", "/v1/experiments?limit=1", alice.token)).json()) as { cursor: string };
    const after = await idsOf(`/v1/experiments?cursor=${encodeURIComponent(cursor)}`, bob.token);
    expect(after.filter((id) => !own.includes(id))).toEqual([]);
    expect((await real.call("POST", `/v1/experiments?project=${alice.named.projects}`, bob.token, EXPERIMENT_YAML)).status).toBe(404);
    expect((await real.call("POST", "/v1/experiments?project=alices", bob.token, EXPERIMENT_YAML)).status).toBe(404);
  });

  it("idempotency keys are everybody's own", async () => {
    const headers = { "idempotency-key": "the-same" };
    const make = async (as: string) => {
      const response = await real.call("POST", "/v1/experiments", as, EXPERIMENT_YAML, headers);
      return ((await response.json()) as { id: string }).id;
    };
    const [first, second, again] = [await make(real.alice.token), await make(real.bob.token), await make(real.alice.token)];
    expect([again, second === first]).toEqual([first, false]);
    expect((await real.call("GET", `/v1/experiments/${second}`, real.alice.token)).status).toBe(404);
  });
});
