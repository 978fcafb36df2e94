/** Derive, file, edit and delete over HTTP with the real rooms in memory: answers, refusals, repetitions. */
import { beforeEach, describe, expect, it } from "vitest";
import { createMemoryAuthorization } from "#adapters/memory/authorization.ts";
import { EXPERIMENT_YAML } from "../support/fake-http-deps.ts";
import { openRealHttp, type RealHttp } from "../support/real-http.ts";

let http: RealHttp;
let id: string;
const path = (more = "", of = id) => `/v1/experiments/${of}${more}`;
const ask = (method: string, to: string, body?: unknown, headers?: Record<string, string>, as = http.alice.token) =>
  http.call(method, to, as, body, headers);

interface Answer {
  readonly id: string;
  readonly status: string;
  readonly tasks: number;
  readonly detail: string;
  readonly derivedFrom?: string;
  readonly tasksAtOnce?: number;
  readonly retentionDays?: number;
  readonly labels: Readonly<Record<string, string>>;
}

async function answer(status: number, ...request: Parameters<typeof ask>): Promise<Answer> {
  const response = await ask(...request);
  const body = (await response.json()) as Answer;
  expect([response.status, status === response.status ? "" : body.detail]).toEqual([status, ""]);
  return body;
}

beforeEach(async () => {
  http = await openRealHttp(createMemoryAuthorization());
  const wrapped = { file: EXPERIMENT_YAML, set: { "compute.cpu": "2" } };
  id = (await answer(201, "POST", "/v1/experiments?retentionDays=7", wrapped)).id;
});

describe("the file of an experiment", () => {
  it("is kept as it was given, with what replaced values of it, and makes the same again", async () => {
    const kept = await answer(200, "GET", path("/file"));
    expect(kept).toEqual({ file: EXPERIMENT_YAML, set: { "compute.cpu": "2" } });
    expect((await answer(201, "POST", "/v1/experiments", kept)).tasks).toBe(3);
  });

  it("can be read by those who may view the experiment only", async () => {
    expect((await ask("GET", path("/file"), undefined, {}, http.bob.token)).status).toBe(404);
  });
});

describe("derive", () => {
  it("makes a new experiment with other values on top of the old ones, and says where it comes from", async () => {
    const made = await answer(201, "POST", path("/derive"), { set: { WHO: "[dan, eve]" } });
    expect([made.tasks, made.status]).toEqual([2, "CREATED"]);
    expect(await answer(200, "GET", path("", made.id))).toMatchObject({ derivedFrom: id, retentionDays: 7 });
    const kept = await answer(200, "GET", path("/file", made.id));
    expect(kept).toEqual({ file: EXPERIMENT_YAML, set: { "compute.cpu": "2", WHO: "[dan, eve]" } });
    expect((await answer(200, "GET", path())).tasks).toBe(3);
  });

  it("starts it when asked to, once for each idempotency key", async () => {
    const request = ["POST", path("/derive?submit=true"), { set: {} }, { "idempotency-key": "k" }] as const;
    const [first, second] = [await answer(201, ...request), await answer(201, ...request)];
    expect(first.status).toBe("RUNNING");
    expect(second.id).toBe(first.id);
  });

  it("refuses values that the file does not take, with the place, and makes nothing", async () => {
    const before = await http.stored();
    const refused = await answer(400, "POST", path("/derive"), { set: { WHOM: "x" } });
    expect(refused.detail).toContain("WHOM");
    expect((await ask("POST", path("/derive"), { values: {} })).status).toBe(400);
    expect(await http.stored()).toBe(before);
  });

  it("keeps the file and the lineage of what is resubmitted", async () => {
    const again = await answer(201, "POST", path("/resubmit"));
    expect((await answer(200, "GET", path("", again.id))).derivedFrom).toBe(id);
    expect(await answer(200, "GET", path("/file", again.id))).toMatchObject({ file: EXPERIMENT_YAML });
  });
});

describe("edit", () => {
  it("sets and takes away limits, and replaces labels", async () => {
    await answer(200, "POST", path("/edit"), { tasksAtOnce: 5, labels: { team: "a" } });
    expect(await answer(200, "GET", path())).toMatchObject({ tasksAtOnce: 5, retentionDays: 7, labels: { team: "a" } });
    await answer(200, "POST", path("/edit"), { tasksAtOnce: null, retentionDays: null });
    const view = await answer(200, "GET", path());
    expect([view.tasksAtOnce, view.retentionDays, view.labels]).toEqual([undefined, undefined, { team: "a" }]);
  });

  it("of one that has ended changes labels and retention only", async () => {
    await answer(200, "POST", path("/cancel"));
    await answer(200, "POST", path("/edit"), { retentionDays: 3, labels: {} });
    expect((await answer(409, "POST", path("/edit"), { priority: 3, labels: {} })).detail).toContain("labels and retention");
    for (const wrong of [{ tasksAtOnce: 0 }, { retentionDays: 1.5 }, { labels: { a: 1 } }, {}])
      expect((await ask("POST", path("/edit"), wrong)).status).toBe(400);
  });
});

describe("delete", () => {
  it("answers the same however often it is asked for, during and after", async () => {
    for (let i = 0; i < 3; i++) expect(await answer(200, "DELETE", path())).toEqual({ id, status: "DELETING" });
    expect(await answer(200, "GET", path())).toMatchObject({ status: "DELETING" });
    expect((await answer(409, "POST", path("/submit"))).detail).toContain("DELETING");
  });

  it("is refused while it runs, with what to do, and is fine once it is canceled", async () => {
    await answer(200, "POST", path("/submit"));
    expect((await answer(409, "DELETE", path())).detail).toContain("cancel it first");
    await answer(200, "POST", path("/cancel"));
    await answer(200, "DELETE", path());
  });

  it("is nobody else's", async () => {
    expect((await ask("DELETE", path(), undefined, {}, http.bob.token)).status).toBe(404);
    expect((await answer(200, "GET", path())).status).toBe("CREATED");
  });

  it("offers itself to browsers of other origins", async () => {
    const response = await ask("PATCH", path());
    expect(response.headers.get("allow")).toContain("DELETE");
  });
});
