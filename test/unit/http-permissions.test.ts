/** P1 over the whole table: who may not, gets nothing and changes nothing. */
import { beforeEach, describe, expect, it } from "vitest";
import { createGatewayApp, createHttpApp, type HttpApp } from "../../functions/http/index.ts";
import { isOfGateway, OPERATION_IDS, type OperationId, routeOf } from "../../shared/api/routes.ts";
import { ADMIN, ALICE, BOB, createFakeHttp, EXPIRED_TOKEN, type FakeHttp, STORAGE, tokenOf } from "../support/fake-http-deps.ts";
import { requestOf } from "../support/route-requests.ts";
import { createFakeLive } from "../support/fake-live.ts";

let fake: FakeHttp;
let app: HttpApp;
let gateway: HttpApp;
let alices: string;

let token: string;
let project: string;
const NO_USAGE = { wallMs: 0, cpuMs: 0, memoryPeakBytes: 0, bytesIn: 0, bytesOut: 0 };

const ofStorage: readonly OperationId[] = ["listFolder", "getFile", "putFile"];

const send = (id: OperationId, as: string | undefined, experiment = alices, storage = STORAGE): Promise<Response> =>
  (isOfGateway(id) ? gateway : app).fetch(
    requestOf(id, { experiments: experiment, tokens: token, users: BOB.id, projects: project, storage }, as),
  );

const codeOf = async (response: Response): Promise<unknown> => ((await response.json()) as { code?: unknown }).code;
const guarded = OPERATION_IDS.filter((id) => routeOf(id).permission !== "public");
const ofExperiment = OPERATION_IDS.filter((id) => routeOf(id).path.startsWith("/v1/experiments/{id}"));
const administered = OPERATION_IDS.filter((id) => JSON.stringify(routeOf(id).permission).includes("administer"));

beforeEach(async () => {
  fake = createFakeHttp();
  gateway = createGatewayApp(fake.deps, createFakeLive().deps);
  app = createHttpApp(fake.deps);
  token = (await fake.deps.accounts.createToken(ALICE.id, { name: "mine", scopes: ["read"], lifetimeMs: 1_000 })).token.id;
  project = (await fake.deps.projects.create(ALICE.id, { name: "Alice's", description: "" })).id;
  const response = await send("createExperiment", tokenOf(ALICE), "");
  alices = ((await response.json()) as { id: string }).id;
  const result = {
    ...{ index: 0, outcome: "done" as const, startedAtMs: 1, endedAtMs: 2, inputs: [], outputs: [], stdout: "secret" },
    usage: NO_USAGE,
  } as const;
  fake.logs.set(`${alices} hello/0`, { kind: "ended", attempt: 1, result });
});

describe("every route that is not public", () => {
  it.each(guarded)("%s refuses a request without a token, with an expired and with a forged one", async (id) => {
    const before = JSON.stringify([...fake.experiments]);
    for (const wrong of [undefined, EXPIRED_TOKEN, `${tokenOf(ALICE)}x`, "", "a b"]) {
      const response = await send(id, wrong);
      expect(response.status).toBe(401);
      expect(response.headers.get("www-authenticate")).toContain("Bearer");
      expect(await codeOf(response)).toBe("unauthenticated");
    }
    expect(JSON.stringify([...fake.experiments])).toBe(before);
  });

  it.each(guarded)("%s answers its owner or an administrator", async (id) => {
    const response = await send(id, tokenOf(administered.includes(id) ? ADMIN : ALICE));
    expect(response.status).toBe(routeOf(id).success.status);
    await response.arrayBuffer();
  });

  it("takes no token from the query and no other scheme", async () => {
    const query = await app.fetch(new Request(`http://test/v1/me?token=${tokenOf(ALICE)}`));
    expect(query.status).toBe(401);
    const basic = await app.fetch(new Request("http://test/v1/me", { headers: { authorization: `Basic ${tokenOf(ALICE)}` } }));
    expect(basic.status).toBe(401);
  });
});

describe("storage of somebody else", () => {
  it.each(ofStorage)("%s can't be told from one that does not exist", async (id) => {
    const answers = await Promise.all([STORAGE, "none", "local"].map((name) => send(id, tokenOf(BOB), alices, name)));
    expect(answers.map((answer) => answer.status)).toEqual([404, 404, 404]);
    const details = await Promise.all(answers.map(async (answer) => ((await answer.json()) as { detail: string }).detail));
    expect(new Set(details).size).toBe(1);
  });

  it("can be read but not written by those who may use it: 403", async () => {
    const { id } = await fake.deps.resources.read(STORAGE);
    await fake.deps.authorization.write([
      { object: { type: "storage_resource", id }, relation: "user", subject: { type: "user", id: BOB.id } },
    ]);
    expect(await (await send("getFile", tokenOf(BOB))).text()).toBe("in");
    expect((await send("putFile", tokenOf(BOB))).status).toBe(403);
    expect(await (await send("getFile", tokenOf(ALICE))).text()).toBe("in");
  });
});

describe("experiments of somebody else", () => {
  it.each(ofExperiment)("%s can't be told from one that does not exist, and nothing happens", async (id) => {
    const before = JSON.stringify([...fake.experiments]);
    const unknown = `${alices.slice(0, -1)}${alices.endsWith("0") ? "1" : "0"}`;
    const answers = await Promise.all([alices, unknown, "exp_nonsense", "%2e%2e"].map((key) => send(id, tokenOf(BOB), key)));
    expect(answers.slice(0, 3).map((answer) => answer.status)).toEqual([404, 404, 404]);
    const [theirs, none] = (await Promise.all(answers.slice(0, 2).map((answer) => answer.json()))) as { detail: string }[];
    expect(theirs?.detail).toBe(none?.detail);
    expect(JSON.stringify([...fake.experiments])).toBe(before);
  });

  it("stay out of lists", async () => {
    const list = (await (await send("listExperiments", tokenOf(BOB))).json()) as { items: unknown[] };
    expect(list.items).toEqual([]);
  });

  it("can be looked at but not changed by those who may view only: 403", async () => {
    const project = { type: "project", id: "prj_1" } as const;
    await fake.deps.authorization.write([
      { object: { type: "experiment", id: alices }, relation: "project", subject: project },
      { object: project, relation: "viewer", subject: { type: "user", id: BOB.id } },
    ]);
    expect((await send("getExperiment", tokenOf(BOB))).status).toBe(200);
    expect((await send("cancelExperiment", tokenOf(BOB))).status).toBe(403);
  });

  it("are open to administrators", async () => {
    expect((await send("getExperiment", tokenOf(ADMIN))).status).toBe(200);
  });
});

describe("administration", () => {
  it("opens a resource to every user only when asked to", async () => {
    const written: string[] = [];
    const write = async (relations: readonly { relation: string; subject: { id: string } }[]) =>
      void written.push(...relations.map((r) => `${r.relation} ${r.subject.id}`));
    app = createHttpApp({ ...fake.deps, authorization: { ...fake.deps.authorization, write } });
    expect((await send("registerResource", tokenOf(ADMIN))).status).toBe(201);
    expect(written).toEqual([`owner ${ADMIN.id}`, "deployment main"]);
    const body = JSON.stringify({ kind: "LOCAL", name: "shared", open: true });
    const headers = { authorization: `Bearer ${tokenOf(ADMIN)}`, "content-type": "application/json" };
    const response = await app.fetch(new Request("http://test/v1/resources", { method: "POST", headers, body }));
    expect(await response.json()).not.toHaveProperty("open");
    expect(written).toContain("user *");
  });
  it.each(administered)("%s refuses everybody else with 403", async (id) => {
    const response = await send(id, tokenOf(ALICE));
    expect(response.status).toBe(403);
    expect(await fake.deps.resources.list()).toHaveLength(2);
  });
});

it("denies when the question of permission can't be asked", async () => {
  const check = () => Promise.reject(new Error("spicedb at 10.0.0.7 is down"));
  app = createHttpApp({ ...fake.deps, authorization: { ...fake.deps.authorization, check } });
  const response = await send("getExperiment", tokenOf(ALICE));
  expect(response.status).toBe(500);
  expect(await response.text()).not.toContain("10.0.0.7");
});
