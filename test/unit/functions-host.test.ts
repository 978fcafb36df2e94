import { createHash, randomBytes } from "node:crypto";
import { request } from "node:http";
import type { APIGatewayProxyEventV2, SQSEvent } from "aws-lambda";
import { describe, expect, it, vi } from "vitest";
import { createHttpApp, createLambdaHandler, isArchivePath, isFilePath } from "../../functions/http/index.ts";
import { createFunctionsHost, type FunctionsHostOptions } from "../../local/functions-host.ts";
import { createMemoryMessageQueue } from "../../shared/adapters/memory/message-queue.ts";
import { createSystemClock } from "../../shared/adapters/system/clock.ts";
import type { Logger } from "../../shared/ports/logger.ts";
import { ALICE, anOutput, BOB, createFakeHttp, EXPERIMENT_YAML, STORAGE, tokenOf } from "../support/fake-http-deps.ts";

const errors: string[] = [];
const logger: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: (text, facts) => void errors.push(`${text} ${JSON.stringify(facts)}`),
  child: () => logger,
};
const clock = createSystemClock();

async function started(options: Omit<FunctionsHostOptions, "clock" | "logger">) {
  const host = createFunctionsHost({ clock, logger, ...options });
  const { url = "" } = await host.start();
  return { url, [Symbol.asyncDispose]: () => host.stop() };
}

const httpOf = (handler: NonNullable<FunctionsHostOptions["http"]>["handler"], more: object = {}) => ({
  http: { handler, host: "127.0.0.1", port: 0, ...more },
});

describe("HTTP", () => {
  it("becomes API Gateway v2 events", async () => {
    let event: APIGatewayProxyEventV2 | undefined;
    await using host = await started(
      httpOf(async (e) => {
        event = e;
        return { statusCode: 201, headers: { "x-a": "b" }, body: Buffer.from([0, 255]).toString("base64"), isBase64Encoded: true };
      }),
    );
    const response = await fetch(`${host.url}/a%2Fb?x=1&y=2`, {
      method: "POST",
      headers: { "content-type": "application/octet-stream", "X-Two": "2" },
      body: new Uint8Array([1, 200]),
    });
    expect([response.status, response.headers.get("x-a"), [...new Uint8Array(await response.arrayBuffer())]]).toEqual([201, "b", [0, 255]]);
    expect(event).toMatchObject({ version: "2.0", rawPath: "/a%2Fb", rawQueryString: "x=1&y=2", isBase64Encoded: true, body: "Acg=" });
    expect(event?.headers["x-two"]).toBe("2");
    expect(event?.requestContext.http.method).toBe("POST");
  });

  it("answers methods that no request of the web can have, and heads that are too long, with problems", async () => {
    await using host = await started(httpOf(createLambdaHandler(createHttpApp(createFakeHttp().deps))));
    const ask = (method: string, path: string): Promise<{ status: number | undefined; code: string }> =>
      new Promise((answered, fail) => {
        const sent = request(`${host.url}${path}`, { method }, async (response) => {
          let text = "";
          for await (const chunk of response) text += chunk;
          answered({ status: response.statusCode, code: (JSON.parse(text) as { readonly code: string }).code });
        });
        sent.on("error", fail).end();
      });
    expect(await ask("TRACE", "/v1/me")).toEqual({ status: 405, code: "method-not-allowed" });
    expect(await ask("TRACE", "/nothing")).toEqual({ status: 404, code: "not-found" });
    expect(await ask("GET", `/v1/me?x=${"y".repeat(20_000)}`)).toEqual({ status: 431, code: "header-too-large" });
  });

  it("carries the application, experiments and all", async () => {
    const fake = createFakeHttp();
    await using host = await started(httpOf(createLambdaHandler(createHttpApp(fake.deps))));
    const headers = { authorization: `Bearer ${tokenOf(ALICE)}`, "content-type": "application/yaml" };
    const created = await fetch(`${host.url}/v1/experiments?submit=true`, { method: "POST", headers, body: EXPERIMENT_YAML });
    expect(created.status).toBe(201);
    const { id } = (await created.json()) as { id: string };
    expect(await (await fetch(`${host.url}/v1/experiments/${id}/outputs/hello/0/OUT`, { headers })).text()).toBe("it rained\n");
  });

  it("refuses 50 MB, announced or not, and its sender sees the answer", async () => {
    const handler = vi.fn();
    await using host = await started(httpOf(handler));
    const send = (announced: boolean) =>
      new Promise<number | undefined>((resolve, reject) => {
        const bytes = 50_000_000;
        const sent = request(host.url, { method: "POST", headers: announced ? { "content-length": bytes } : {} }, (answer) => {
          answer.resume();
          resolve(answer.statusCode);
        });
        sent.on("error", reject);
        sent.end(Buffer.alloc(bytes));
      });
    expect([await send(true), await send(false)]).toEqual([413, 413]);
    expect(handler).not.toHaveBeenCalled();
  });

  it("hides what went wrong in a function", async () => {
    await using host = await started(httpOf(() => Promise.reject(new Error("secret"))));
    const response = await fetch(host.url);
    expect([response.status, await response.text()]).toEqual([500, '{"message":"Internal Server Error"}']);
  });

  it("streams what is named to be streamed, beyond what a function may answer", async () => {
    const fake = createFakeHttp();
    const app = createHttpApp(fake.deps);
    const streams = [{ matches: isArchivePath, fetch: app.fetch }];
    await using host = await started(httpOf(createLambdaHandler(app), { streams }));
    const headers = { authorization: `Bearer ${tokenOf(ALICE)}`, "content-type": "application/yaml" };
    const { id } = (await (await fetch(`${host.url}/v1/experiments`, { method: "POST", headers, body: EXPERIMENT_YAML })).json()) as {
      id: string;
    };
    for (let i = 0; i < 8; i++)
      fake.outputs.push(anOutput(`big/${i}`, "x", Array.from({ length: 200_000 }, () => Math.random().toString(36)).join("")));
    const archive = await fetch(`${host.url}/v1/experiments/${id}/outputs.tar.gz`, { headers });
    expect((await archive.arrayBuffer()).byteLength).toBeGreaterThan(6_000_000);
    expect((await fetch(`${host.url}/v1/experiments/${id}/outputs.tar.gz`)).status).toBe(401);
  });
});

describe("files", () => {
  async function hostOfFiles() {
    const fake = createFakeHttp();
    const app = createHttpApp(fake.deps);
    const host = await started(httpOf(createLambdaHandler(app), { streams: [{ matches: isFilePath, fetch: app.fetch }] }));
    const address = (query: string) => `${host.url}/v1/storage/${STORAGE}/content?${query}`;
    const put = (query: string, body: Buffer | ReadableStream, user = ALICE) => {
      const headers = { authorization: `Bearer ${tokenOf(user)}`, "content-type": "application/octet-stream" };
      return fetch(address(query), { method: "PUT", headers, body, duplex: "half" } as RequestInit);
    };
    const get = (query: string) => fetch(address(query), { headers: { authorization: `Bearer ${tokenOf(ALICE)}` } });
    return { put, get, [Symbol.asyncDispose]: () => host[Symbol.asyncDispose]() };
  }

  it("beyond what a function takes are put and got", async () => {
    await using host = await hostOfFiles();
    const content = randomBytes(24_000_000);
    const sha256 = createHash("sha256").update(content).digest("hex");
    const answer = await host.put(`path=/big&sha256=${sha256}`, content);
    expect(await answer.json()).toMatchObject({ path: "/big", bytes: content.length, sha256 });
    const read = Buffer.from(await (await host.get("path=/big")).arrayBuffer());
    expect(read.equals(content)).toBe(true);
  });

  it("that are refused get their answer, however much is still to be sent", async () => {
    await using host = await hostOfFiles();
    const content = randomBytes(8_000_000);
    expect((await host.put("path=/in.txt", content)).status).toBe(409);
    expect((await host.put("path=/x", content, BOB)).status).toBe(404);
    expect((await host.put("path=/../x", content)).status).toBe(400);
    expect((await host.put(`path=/x&sha256=${"0".repeat(64)}`, content)).status).toBe(400);
    expect((await host.get("path=/x")).status).toBe(404);
    expect(await (await host.get("path=/in.txt")).text()).toBe("in");
  });

  it("whose sender goes away in the middle are not there", async () => {
    await using host = await hostOfFiles();
    async function* broken() {
      yield randomBytes(1_000_000);
      throw new Error("gone");
    }
    await expect(host.put("path=/half", ReadableStream.from(broken()))).rejects.toThrow();
    expect((await host.get("path=/half")).status).toBe(404);
  });
});

describe("queues", () => {
  it("give handlers SQS events and delete only what succeeded", async () => {
    const messages = createMemoryMessageQueue({ clock });
    await messages.send("hints", "good");
    await messages.send("hints", "bad");
    const seen: string[] = [];
    const { promise: redelivered, resolve } = Promise.withResolvers<SQSEvent>();
    const handler = async (event: SQSEvent) => {
      const failing = event.Records.filter((record) => record.body === "bad" && record.attributes.ApproximateReceiveCount === "1");
      for (const record of event.Records) seen.push(`${record.body} ${record.attributes.ApproximateReceiveCount}`);
      if (event.Records.some((record) => record.attributes.ApproximateReceiveCount === "2")) resolve(event);
      return { batchItemFailures: failing.map((record) => ({ itemIdentifier: record.messageId })) };
    };
    await using _host = await started({ messages, queues: [{ queue: "hints", handler, concurrency: 2, visibilityMs: 50 }] });
    const event = await redelivered;
    expect(event.Records[0]?.eventSourceARN).toBe("arn:aws:sqs:local:000000000000:hints");
    expect(seen.sort()).toEqual(["bad 1", "bad 2", "good 1"]);
  });

  it("keep all of a batch whose handler threw or named what it was not given", async () => {
    const messages = createMemoryMessageQueue({ clock });
    await messages.send("hints", "a");
    let calls = 0;
    const { promise: third, resolve } = Promise.withResolvers<void>();
    const handler = async () => {
      calls++;
      if (calls === 1) return { batchItemFailures: [{ itemIdentifier: "unknown" }] };
      if (calls === 2) return { batchItemFailures: [{ itemIdentifier: "" }] };
      resolve();
      return { batchItemFailures: [] };
    };
    await using _host = await started({ messages, queues: [{ queue: "hints", handler, concurrency: 1, visibilityMs: 20 }] });
    await third;
    await vi.waitFor(async () => expect(await messages.depth("hints")).toBe(0));
  });
});

it("timers get scheduled events, go on after a failure and end with the host", async () => {
  const { promise: twice, resolve } = Promise.withResolvers<void>();
  const resources: string[] = [];
  const handler = async (event: { resources: string[] }) => {
    resources.push(...event.resources);
    if (resources.length === 1) throw new Error("once");
    resolve();
  };
  {
    await using _host = await started({ timers: [{ name: "reclaim-leases", everyMs: 5, handler }] });
    await twice;
  }
  const count = resources.length;
  await clock.sleep(30);
  expect(resources.length).toBe(count);
  expect(resources[0]).toContain("rule/reclaim-leases");
  expect(errors.join()).toContain("timer failed");
});
