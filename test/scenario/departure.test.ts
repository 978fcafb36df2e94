/** Taking everything of an account along, and ending it. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Authorization } from "#ports/authorization.ts";
import { openAuthorizations } from "../support/authorizations.ts";
import { PASSWORD } from "../support/fake-http-deps.ts";
import { openRealHttp, type RealHttp } from "../support/real-http.ts";

describe.each(openAuthorizations())("an account, with permissions in $name", ({ open, close }) => {
  let authorization: Authorization;
  let real: RealHttp;
  beforeAll(async () => {
    authorization = await open();
  }, 30_000);
  afterAll(close);
  beforeEach(async () => {
    real = await openRealHttp(authorization);
  });

  const asAlice = async (method: string, path: string, body?: unknown) => (await real.call(method, path, real.alice.token, body)).status;
  const asBob = async (method: string, path: string, body?: unknown) => (await real.call(method, path, real.bob.token, body)).status;
  const leave = (experiments: string) => asAlice("DELETE", `/v1/me?experiments=${experiments}&confirm=alice`);
  const share = (role: string) => asAlice("POST", `/v1/projects/${real.alice.named.projects}/members`, { user: "bob", role });
  const exported = async (as: string) => {
    const response = await real.call("GET", "/v1/me/export", as);
    return (await response.text())
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  };

  it("is exported whole, with nothing of others and nothing secret", async () => {
    const lines = await exported(real.alice.token);
    expect(lines.map((line) => line.kind)).toEqual([
      "account",
      "session",
      "token",
      "project",
      "experiment",
      "plan",
      "experiment",
      "plan",
      "end",
    ]);
    expect(
      lines
        .filter((line) => line.kind === "experiment")
        .map((line) => line.id)
        .sort(),
    ).toEqual([real.alice.named.experiments, real.alice.personalExperiment].sort());
    const text = JSON.stringify(lines);
    for (const hidden of ["argon2", "secretHash", real.bob.id, real.bob.named.projects, real.alice.apiToken.slice(-64)])
      expect([hidden, text.includes(hidden)]).toEqual([hidden, false]);
  });

  it("that is deleted is gone by name, password and token, and its name is free", async () => {
    expect(await asAlice("DELETE", "/v1/me?experiments=delete&confirm=bob")).toBe(400);
    expect(await leave("delete")).toBe(200);
    expect([await asAlice("GET", "/v1/me"), (await real.call("GET", "/v1/me", real.alice.apiToken)).status]).toEqual([401, 401]);
    expect((await real.call("POST", "/v1/login", undefined, { name: "alice", password: PASSWORD })).status).toBe(401);
    expect(await real.deps.accounts.find(real.alice.id)).toEqual({
      ...{ id: real.alice.id, name: `deleted-${real.alice.id.slice(4)}`, disabled: true, era: 1, profile: {} },
      ...{ createdAtMs: expect.any(Number), version: 2 },
    });
    expect(await real.stored()).not.toContain('"alice"');
    expect((await real.deps.accounts.createUser("alice", PASSWORD)).id).not.toBe(real.alice.id);
    for (const id of [real.alice.named.experiments, real.alice.personalExperiment]) {
      const found = await real.deps.orchestrator.find(id as Parameters<typeof real.deps.orchestrator.find>[0]).catch(() => undefined);
      expect([undefined, "DELETING"]).toContain(found?.status);
    }
  });

  it("leaves to others what is in their projects, under an id without a name", async () => {
    await share("owner");
    expect(await leave("delete")).toBe(200);
    expect(await asBob("GET", `/v1/experiments/${real.alice.named.experiments}`)).toBe(200);
    const members = await (await real.call("GET", `/v1/projects/${real.alice.named.projects}/members`, real.bob.token)).json();
    expect(members).toMatchObject({ items: [{ user: real.bob.id, role: "owner" }] });
  });

  it("is not deleted while others depend on it, and nothing is done then", async () => {
    await share("viewer");
    const before = await real.stored();
    expect(await leave("delete")).toBe(409);
    expect(await asAlice("POST", `/v1/experiments/${real.alice.personalExperiment}/submit`)).toBe(200);
    await share("owner");
    expect(await leave("keep")).toBe(409);
    expect(await asAlice("GET", "/v1/me")).toBe(200);
    expect(before).toContain('"alice"');
  });

  it("of somebody else is deleted by administrators only, whose own is not", async () => {
    expect(await asBob("DELETE", "/v1/users/alice?experiments=keep")).toBe(403);
    expect((await real.call("DELETE", "/v1/users/alice?experiments=keep", real.admin.token)).status).toBe(200);
    expect(await asAlice("GET", "/v1/me")).toBe(401);
    expect((await real.call("DELETE", "/v1/me?experiments=keep&confirm=admin", real.admin.token)).status).toBe(409);
  });
});
