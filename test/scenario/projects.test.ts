/** Two users, two projects: who reaches what, as it changes. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Authorization } from "#ports/authorization.ts";
import { createHttpApp } from "../../functions/http/index.ts";
import { openAuthorizations } from "../support/authorizations.ts";
import { EXPERIMENT_YAML } from "../support/fake-http-deps.ts";
import { openRealHttp, type RealHttp } from "../support/real-http.ts";

describe.each(openAuthorizations())("projects, with permissions in $name", ({ open, close }) => {
  let authorization: Authorization;
  let real: RealHttp;
  beforeAll(async () => {
    authorization = await open();
  }, 30_000);
  afterAll(close);
  beforeEach(async () => {
    real = await openRealHttp(authorization);
  });

  const project = () => `/v1/projects/${real.alice.named.projects}`;
  const inProject = () => `/v1/experiments?project=${real.alice.named.projects}`;
  const shared = () => `/v1/experiments/${real.alice.named.experiments}`;
  const asAlice = async (method: string, path: string, body?: unknown) => (await real.call(method, path, real.alice.token, body)).status;
  const asBob = async (method: string, path: string, body?: unknown) => (await real.call(method, path, real.bob.token, body)).status;
  const makeBob = async (role: string) => expect(await asAlice("POST", `${project()}/members`, { user: "bob", role })).toBe(200);
  const listed = async (path: string, as: string) =>
    ((await (await real.call("GET", path, as)).json()) as { items: { id: string; personal?: boolean }[] }).items;

  it("a viewer looks, an editor changes and makes, an owner says who belongs, and each is so from the next request on", async () => {
    expect(await asBob("GET", shared())).toBe(404);
    await makeBob("viewer");
    expect([await asBob("GET", shared()), await asBob("POST", `${shared()}/edit`, { priority: 1 })]).toEqual([200, 403]);
    expect([await asBob("GET", inProject()), await asBob("POST", inProject(), EXPERIMENT_YAML)]).toEqual([200, 403]);
    expect(await asBob("POST", project(), { name: "Mine" })).toBe(403);
    await makeBob("editor");
    expect([await asBob("POST", `${shared()}/edit`, { priority: 1 }), await asBob("POST", inProject(), EXPERIMENT_YAML)]).toEqual([
      200, 201,
    ]);
    expect(await asBob("DELETE", `${project()}/members/alice`)).toBe(403);
    await makeBob("owner");
    expect(await asBob("POST", project(), { name: "Ours" })).toBe(200);
    await makeBob("viewer");
    expect(await asBob("POST", `${shared()}/edit`, { priority: 2 })).toBe(403);
    expect(await asBob("GET", `/v1/experiments/${real.alice.personalExperiment}`)).toBe(404);
  });

  it("whoever leaves reaches nothing in it any more, what they made there included, 50 times of 50", async () => {
    await makeBob("editor");
    const made = (await (await real.call("POST", inProject(), real.bob.token, EXPERIMENT_YAML)).json()) as { id: string };
    for (let i = 0; i < 50; i++) {
      await makeBob("editor");
      expect(await asBob("GET", `/v1/experiments/${made.id}`)).toBe(200);
      expect(await asAlice("DELETE", `${project()}/members/bob`)).toBe(200);
      expect([await asBob("GET", `/v1/experiments/${made.id}`), await asBob("POST", `/v1/experiments/${made.id}/cancel`)]).toEqual([
        404, 404,
      ]);
    }
    expect((await listed("/v1/experiments", real.bob.token)).map((e) => e.id)).not.toContain(made.id);
    expect(await asAlice("GET", `/v1/experiments/${made.id}`)).toBe(200);
  }, 60_000);

  it("keeps its last owner, is archived when what is in it has ended, and goes when nothing is in it", async () => {
    expect(await asAlice("DELETE", `${project()}/members/alice`)).toBe(409);
    expect(await asAlice("POST", project(), { archived: true })).toBe(409);
    expect(await asAlice("POST", inProject(), EXPERIMENT_YAML)).toBe(201);
    for (const { id } of await listed(inProject(), real.alice.token)) await asAlice("POST", `/v1/experiments/${id}/cancel`);
    expect(await asAlice("POST", project(), { archived: true })).toBe(200);
    expect(await asAlice("POST", inProject(), EXPERIMENT_YAML)).toBe(409);
    expect(await asAlice("DELETE", project())).toBe(409);
    const empty = (await (await real.call("POST", "/v1/projects", real.alice.token, { name: "Empty" })).json()) as { id: string };
    expect([await asAlice("DELETE", `/v1/projects/${empty.id}`), await asAlice("GET", `/v1/projects/${empty.id}`)]).toEqual([200, 404]);
  });

  it("a personal project is there for everybody, and is shared with nobody", async () => {
    const [own] = await listed("/v1/projects", real.alice.token);
    expect(own?.personal).toBe(true);
    const path = `/v1/projects/${own?.id}`;
    const experiments = await listed(`/v1/experiments?project=${own?.id}`, real.alice.token);
    expect(experiments.map((e) => e.id)).toEqual([real.alice.personalExperiment]);
    expect(await asAlice("GET", path)).toBe(200);
    expect(await asAlice("POST", `${path}/members`, { user: "bob", role: "viewer" })).toBe(409);
    expect(await asAlice("DELETE", path)).toBe(409);
    expect([await asBob("GET", path), await asBob("GET", `/v1/experiments?project=${own?.id}`)]).toEqual([404, 404]);
  });

  it("an experiment that was made and not granted is nobody's to see, and whole again at its owner's next look", async () => {
    const write = () => Promise.reject(new Error("killed"));
    const dying = createHttpApp({ ...real.deps, authorization: { ...real.deps.authorization, write } });
    const before = (await real.deps.orchestrator.list(real.alice.id, { limit: 10 })).items.map((e) => e.id);
    const headers = { authorization: `Bearer ${real.alice.token}`, "content-type": "application/yaml" };
    const request = new Request(`http://test${inProject()}`, { method: "POST", headers, body: EXPERIMENT_YAML });
    expect((await dying.fetch(request)).status).toBe(500);
    const made = (await real.deps.orchestrator.list(real.alice.id, { limit: 10 })).items.find((e) => !before.includes(e.id));
    const path = `/v1/experiments/${made?.id}`;
    await makeBob("viewer");
    expect(await asBob("GET", path)).toBe(404);
    expect(await asAlice("GET", path)).toBe(200);
    expect(await asBob("GET", path)).toBe(200);
  });
});
