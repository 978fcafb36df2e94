import { gunzipSync } from "node:zlib";
import { extract } from "tar-stream";
import { beforeEach, describe, expect, it } from "vitest";
import { createHttpApp, createLambdaHandler, type HttpApp } from "../../functions/http/index.ts";
import { createMemoryRateLimiter } from "../../shared/adapters/memory/rate-limiter.ts";
import { problem } from "../../shared/api/problem.ts";
import { OPERATION_IDS, routeOf } from "../../shared/api/routes.ts";
import { personalProject } from "../../shared/domain/id.ts";
import { SchedulerError } from "../../shared/domain/error.ts";
import {
  ADMIN,
  ALICE,
  anOutput,
  BOB,
  createFakeHttp,
  EXPERIMENT_YAML,
  type FakeHttp,
  PASSWORD,
  STORAGE,
  tokenOf,
} from "../support/fake-http-deps.ts";
import { requestOf } from "../support/route-requests.ts";

let fake: FakeHttp;
let app: HttpApp;

interface Sent {
  readonly body?: string | Uint8Array<ArrayBuffer>;
  readonly type?: string;
  readonly key?: string;
  readonly as?: typeof ALICE;
  readonly headers?: Record<string, string>;
}

function send(method: string, path: string, { body, type, key, as = ALICE, headers = {} }: Sent = {}): Promise<Response> {
  const all = {
    authorization: `Bearer ${tokenOf(as)}`,
    ...(type ? { "content-type": type } : {}),
    ...(key ? { "idempotency-key": key } : {}),
    ...headers,
  };
  return app.fetch(new Request(`http://test${path}`, { method, headers: all, ...(body === undefined ? {} : { body }) }));
}
const sendYaml = (body: Sent["body"] & {}, options: Sent = {}, path = "/v1/experiments") =>
  send("POST", path, { body, type: "application/yaml", ...options });

async function refused(response: Response, status: number, code: string) {
  const body = problem.parse(await response.json());
  expect({ status: response.status, code: body.code }).toEqual({ status, code });
  expect(response.headers.get("content-type")).toBe("application/problem+json");
  expect(body.status).toBe(status);
  expect(body.requestId).toBe(response.headers.get("x-request-id"));
  return body;
}

async function created(): Promise<string> {
  return ((await (await sendYaml(EXPERIMENT_YAML)).json()) as { id: string }).id;
}

beforeEach(() => {
  fake = createFakeHttp();
  app = createHttpApp(fake.deps);
});

describe("answers", () => {
  it("hold what the contract names and nothing else", async () => {
    const id = await created();
    const named = { experiments: id, tokens: "", users: "alice", projects: personalProject(ADMIN.id), storage: STORAGE };
    for (const operation of OPERATION_IDS) {
      const route = routeOf(operation);
      if (route.method !== "GET" || route.host === "gateway" || !("json" in route.success)) continue;
      const response = await app.fetch(requestOf(operation, named, tokenOf(ADMIN)));
      const text = await response.text();
      expect(JSON.parse(text)).toEqual(route.success.json.parse(JSON.parse(text)));
      expect(text).not.toContain("secret-hash");
      expect(response.headers.get("cache-control")).toBe(route.method === "GET" ? "private, no-cache" : "no-store");
    }
  });

  it("of a login never hold the password's hash", async () => {
    const response = await send("POST", "/v1/login", {
      body: JSON.stringify({ name: "alice", password: PASSWORD }),
      type: "application/json",
    });
    const text = await response.text();
    expect(response.status).toBe(200);
    expect(text).toContain(tokenOf(ALICE));
    expect(text).not.toContain("argon2");
  });

  it("create, submit and cancel", async () => {
    const response = await sendYaml(EXPERIMENT_YAML, {}, "/v1/experiments?submit=true");
    expect(response.status).toBe(201);
    const { id, status, tasks } = (await response.json()) as { id: string; status: string; tasks: number };
    expect({ status, tasks }).toEqual({ status: "RUNNING", tasks: 3 });
    expect(((await (await send("POST", `/v1/experiments/${id}/cancel`)).json()) as { status: string }).status).toBe("CANCELED");
  });

  it("a state that is known already is not sent again", async () => {
    const { id } = (await (await sendYaml(EXPERIMENT_YAML)).json()) as { id: string };
    const poll = (tag?: string) =>
      app.fetch(
        new Request(`http://test/v1/experiments/${id}`, {
          headers: { authorization: `Bearer ${tokenOf(ALICE)}`, ...(tag === undefined ? {} : { "if-none-match": tag }) },
        }),
      );
    const first = await poll();
    const tag = first.headers.get("etag") as string;
    const second = await poll(`"other", W/${tag}`);
    expect([first.status, second.status, await second.text(), second.headers.get("etag")]).toEqual([200, 304, "", tag]);
    await send("POST", `/v1/experiments/${id}/cancel`);
    expect((await poll(tag)).status).toBe(200);
  });

  it("name what was created although its submit failed for now", async () => {
    fake.failSubmit = new SchedulerError("unavailable", "throttled");
    const response = await sendYaml(EXPERIMENT_YAML, { key: "k" }, "/v1/experiments?submit=true");
    expect(response.status).toBe(201);
    expect(((await response.json()) as { status: string }).status).toBe("CREATED");
    expect(fake.experiments.size).toBe(1);
  });

  it("plan counts tasks and writes nothing", async () => {
    const response = await sendYaml(EXPERIMENT_YAML, {}, "/v1/plan");
    expect(await response.json()).toMatchObject({ name: "greetings", tasks: 3, sets: [{ set: "hello", tasks: 3 }] });
    expect(fake.experiments.size).toBe(0);
  });

  it("page through lists", async () => {
    for (let i = 0; i < 3; i++) await created();
    const first = (await (await send("GET", "/v1/experiments?limit=2")).json()) as { items: unknown[]; cursor: string };
    const second = (await (await send("GET", `/v1/experiments?limit=2&cursor=${first.cursor}`)).json()) as {
      items: unknown[];
      cursor?: string;
    };
    expect([first.items.length, second.items.length, second.cursor]).toEqual([2, 1, undefined]);
  });

  it("serve the OpenAPI document without a token", async () => {
    const response = await app.fetch(new Request("http://test/openapi.json"));
    expect(((await response.json()) as { openapi: string }).openapi).toBe("3.1.0");
  });
});

describe("experiment files come", () => {
  it("as JSON that wraps the text, with values that replace those of the file", async () => {
    const body = JSON.stringify({ file: EXPERIMENT_YAML, set: { WHO: "[a, b]" } });
    const response = await send("POST", "/v1/plan", { body, type: "application/json; charset=utf-8" });
    expect(await response.json()).toMatchObject({ tasks: 2 });
  });

  it("as JSON that is the experiment", async () => {
    const body = JSON.stringify({ scripts: { S: "true" }, tasks: { one: { script: "S" } } });
    expect(await (await send("POST", "/v1/plan", { body, type: "application/json" })).json()).toMatchObject({ tasks: 1 });
  });

  it("malformed: every complaint has its line and column", async () => {
    const response = await sendYaml("tasks: [\n  {a: b\n");
    const { complaints } = await refused(response, 400, "invalid-input");
    expect(complaints?.[0]?.line).toBeGreaterThan(0);
    expect(complaints?.[0]?.column).toBeGreaterThan(0);
  });

  it("with unknown keys: refused, with a suggestion", async () => {
    const body = await refused(await sendYaml(EXPERIMENT_YAML.replace("task_inputs", "task_input")), 400, "invalid-input");
    expect(JSON.stringify(body.complaints)).toContain("task_inputs");
    expect(fake.experiments.size).toBe(0);
  });

  it("not in UTF-8, empty, or as something else: refused", async () => {
    await refused(await sendYaml(new Uint8Array([0x6e, 0xff, 0xfe])), 400, "invalid-input");
    await refused(await sendYaml(""), 400, "invalid-input");
    await refused(await send("POST", "/v1/plan", { body: "{", type: "application/json" }), 400, "invalid-input");
    await refused(await send("POST", "/v1/plan", { body: '{"file": 7}', type: "application/json" }), 400, "invalid-input");
  });

  it("too large: refused whatever the headers promise", async () => {
    const large = new Uint8Array(50 * 1024 * 1024);
    await refused(await sendYaml(large), 413, "too-large");
    const chunk = new Uint8Array(64 * 1024);
    let given = 0;
    const endless = new ReadableStream({ pull: (controller) => (given++ < 10_000 ? controller.enqueue(chunk) : controller.close()) });
    const headers = { authorization: `Bearer ${tokenOf(ALICE)}`, "content-type": "application/yaml" };
    const init = { method: "POST", headers, body: endless, duplex: "half" } as RequestInit;
    await refused(await app.fetch(new Request("http://test/v1/plan", init)), 413, "too-large");
    expect(given).toBeLessThan(100);
  });

  it("as another content type or charset: 415 with the types that are taken", async () => {
    const response = await sendYaml(EXPERIMENT_YAML, { type: "application/xml" });
    expect(response.headers.get("accept")).toContain("application/yaml");
    await refused(response, 415, "unsupported-media-type");
    await refused(await sendYaml(EXPERIMENT_YAML, { type: "application/yaml; charset=latin1" }), 415, "unsupported-media-type");
    await refused(await send("POST", "/v1/experiments", { body: new Uint8Array([1]) }), 415, "unsupported-media-type");
  });
});

describe("bad requests", () => {
  it.each(["limit=0", "limit=1001", "limit=x", "limit=1&limit=2", "unknown=1", "cursor="])("refuse the query %s", async (query) => {
    await refused(await send("GET", `/v1/experiments?${query}`), 400, "invalid-input");
  });

  it("refuse unknown task states", async () => {
    const id = await created();
    const { complaints } = await refused(await send("GET", `/v1/experiments/${id}/tasks?state=SLEEPING`), 400, "invalid-input");
    expect(complaints?.[0]?.path).toBe("state");
  });

  it("answer 404 for tasks, outputs and addresses that are not there", async () => {
    const id = await created();
    for (const path of ["tasks/hello/99", "tasks/none/0", "tasks/hello/-1", "tasks/hello/x", "outputs/hello/0/NONE"]) {
      await refused(await send("GET", `/v1/experiments/${id}/${path}`), 404, "not-found");
    }
    await refused(await send("GET", "/v2/nothing"), 404, "not-found");
  });

  it("answer 405 with the methods that an address takes", async () => {
    const response = await send("DELETE", "/v1/experiments");
    expect(response.headers.get("allow")).toBe("POST, GET");
    await refused(response, 405, "method-not-allowed");
  });

  it("refuse resources that lead elsewhere or are malformed", async () => {
    const admin = { ...ADMIN, id: ALICE.id };
    for (const body of [
      { kind: "POSIX", name: "x", root: "/a/../b" },
      { kind: "POSIX", name: "X", root: "/a" },
      { kind: "FTP", name: "x" },
      { kind: "LOCAL", name: "x", more: 1 },
    ]) {
      await refused(
        await send("POST", "/v1/resources", { body: JSON.stringify(body), type: "application/json", as: admin }),
        400,
        "invalid-input",
      );
    }
  });
});

describe("failures inside", () => {
  it("are logged under the request's id and never shown", async () => {
    const orchestrator = {
      ...fake.deps.orchestrator,
      list: () => Promise.reject(new Error("ECONNREFUSED 10.1.2.3:8000 table experiments")),
    };
    app = createHttpApp({ ...fake.deps, orchestrator });
    const response = await send("GET", "/v1/experiments", { headers: { "x-request-id": "req-12345678" } });
    const body = await refused(response, 500, "internal");
    expect(JSON.stringify(body)).not.toContain("10.1.2.3");
    expect(fake.errors[0]).toContain("10.1.2.3");
    expect(fake.errors[0]).toContain("req-12345678");
  });

  it("that may pass say so", async () => {
    const orchestrator = {
      ...fake.deps.orchestrator,
      list: () => Promise.reject(new SchedulerError("unavailable", "dynamodb at 10.1.2.3")),
    };
    app = createHttpApp({ ...fake.deps, orchestrator });
    const response = await send("GET", "/v1/experiments");
    expect(response.headers.get("retry-after")).toBe("1");
    expect(JSON.stringify(await refused(response, 503, "unavailable"))).not.toContain("10.1.2.3");
  });

  it("take no request id that could break a log", async () => {
    const response = await send("GET", "/v1/health", { headers: { "x-request-id": "a\tb c{}" } });
    expect(response.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  });
});

describe("an idempotency key", () => {
  it("gives the first answer again, with one effect", async () => {
    const first = await sendYaml(EXPERIMENT_YAML, { key: "key-1" });
    const second = await sendYaml(EXPERIMENT_YAML, { key: "key-1" });
    expect(await second.text()).toBe(await first.text());
    expect(second.status).toBe(201);
    expect(second.headers.get("idempotency-replayed")).toBe("true");
    expect(fake.experiments.size).toBe(1);
  });

  it("with another body or query is refused", async () => {
    await sendYaml(EXPERIMENT_YAML, { key: "key-1" });
    await refused(await sendYaml(`${EXPERIMENT_YAML}\n# more`, { key: "key-1" }), 422, "idempotency-mismatch");
    await refused(await sendYaml(EXPERIMENT_YAML, { key: "key-1" }, "/v1/experiments?submit=true"), 422, "idempotency-mismatch");
    expect(fake.experiments.size).toBe(1);
  });

  it("of a request that still runs is refused for now", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    fake.hold = promise;
    const first = sendYaml(EXPERIMENT_YAML, { key: "key-1" });
    await new Promise((turn) => setImmediate(turn));
    const answers = await Promise.all([sendYaml(EXPERIMENT_YAML, { key: "key-1" }), sendYaml(EXPERIMENT_YAML, { key: "key-1" })]);
    for (const answer of answers) await refused(answer, 409, "idempotency-in-progress");
    resolve();
    expect((await first).status).toBe(201);
    expect(fake.experiments.size).toBe(1);
  });

  it("belongs to its user", async () => {
    await sendYaml(EXPERIMENT_YAML, { key: "key-1" });
    const other = await sendYaml(EXPERIMENT_YAML, { key: "key-1", as: BOB });
    expect(other.headers.get("idempotency-replayed")).toBeNull();
    expect(fake.experiments.size).toBe(2);
  });

  it("may be used again when its request was refused", async () => {
    await refused(await sendYaml("tasks: 7", { key: "key-1" }), 400, "invalid-input");
    expect((await sendYaml(EXPERIMENT_YAML, { key: "key-1" })).status).toBe(201);
  });

  it("never turns a success into a failure when it can't be stored", async () => {
    const idempotency = { ...fake.deps.idempotency, finish: () => Promise.reject(new Error("store is down")) };
    app = createHttpApp({ ...fake.deps, idempotency });
    expect((await sendYaml(EXPERIMENT_YAML, { key: "key-1" })).status).toBe(201);
    await refused(await sendYaml(EXPERIMENT_YAML, { key: "key-1" }), 409, "idempotency-in-progress");
    expect(fake.experiments.size).toBe(1);
  });

  it("of a process that died is free again after a short time, and the dead one's late answer is not kept", async () => {
    const reached = Promise.withResolvers<void>();
    const { promise, resolve } = Promise.withResolvers<void>();
    const { orchestrator } = fake.deps;
    const create: typeof orchestrator.create = async (request) => {
      reached.resolve();
      await (fake.nowMs === 1_000 ? promise : undefined);
      return orchestrator.create(request);
    };
    app = createHttpApp({ ...fake.deps, orchestrator: { ...orchestrator, create } });
    const dead = sendYaml(EXPERIMENT_YAML, { key: "key-1" });
    await reached.promise;
    fake.nowMs += 59_999;
    await refused(await sendYaml(EXPERIMENT_YAML, { key: "key-1" }), 409, "idempotency-in-progress");
    fake.nowMs += 1;
    const heir = await sendYaml(EXPERIMENT_YAML, { key: "key-1" });
    expect(heir.status).toBe(201);
    resolve();
    await dead;
    fake.nowMs += 23 * 60 * 60 * 1000;
    const again = await sendYaml(EXPERIMENT_YAML, { key: "key-1" });
    expect(again.headers.get("idempotency-replayed")).toBe("true");
    expect(await again.text()).toBe(await heir.text());
  });

  it("that is malformed is refused before any effect", async () => {
    await refused(await sendYaml(EXPERIMENT_YAML, { key: "x".repeat(129) }), 400, "invalid-input");
    expect(fake.experiments.size).toBe(0);
  });
});

describe("a create that died halfway", () => {
  it("and is repeated under its key makes no second experiment, whatever it had done", async () => {
    const { write } = fake.deps.authorization;
    let fails = true;
    const failing: typeof write = async (relations) => {
      if (fails) throw new SchedulerError("unavailable", "the engine is down");
      await write(relations);
    };
    app = createHttpApp({ ...fake.deps, authorization: { ...fake.deps.authorization, write: failing } });
    await refused(await sendYaml(EXPERIMENT_YAML, { key: "key-1" }), 503, "unavailable");
    const [made] = fake.experiments.keys();
    fails = false;
    const again = await sendYaml(EXPERIMENT_YAML, { key: "key-1" });
    expect(again.status).toBe(201);
    expect(((await again.json()) as { id: string }).id).toBe(made);
    expect(fake.experiments.size).toBe(1);
    expect((await send("GET", `/v1/experiments/${made}`)).status).toBe(200);
    await refused(await sendYaml(`${EXPERIMENT_YAML}\n# more`, { key: "key-1" }), 422, "idempotency-mismatch");
    expect((await sendYaml(EXPERIMENT_YAML, { key: "key-2" })).status).toBe(201);
    expect(fake.experiments.size).toBe(2);
  });
});

describe("an account", () => {
  const limited = (perSecond: number, burst: number) => {
    const taken: number[] = [];
    const limiter = createMemoryRateLimiter(fake.deps.clock);
    const take: typeof limiter.take = async (who, count, rate) => {
      taken.push(count);
      return limiter.take(who, count, rate);
    };
    app = createHttpApp({ ...fake.deps, rate: { limiter: { take }, perSecond, burst } });
    return taken;
  };

  it("that sends too much is told when to go on, others are not", async () => {
    const taken = limited(10, 20);
    const statuses = await Promise.all(Array.from({ length: 30 }, async () => (await send("GET", "/v1/me")).status));
    expect(statuses.filter((s) => s === 200)).toHaveLength(20);
    expect(taken.length).toBeLessThanOrEqual(3);
    const refusal = await send("GET", "/v1/me");
    expect(refusal.headers.get("retry-after")).toBe("1");
    await refused(refusal, 429, "rate-limited");
    expect(taken.length).toBeLessThanOrEqual(3);
    expect((await send("GET", "/v1/me", { as: BOB })).status).toBe(200);
    fake.nowMs += 1_000;
    expect((await send("GET", "/v1/me")).status).toBe(200);
  });

  it("costs one write of the store for several requests", async () => {
    const taken = limited(1_000, 1_000);
    for (let i = 0; i < 50; i++) expect((await send("GET", "/v1/me")).status).toBe(200);
    expect(taken).toHaveLength(5);
  });
});

describe("pages of other origins", () => {
  const preflight = (origin: string) =>
    app.fetch(
      new Request("http://test/v1/experiments", {
        method: "OPTIONS",
        headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization" },
      }),
    );
  const from = (origin: string) => app.fetch(new Request("http://test/v1/health", { headers: { origin } }));

  it("that are named may use the API, others get no permission", async () => {
    app = createHttpApp({ ...fake.deps, corsOrigins: ["https://portal.example.org"] });
    const good = await preflight("https://portal.example.org");
    expect([good.status, good.headers.get("access-control-allow-origin")]).toEqual([204, "https://portal.example.org"]);
    expect(good.headers.get("access-control-allow-headers")).toContain("authorization");
    expect((await from("https://portal.example.org")).headers.get("access-control-expose-headers")).toContain("retry-after");
    for (const bad of [await preflight("https://evil.example.org"), await from("https://evil.example.org")]) {
      expect(bad.headers.get("access-control-allow-origin")).toBeNull();
      expect(bad.headers.get("vary")).toContain("origin");
      expect(bad.status).not.toBe(204);
    }
  });

  it("are all refused by default, and all allowed by *", async () => {
    expect((await from("https://portal.example.org")).headers.get("access-control-allow-origin")).toBeNull();
    app = createHttpApp({ ...fake.deps, corsOrigins: ["*"] });
    expect((await from("https://portal.example.org")).headers.get("access-control-allow-origin")).toBe("*");
    expect((await preflight("https://portal.example.org")).status).toBe(204);
  });
});

describe("the page of the API", () => {
  it("names every operation, loads nothing and runs nothing", async () => {
    const response = await send("GET", "/docs");
    expect(response.headers.get("content-type")).toContain("text/html");
    expect(response.headers.get("content-security-policy")).toContain("default-src 'none'");
    const html = await response.text();
    for (const id of OPERATION_IDS) expect(html).toContain(`id="${id}"`);
    expect(html).not.toMatch(/<script|<link|<img|src=|href="http/);
  });
});

describe("a list that is short", () => {
  it("comes in pages all the same, and refuses a cursor that is not its own", async () => {
    for (const name of ["b", "a", "c"])
      await send("POST", "/v1/resources", {
        body: JSON.stringify({ kind: "LOCAL", name, open: true }),
        type: "application/json",
        as: ADMIN,
      });
    const first = (await (await send("GET", "/v1/resources?limit=3")).json()) as { items: { name: string }[]; cursor: string };
    expect(first.items.map((r) => r.name)).toEqual(["a", "b", "c"]);
    const rest = (await (await send("GET", `/v1/resources?limit=3&cursor=${first.cursor}`)).json()) as { items: { name: string }[] };
    // The one named local is not open to her.
    expect(rest).toEqual({ items: [expect.objectContaining({ name: "files" })] });
    await refused(await send("GET", "/v1/resources?cursor=%20"), 400, "invalid-input");
  });

  it("tells which part does not answer", async () => {
    app = createHttpApp({ ...fake.deps, health: async () => ({ state: true, queue: false }) });
    expect(await (await send("GET", "/v1/health")).json()).toMatchObject({
      status: "degraded",
      parts: { state: "ok", queue: "down" },
      deadLetters: 0,
    });
  });
});

describe("a registration of a resource", () => {
  const DATA = { kind: "POSIX", name: "data", root: "/data", open: true };
  const register = (body: object, as = ADMIN) =>
    send("POST", "/v1/resources", { body: JSON.stringify(body), type: "application/json", as });

  it("whose permissions could not be written is completed by repeating it", async () => {
    const written: unknown[] = [];
    let fails = true;
    const write: FakeHttp["deps"]["authorization"]["write"] = async (relations) => {
      if (fails) throw new SchedulerError("unavailable", "the engine is down");
      written.push(...relations);
    };
    app = createHttpApp({ ...fake.deps, authorization: { ...fake.deps.authorization, write } });
    await refused(await register(DATA), 503, "unavailable");
    fails = false;
    const answer = await register(DATA);
    expect(answer.status).toBe(201);
    const { id } = (await answer.json()) as { id: string };
    const object = { type: "storage_resource", id };
    expect(written).toEqual([
      { object, relation: "owner", subject: { type: "user", id: ADMIN.id } },
      { object, relation: "deployment", subject: { type: "deployment", id: "main" } },
      { object, relation: "user", subject: { type: "user", id: "*" } },
    ]);
    expect((await fake.deps.resources.list()).filter((r) => r.name === "data")).toMatchObject([{ id, root: "/data" }]);
  });

  it("is refused when the name stands for something else or for somebody else's", async () => {
    expect((await register(DATA)).status).toBe(201);
    await refused(await register({ ...DATA, root: "/other" }), 409, "conflict");
    await refused(await register({ kind: "LOCAL", name: "data" }), 409, "conflict");
    const all = { ...fake.deps.authorization, check: async () => true };
    app = createHttpApp({ ...fake.deps, authorization: all });
    await refused(await register(DATA, BOB), 409, "conflict");
  });
});

describe("outputs", () => {
  it("are attachments with their checksum", async () => {
    const id = await created();
    const response = await send("GET", `/v1/experiments/${id}/outputs/hello/0/OUT`);
    expect(await response.text()).toBe("it rained\n");
    expect(response.headers.get("content-disposition")).toContain("attachment");
    expect(response.headers.get("content-type")).toBe("application/octet-stream");
  });

  it("that are large go by a signed URL, or through when there is none", async () => {
    const id = await created();
    fake.outputs.push({ ...anOutput("hello/1", "big.bin", "x".repeat(5 * 1024 * 1024)) });
    expect((await send("GET", `/v1/experiments/${id}/outputs/hello/1/OUT`)).status).toBe(200);
    app = createHttpApp({ ...fake.deps, signOutput: async (output) => `http://store/c/${output.sha256}?signature=s` });
    const response = await send("GET", `/v1/experiments/${id}/outputs/hello/1/OUT`);
    expect(response.status).toBe(302);
    expect(response.headers.get("location")).toContain("http://store/c/");
  });

  it("come in one archive of <set>/<number>/<path>", async () => {
    const id = await created();
    fake.outputs.push(anOutput("hello/1", "deep/er.txt", "y".repeat(300_000)));
    for (let i = 0; i < 600; i++) fake.outputs.push(anOutput(`many/${i}`, "a.txt", `text ${i}`));
    const response = await send("GET", `/v1/experiments/${id}/outputs.tar.gz`);
    const archive = extract();
    archive.end(gunzipSync(Buffer.from(await response.arrayBuffer())));
    const sizes = new Map<string, number>();
    for await (const entry of archive) {
      sizes.set(entry.header.name, entry.header.size ?? 0);
      entry.resume();
    }
    expect(sizes.size).toBe(602);
    expect(sizes.get("hello/0/out.txt")).toBe(10);
    expect(sizes.get("hello/1/deep/er.txt")).toBe(300_000);
  });

  it("with a path that leads outside end the archive instead of being in it", async () => {
    const id = await created();
    fake.outputs.push(anOutput("hello/1", "../../evil"));
    const response = await send("GET", `/v1/experiments/${id}/outputs.tar.gz`);
    await expect(response.arrayBuffer()).rejects.toThrow();
    expect(fake.errors[0]).toContain("../../evil");
  });
});

describe("the Lambda handler", () => {
  const event = (method: string, path: string, more: object = {}) =>
    ({
      version: "2.0",
      routeKey: "$default",
      rawPath: path,
      rawQueryString: "",
      headers: { authorization: `Bearer ${tokenOf(ALICE)}`, "content-type": "application/yaml", "content-length": "3" },
      requestContext: { domainName: "api.example", requestId: "JKJaXmPLvHcESHA=", http: { method, path } },
      isBase64Encoded: false,
      ...more,
    }) as unknown as Parameters<ReturnType<typeof createLambdaHandler>>[0];

  it("takes text and base64 bodies and answers JSON as text", async () => {
    const handler = createLambdaHandler(app);
    const plain = await handler(event("POST", "/v1/plan", { body: EXPERIMENT_YAML }));
    const encoded = await handler(
      event("POST", "/v1/plan", { body: Buffer.from(EXPERIMENT_YAML).toString("base64"), isBase64Encoded: true }),
    );
    expect(plain.statusCode).toBe(200);
    expect(plain.isBase64Encoded).toBe(false);
    expect(plain.headers?.["x-request-id"]).toBe("JKJaXmPLvHcESHA=");
    expect(encoded.body).toBe(plain.body);
    expect(JSON.parse(plain.body ?? "")).toMatchObject({ tasks: 3 });
  });

  it("answers bytes in base64 and refuses what a function may not answer", async () => {
    const handler = createLambdaHandler(app);
    const id = await created();
    const bytes = await handler(event("GET", `/v1/experiments/${id}/outputs/hello/0/OUT`));
    expect(bytes.isBase64Encoded).toBe(true);
    expect(Buffer.from(bytes.body ?? "", "base64").toString()).toBe("it rained\n");
    fake.outputs.push(anOutput("hello/1", "big.bin", "x".repeat(5 * 1024 * 1024)));
    const large = await handler(event("GET", `/v1/experiments/${id}/outputs/hello/1/OUT`));
    expect(large.statusCode).toBe(413);
    expect(JSON.parse(large.body ?? "").code).toBe("too-large");
  });

  it("passes the query on", async () => {
    const handler = createLambdaHandler(app);
    const result = await handler(event("GET", "/v1/experiments", { rawQueryString: "limit=0" }));
    expect(result.statusCode).toBe(400);
  });
});
