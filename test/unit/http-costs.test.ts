/** Costs and budgets over HTTP. */
import { beforeEach, describe, expect, it } from "vitest";
import { showUsd } from "#cli/cost.ts";
import { createHttpApp, type HttpApp } from "#functions/http/index.ts";
import { ADMIN, ALICE, BOB, createFakeHttp, EXPERIMENT_YAML, type FakeHttp, tokenOf } from "../support/fake-http-deps.ts";

let fake: FakeHttp;
let app: HttpApp;
let charged: string[][];

beforeEach(() => {
  charged = [];
  fake = createFakeHttp({
    charging: (payers, work) => {
      charged.push([...payers]);
      return work();
    },
  });
  app = createHttpApp(fake.deps);
});

const send = (as: typeof ALICE, method: string, path: string, body?: string, type = "application/json") =>
  app.fetch(
    new Request(`http://test${path}`, {
      method,
      headers: { authorization: `Bearer ${tokenOf(as)}`, "content-type": type },
      ...(body === undefined ? {} : { body }),
    }),
  );

const create = async (file = EXPERIMENT_YAML) =>
  ((await (await send(ALICE, "POST", "/v1/experiments", file, "application/yaml")).json()) as { id: string }).id;

describe("costs", () => {
  it("of an experiment are lines that add up, for those who may see it", async () => {
    const id = await create();
    const cost = (await (await send(ALICE, "GET", `/v1/experiments/${id}/cost`)).json()) as {
      nanoUsd: number;
      lines: { nanoUsd: number; count: number }[];
    };
    expect(cost.lines).toMatchObject([{ kind: "write-units", count: 1.5, usdPerMillion: 0.625, nanoUsd: 937 }]);
    expect(cost.nanoUsd).toBe(937);
    expect((await send(BOB, "GET", `/v1/experiments/${id}/cost`)).status).toBe(404);
  });

  it("of all experiments are the user's own; the deployment's are for administrators", async () => {
    const id = await create();
    const mine = await (await send(ALICE, "GET", "/v1/cost")).json();
    expect(mine).toMatchObject({ items: [{ id, name: "greetings", nanoUsd: 937 }] });
    expect(await (await send(BOB, "GET", "/v1/cost")).json()).toEqual({ items: [] });
    expect((await send(ALICE, "GET", "/v1/cost/deployment")).status).toBe(403);
    expect((await send(ADMIN, "GET", "/v1/cost/deployment")).status).toBe(200);
  });

  it("of a request are the experiment's that it is about, once it is allowed", async () => {
    const id = await create();
    expect(charged).toEqual([[id]]);
    await send(BOB, "POST", `/v1/experiments/${id}/cancel`);
    expect(charged.length).toBe(1);
    await send(ALICE, "POST", `/v1/experiments/${id}/cancel`);
    expect(charged.slice(1)).toEqual([[id]]);
  });

  it("are shown with four digits that say something", () => {
    expect([0, 1, 19_320, 500_000_000, 12_345_000_000].map(showUsd)).toEqual(["$0", "$0.000000001", "$0.00001932", "$0.5000", "$12.35"]);
  });
});

describe("a budget", () => {
  const edit = (id: string, body: object) => send(ALICE, "POST", `/v1/experiments/${id}/edit`, JSON.stringify(body));
  const budgetOf = (id: string) => fake.experiments.get(id)?.experiment.budget;

  it("is set, replaced and taken away", async () => {
    const id = await create();
    expect((await edit(id, { budget: { usd: 0.5, tasks: 10 } })).status).toBe(200);
    expect(budgetOf(id)).toEqual({ nanoUsd: 500_000_000, tasks: 10 });
    expect((await edit(id, { budget: { core_hours: 2 } })).status).toBe(200);
    expect(budgetOf(id)).toEqual({ coreMs: 7_200_000 });
    expect((await edit(id, { budget: null })).status).toBe(200);
    expect(budgetOf(id)).toEqual({});
  });

  it.each([{}, { usd: 0 }, { usd: -1 }, { tasks: 1.5 }, { tasks: "1" }, { euros: 1 }])(
    "that means nothing is refused: %j",
    async (budget) => {
      const id = await create();
      expect((await edit(id, { budget })).status).toBe(400);
      expect(budgetOf(id)).toBeUndefined();
    },
  );

  it.each([
    ["{}", "limits nothing"],
    ["{usd: cheap}", "expects a number"],
    ["{dollars: 1}", 'no key "dollars"'],
  ])("in a file that means nothing is refused with its place: %s", async (budget, complaint) => {
    const response = await send(ALICE, "POST", "/v1/experiments", `budget: ${budget}\n${EXPERIMENT_YAML}`, "application/yaml");
    expect(response.status).toBe(400);
    const { complaints } = (await response.json()) as { complaints: { line: number; message: string; path: string }[] };
    expect(complaints).toContainEqual(expect.objectContaining({ line: 1, message: expect.stringContaining(complaint) }));
  });

  it("in a file reaches the experiment", async () => {
    expect(budgetOf(await create(`budget: {tasks: 3}\n${EXPERIMENT_YAML}`))).toEqual({ tasks: 3 });
  });
});
