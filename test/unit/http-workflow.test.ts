/** Workflows over HTTP: in JSON with their options, compressed, and what of that is refused. */
import { gzipSync } from "node:zlib";
import { beforeEach, describe, expect, it } from "vitest";
import { createHttpApp, type HttpApp } from "../../functions/http/index.ts";
import { problem } from "../../shared/api/problem.ts";
import { ALICE, createFakeHttp, EXPERIMENT_YAML, tokenOf } from "../support/fake-http-deps.ts";
import { bytesOf, instanceOf } from "../support/workflow.ts";

let app: HttpApp;
beforeEach(() => {
  app = createHttpApp(createFakeHttp().deps);
});

function send(path: string, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}): Promise<Response> {
  const all = { authorization: `Bearer ${tokenOf(ALICE)}`, "content-type": "application/json", ...headers };
  return app.fetch(new Request(`http://test${path}`, { method: "POST", headers: all, body }));
}

async function refused(response: Response, status: number, code: string) {
  const body = problem.parse(await response.json());
  expect({ status: response.status, code: body.code }).toEqual({ status, code });
  return body;
}

const gzip = { "content-encoding": "gzip" };

describe("a workflow in WfFormat comes", () => {
  const instance = new TextDecoder().decode(bytesOf(instanceOf([{ id: "a" }, { id: "b", parents: ["a"] }])));
  const body = JSON.stringify({ file: instance, simulateWork: 0.5 });

  it("with a factor of simulated work, plain or compressed", async () => {
    expect(await (await send("/v1/plan", body)).json()).toMatchObject({ name: "made", tasks: 2 });
    expect(await (await send("/v1/plan", new Uint8Array(gzipSync(body)), gzip)).json()).toMatchObject({ tasks: 2 });
    expect(await (await send("/v1/experiments", body)).json()).toMatchObject({ status: "CREATED", tasks: 2 });
  });

  it("alone, and is refused with the places where no command is", async () => {
    const { complaints } = await refused(await send("/v1/plan", instance), 400, "invalid-input");
    expect(complaints?.[0]).toMatchObject({ path: "workflow.execution.tasks[0]", message: expect.stringContaining("no command") });
    expect(complaints?.[0]?.line).toBeGreaterThan(1);
  });

  it("larger than an experiment file may be", async () => {
    const large = bytesOf(instanceOf(Array.from({ length: 10_000 }, (_, i) => ({ id: `task-number-${i}`, outputFiles: [`file-${i}`] }))));
    expect(large.length).toBeGreaterThan(1024 * 1024);
    const wrapped = gzipSync(JSON.stringify({ file: new TextDecoder().decode(large), simulateWork: 0 }));
    expect(await (await send("/v1/plan", wrapped, gzip)).json()).toMatchObject({ tasks: 10_000 });
  });
});

describe("a compressed body", () => {
  const yaml = { ...gzip, "content-type": "application/yaml" };
  it("is refused when it is not gzip or becomes too much", async () => {
    expect(await (await send("/v1/plan", new Uint8Array(gzipSync(EXPERIMENT_YAML)), yaml)).json()).toMatchObject({
      sets: expect.anything(),
    });
    await refused(await send("/v1/plan", "no gzip", yaml), 400, "invalid-input");
    await refused(await send("/v1/plan", new Uint8Array(gzipSync(Buffer.alloc(90 * 1024 * 1024))), yaml), 413, "too-large");
    await refused(await send("/v1/plan", "x", { ...yaml, "content-encoding": "br" }), 415, "unsupported-media-type");
  });

  it("is for experiments only", async () => {
    const created = await send("/v1/experiments", EXPERIMENT_YAML, { "content-type": "application/yaml" });
    const { id } = (await created.json()) as { id: string };
    await refused(
      await send(`/v1/experiments/${id}/edit`, new Uint8Array(gzipSync('{"priority": 1}')), gzip),
      415,
      "unsupported-media-type",
    );
  });
});
