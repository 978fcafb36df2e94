import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { createHttpApp } from "../../functions/http/index.ts";
import { createClient } from "../../shared/api/client.ts";
import { RemoteError } from "../../shared/api/problem.ts";
import { SchedulerError } from "../../shared/domain/error.ts";
import { ALICE, createFakeHttp, EXPERIMENT_YAML, OUTPUT_TEXT, tokenOf } from "../support/fake-http-deps.ts";

const portOf = (server: Server): number => (server.address() as AddressInfo).port;
const body = { bytes: new TextEncoder().encode(EXPERIMENT_YAML) };

/** A client of the real application whose network answers `faults` first. */
function world(faults: readonly ("lost" | "lost answer" | number)[] = [], token: string | undefined = tokenOf(ALICE)) {
  const fake = createFakeHttp();
  const app = createHttpApp(fake.deps);
  const waits: number[] = [];
  const sent: Request[] = [];
  let n = 0;
  const fetch = async (url: string, init: RequestInit): Promise<Response> => {
    const request = new Request(url, init);
    sent.push(request.clone());
    const fault = faults[n++];
    if (fault === "lost") throw new TypeError("fetch failed", { cause: new Error("ECONNREFUSED") });
    if (typeof fault === "number")
      return new Response("bad gateway", { status: fault, headers: fault === 503 ? { "retry-after": "3" } : {} });
    const response = await app.fetch(request);
    if (fault === "lost answer") throw new TypeError("fetch failed");
    return response;
  };
  const client = createClient({
    server: "http://test/",
    ...(token === undefined ? {} : { token }),
    fetch,
    sleep: async (ms) => void waits.push(ms),
    random: () => 1,
  });
  return { client, fake, waits, sent };
}

describe("the client", () => {
  it("speaks the whole contract", async () => {
    const { client, fake } = world();
    expect((await client.call("planExperiment", { body })).tasks).toBe(3);
    const { id } = await client.call("createExperiment", { body, query: { submit: "true" }, idempotencyKey: "k" });
    expect((await client.call("getExperiment", { params: { id } })).status).toBe("RUNNING");
    expect((await client.call("listTasks", { params: { id }, query: { limit: 2 } })).items).toHaveLength(2);
    expect((await client.call("getTask", { params: { id, set: "hello", number: 0 } })).parameters).toEqual({ A: "1" });
    const output = await client.open("getOutput", { params: { id, set: "hello", number: 0, name: "OUT" } });
    expect(await output.text()).toBe(OUTPUT_TEXT);
    expect((await client.call("listWorkers", {})).items).toEqual([]);
    const object = { type: "compute_resource", id: (await fake.deps.resources.read("local")).id } as const;
    await fake.deps.authorization.write([{ object, relation: "user", subject: { type: "user", id: ALICE.id } }]);
    expect((await client.call("listWorkers", {})).items[0]?.host).toBe("node-1");
  });

  it("sends overrides beside the file", async () => {
    const { client } = world();
    expect((await client.call("planExperiment", { body: { ...body, set: { WHO: "[a]" } } })).tasks).toBe(1);
  });

  it("repeats reads after lost connections and bad gateways, waiting longer each time", async () => {
    const { client, waits } = world(["lost", 502, "lost answer"]);
    expect((await client.call("listExperiments", {})).items).toEqual([]);
    expect(waits).toEqual([200, 400, 800]);
  });

  it("waits as long as the server asks", async () => {
    const { client, waits } = world([503]);
    await client.call("getHealth", {});
    expect(waits).toEqual([3000]);
  });

  it("repeats a create with its key after a lost answer, and it has one effect", async () => {
    const { client, fake, sent } = world(["lost answer"]);
    await client.call("createExperiment", { body, idempotencyKey: "once" });
    expect(sent).toHaveLength(2);
    expect(fake.experiments.size).toBe(1);
  });

  it("sends a create without a key once only", async () => {
    const { client, sent } = world(["lost"]);
    await expect(client.call("createExperiment", { body })).rejects.toMatchObject({ kind: "unavailable" });
    expect(sent).toHaveLength(1);
  });

  it("gives up after its attempts and says whom it could not reach", async () => {
    const { client, waits } = world(["lost", "lost", "lost", "lost", "lost", "lost"]);
    await expect(client.call("getMe", {})).rejects.toThrow("can't reach http://test/: ECONNREFUSED");
    expect(waits).toHaveLength(5);
  });

  it("never repeats what was refused", async () => {
    const { client, sent } = world([], "forged");
    const error = await client.call("getMe", {}).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(RemoteError);
    expect(error).toMatchObject({ kind: "unauthenticated", status: 401 });
    expect(sent).toHaveLength(1);
  });

  it("keeps the token away from public routes", async () => {
    const { client, sent } = world();
    await client.call("getHealth", {});
    expect(sent[0]?.headers.get("authorization")).toBeNull();
  });

  it("stops waiting when it is told to", async () => {
    const { client, sent } = world(["lost", "lost"]);
    const controller = new AbortController();
    controller.abort();
    await expect(client.call("getMe", { signal: controller.signal })).rejects.toThrow();
    expect(sent.length).toBeLessThanOrEqual(1);
  });

  it("says so when an answer is not what the contract promises", async () => {
    const client = createClient({ server: "http://test", fetch: async () => Response.json({ status: "new-state" }) });
    const error = await client.call("getHealth", {}).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(SchedulerError);
    expect(error).toMatchObject({ kind: "version-mismatch" });
  });

  it("keeps the token from another origin when it is sent on to a signed URL", async () => {
    const seen: (string | undefined)[] = [];
    const store = createServer((request, response) => {
      seen.push(request.headers.authorization);
      response.end("bytes");
    });
    const api = createServer((request, response) => {
      seen.push(request.headers.authorization);
      response.writeHead(302, { location: `http://127.0.0.1:${portOf(store)}/c/x?signature=s` }).end();
    });
    await Promise.all([store, api].map((server) => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))));
    const client = createClient({ server: `http://127.0.0.1:${portOf(api)}`, token: "secret" });
    const params = { id: "exp_00000000000000000000000000" as never, set: "a", number: 0, name: "OUT" };
    expect(await (await client.open("getOutput", { params })).text()).toBe("bytes");
    expect(seen).toEqual(["Bearer secret", undefined]);
    for (const server of [store, api]) server.close();
  });

  it("writes names into addresses safely", async () => {
    const { client, sent } = world();
    const id = "exp_00000000000000000000000000" as never;
    await client.call("getTask", { params: { id, set: "../../me", number: 0 } }).catch(() => undefined);
    expect(new URL(sent[0]?.url ?? "").pathname).toBe(`/v1/experiments/${id}/tasks/..%2F..%2Fme/0`);
  });
});
