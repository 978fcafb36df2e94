import { credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { SchedulerError } from "#domain/error.ts";
import type { WorkerId } from "#domain/id.ts";
import { createGatewayClient, GATEWAY_NAME } from "#protocol/client.ts";
import { type GatewayMessage, TaskGatewayClient, TaskGatewayService } from "#protocol/gen/worker.ts";
import { BACKLOG_BYTES_MAX, MESSAGE_BYTES_MAX } from "#protocol/limits.ts";
import { PROTOCOL_VERSION } from "#protocol/version.ts";
import { connect } from "../../worker/agent/connection.ts";
import { loadOrCreateAuthority } from "../../worker/gateway/certificates.ts";
import { createGatewayServer } from "../../worker/gateway/server.ts";
import { aKey, aWorkerId, beat, beatSeen, type GatewayEnd, hello, quiet, startProxy, startWire } from "../support/wire.ts";

const untilEnd = async (channel: GatewayEnd) => {
  const seen = [];
  for (let message = await channel.receive(); message !== undefined; message = await channel.receive()) seen.push(message);
  return seen;
};

describe("who may connect", () => {
  it("the worker id comes from the certificate, for P-256 and Ed25519 keys alike", async () => {
    const seen: WorkerId[] = [];
    await using wire = await startWire({
      async serve(workerId, channel) {
        seen.push(workerId);
        await untilEnd(channel);
      },
    });
    for (const kind of ["ec", "ed25519"] as const) {
      const workerId = aWorkerId();
      const connection = await wire.connectAs(workerId, { kind });
      connection.send(hello());
      connection.close("done");
      expect(await connection.ended).toEqual({ kind: "served" });
      expect(seen.at(-1)).toBe(workerId);
    }
  });

  it("Work and SignUploads without a client certificate are refused for good", async () => {
    await using wire = await startWire();
    const client = createGatewayClient({ address: wire.address, ca: wire.authority.caPem });
    const refused = { outcome: { kind: "fatal", reason: expect.stringContaining("join with a new token") } };
    await expect(client.work()).rejects.toMatchObject(refused);
    await expect(client.signUploads({ lease: "l", files: [] })).rejects.toMatchObject(refused);
    client.close();
  });

  it("a certificate of another CA is refused for good", async () => {
    await using wire = await startWire();
    const other = await loadOrCreateAuthority(`${wire.dir}/other`);
    await expect(wire.connectAs(aWorkerId(), { authority: other })).rejects.toMatchObject({ outcome: { kind: "fatal" } });
  });

  it("the gateway's own certificate is no worker's", async () => {
    await using wire = await startWire();
    const own = await wire.authority.issueServer({ hosts: [] });
    const options = { address: wire.address, ca: wire.authority.caPem, certificate: own.certificatePem, key: own.keyPem, logger: quiet };
    await expect(connect(options)).rejects.toMatchObject({ outcome: { kind: "fatal" } });
  });

  it("a worker's certificate is no gateway's, nor is another deployment's: the agent stops and says why", async () => {
    await using wire = await startWire();
    await using other = await startWire();
    const { key, spki } = aKey();
    const certificate = await wire.authority.issueClient({ workerId: aWorkerId(), publicKeySpki: spki });
    const stranger = connect({ address: other.address, ca: wire.authority.caPem, certificate, key, logger: quiet });
    await expect(stranger).rejects.toMatchObject({ outcome: { kind: "fatal", reason: expect.stringContaining("--ca") } });

    const impostor = await createGatewayServer({
      host: "127.0.0.1",
      port: 0,
      authority: {
        ...wire.authority,
        issueServer: async () => ({ certificatePem: certificate, keyPem: key, expiresAtMs: Date.now() + 1e9 }),
      },
      handlers: { join: async () => ({ workerId: "", pool: "", certificatePem: "" }), serve: async () => {}, signUploads: async () => [] },
      logger: quiet,
    });
    const fooled = connect({ address: `127.0.0.1:${impostor.port}`, ca: wire.authority.caPem, certificate, key, logger: quiet });
    await expect(fooled).rejects.toMatchObject({ outcome: { kind: "fatal" } });
    await impostor.close(0);
  });

  it("a plaintext client is refused", async () => {
    await using wire = await startWire();
    const client = new TaskGatewayClient(`dns:${wire.address}`, credentials.createInsecure());
    const request = { token: "t", publicKeySpki: new Uint8Array(), protocolVersion: 1, agentVersion: "" };
    const error = await new Promise<ServiceError | null>((resolve) => void client.join(request, resolve));
    expect(error?.code).toBe(status.UNAVAILABLE);
    client.close();
  });

  it("nobody at the address is worth another try", async () => {
    const wire = await startWire();
    await wire[Symbol.asyncDispose]();
    await expect(wire.connectAs(aWorkerId())).rejects.toMatchObject({ outcome: { kind: "retryable" } });
  });
});

describe("the first message", () => {
  it("another protocol version is refused with a sentence that names both", async () => {
    let served = false;
    await using wire = await startWire({
      async serve() {
        served = true;
      },
    });
    const connection = await wire.connectAs(aWorkerId());
    connection.send(hello(PROTOCOL_VERSION + 1));
    expect(await connection.receive()).toBeUndefined();
    const outcome = await connection.ended;
    expect(outcome).toMatchObject({ kind: "fatal" });
    const reason = "reason" in outcome ? outcome.reason : "";
    expect(reason).toContain(`protocol ${PROTOCOL_VERSION + 1}`);
    expect(reason).toContain(`protocol ${PROTOCOL_VERSION}`);
    expect(reason).toContain("start the agent of release");
    expect(served).toBe(false);
  });

  it("anything but Hello is refused", async () => {
    await using wire = await startWire();
    const connection = await wire.connectAs(aWorkerId());
    connection.send(beat(1));
    expect(await connection.receive()).toBeUndefined();
    expect(await connection.ended).toMatchObject({ kind: "fatal", reason: expect.stringContaining("Hello") });
  });
});

describe("a stream", () => {
  it("keeps the order of 1,000 messages each way", async () => {
    const seen: number[] = [];
    await using wire = await startWire({
      async serve(_workerId, channel) {
        for (let i = 0; i < 1000; i++) channel.send(beatSeen(i));
        for (let message = await channel.receive(); message !== undefined; message = await channel.receive()) {
          if (message.body?.$case === "beat") seen.push(message.body.value.sequence);
          if (seen.length === 1000) break;
        }
      },
    });
    const connection = await wire.connectAs(aWorkerId());
    connection.send(hello());
    for (let i = 0; i < 1000; i++) connection.send(beat(i));
    const got: number[] = [];
    for (let message = await connection.receive(); message !== undefined; message = await connection.receive()) {
      if (message.body?.$case === "beatSeen") got.push(message.body.value.sequence);
    }
    const expected = Array.from({ length: 1000 }, (_, i) => i);
    expect(got).toEqual(expected);
    expect(seen).toEqual(expected);
    expect(await connection.ended).toEqual({ kind: "served" });
    expect(connection.backlog()).toBe(0);
  });

  it("that breaks ends at both ends, and the agent may dial again", async () => {
    const ended = Promise.withResolvers<void>();
    await using wire = await startWire({
      async serve(_workerId, channel) {
        channel.send(beatSeen(1));
        await untilEnd(channel);
        ended.resolve();
      },
    });
    await using proxy = await startProxy(wire.server.port);
    const connection = await wire.connectAs(aWorkerId(), { address: proxy.address });
    connection.send(hello());
    expect(await connection.receive()).toEqual(beatSeen(1));
    proxy.cut();
    expect(await connection.receive()).toBeUndefined();
    expect(await connection.ended).toMatchObject({ kind: "retryable" });
    await ended.promise;
    connection.send(beat(1)); // ignored
    expect(connection.backlog()).toBe(0);
  });

  it("ends as drained when the gateway had sent Drain", async () => {
    await using wire = await startWire({
      async serve(_workerId, channel) {
        channel.send({ body: { $case: "drain", value: { reason: "retired" } } });
        await untilEnd(channel);
      },
    });
    const connection = await wire.connectAs(aWorkerId());
    connection.send(hello());
    await connection.receive();
    connection.close("all given back");
    expect(await connection.receive()).toBeUndefined();
    expect(await connection.ended).toEqual({ kind: "drained" });
  });

  it("closed by the gateway arrives with its reason after what was sent before", async () => {
    await using wire = await startWire({
      async serve(_workerId, channel) {
        for (let i = 0; i < 10; i++) channel.send(beatSeen(i));
        channel.close("a newer stream of this worker took over");
        channel.send(beatSeen(99)); // ignored
      },
    });
    const connection = await wire.connectAs(aWorkerId());
    connection.send(hello());
    for (let i = 0; i < 10; i++) expect(await connection.receive()).toEqual(beatSeen(i));
    expect(await connection.receive()).toBeUndefined();
    expect(await connection.ended).toEqual({ kind: "retryable", reason: "a newer stream of this worker took over" });
  });

  it("whose handler fails tells the agent nothing of the cause", async () => {
    await using wire = await startWire({ serve: () => Promise.reject(new Error("password=hunter2")) });
    const connection = await wire.connectAs(aWorkerId());
    connection.send(hello());
    expect(await connection.receive()).toBeUndefined();
    const outcome = await connection.ended;
    expect(outcome.kind).toBe("retryable");
    expect(JSON.stringify(outcome)).not.toContain("hunter2");
    expect(wire.logged.join()).toContain("hunter2");
  });

  it("refuses an oversize message where it is sent, and where it arrives", async () => {
    const oversize = { body: { $case: "released" as const, value: { lease: "l", tasks: new Uint8Array(MESSAGE_BYTES_MAX) } } };
    await using wire = await startWire({ serve: async (_workerId, channel) => void (await untilEnd(channel)) });
    const connection = await wire.connectAs(aWorkerId());
    connection.send(hello());
    expect(() => connection.send(oversize)).toThrow(SchedulerError);
    connection.close("done");
    await connection.ended;

    const { key, spki } = aKey();
    const certificate = await wire.authority.issueClient({ workerId: aWorkerId(), publicKeySpki: spki });
    const tls = credentials.createSsl(Buffer.from(wire.authority.caPem), Buffer.from(key), Buffer.from(certificate));
    const raw = new TaskGatewayClient(`dns:${wire.address}`, tls, { "grpc.ssl_target_name_override": GATEWAY_NAME });
    const call = raw.work(new Metadata());
    const refused = new Promise<number>((resolve) => void call.on("status", ({ code }) => resolve(code)));
    call.on("error", () => {}).resume();
    call.write(oversize);
    expect(await refused).toBe(status.RESOURCE_EXHAUSTED);
    raw.close();
  });

  it("to a reader that takes nothing shows its backlog and is cut at the limit", async () => {
    const backlog = Promise.withResolvers<number>();
    await using wire = await startWire({
      async serve(_workerId, channel) {
        const big: GatewayMessage = { body: { $case: "drop", value: { lease: "l", tasks: new Uint8Array(1024 * 1024), reason: "" } } };
        await channel.receive();
        let highest = 0;
        for (let i = 0; i < 100; i++) {
          channel.send(big);
          highest = Math.max(highest, channel.backlog());
          await new Promise(setImmediate);
        }
        expect(await channel.receive()).toBeUndefined();
        backlog.resolve(highest);
      },
    });
    const { key, spki } = aKey();
    const certificate = await wire.authority.issueClient({ workerId: aWorkerId(), publicKeySpki: spki });
    const tls = credentials.createSsl(Buffer.from(wire.authority.caPem), Buffer.from(key), Buffer.from(certificate));
    const raw = new TaskGatewayClient(`dns:${wire.address}`, tls, { "grpc.ssl_target_name_override": GATEWAY_NAME });
    const call = raw.makeBidiStreamRequest(
      TaskGatewayService.work.path,
      TaskGatewayService.work.requestSerialize,
      TaskGatewayService.work.responseDeserialize,
    );
    call.on("error", () => {});
    call.write(hello()); // and reads nothing
    expect(await backlog.promise).toBeGreaterThan(BACKLOG_BYTES_MAX / 2);
    expect(await backlog.promise).toBeLessThanOrEqual(BACKLOG_BYTES_MAX);
    expect(wire.logged.join()).toContain("too slowly");
    raw.close();
  });
});

describe("an agent", () => {
  it("gives up a gateway that reads nothing, with its memory bounded", async () => {
    const over = Promise.withResolvers<void>();
    await using wire = await startWire({ serve: () => over.promise });
    const connection = await wire.connectAs(aWorkerId());
    connection.send(hello());
    let highest = 0;
    for (let i = 0; i < 100; i++) {
      connection.send({ body: { $case: "released", value: { lease: "l", tasks: new Uint8Array(1024 * 1024) } } });
      highest = Math.max(highest, connection.backlog());
      await new Promise(setImmediate);
    }
    expect(await connection.receive()).toBeUndefined();
    expect(await connection.ended).toMatchObject({ kind: "retryable", reason: expect.stringContaining("too slowly") });
    expect(highest).toBeLessThanOrEqual(BACKLOG_BYTES_MAX);
    over.resolve();
  });

  it("with a CA file that holds no certificate stops and names the option", async () => {
    const { key } = aKey();
    const broken = { address: "127.0.0.1:1", ca: "no certificate", certificate: "none", key, logger: quiet };
    await expect(connect(broken)).rejects.toMatchObject({ outcome: { kind: "fatal", reason: expect.stringContaining("--ca") } });
  });
});

describe("the server", () => {
  it("signs uploads for the worker of the certificate, at most as many as allowed", async () => {
    const asked: string[] = [];
    await using wire = await startWire({
      serve: async (_workerId, channel) => void (await untilEnd(channel)),
      async signUploads(workerId, request) {
        asked.push(workerId);
        if (request.lease === "another's") throw new SchedulerError("forbidden", "this worker does not hold the lease: drop the task");
        return request.files.map(({ sha256 }) => `https://store/${sha256}`);
      },
    });
    const workerId = aWorkerId();
    const connection = await wire.connectAs(workerId);
    connection.send(hello());
    const files = [
      { sha256: "a", bytes: 1 },
      { sha256: "b", bytes: 2 },
    ];
    expect(await connection.signUploads("l", files)).toEqual(["https://store/a", "https://store/b"]);
    expect(asked).toEqual([workerId]);
    await expect(connection.signUploads("another's", files)).rejects.toMatchObject({
      outcome: { kind: "fatal", reason: expect.stringContaining("lease") },
    });
    const many = Array.from({ length: 1001 }, () => ({ sha256: "a", bytes: 1 }));
    await expect(connection.signUploads("l", many)).rejects.toMatchObject({ outcome: { kind: "fatal" } });
    connection.close("done");
    await connection.ended;
  });

  it("that closes ends all streams and tells their agents to dial again", async () => {
    let running = 0;
    const wire = await startWire({
      async serve(_workerId, channel) {
        running += 1;
        channel.send(beatSeen(0));
        await untilEnd(channel);
        running -= 1;
      },
    });
    const connections = await Promise.all([1, 2, 3].map(() => wire.connectAs(aWorkerId())));
    for (const connection of connections) {
      connection.send(hello());
      await connection.receive();
    }
    expect(running).toBe(3);
    const started = performance.now();
    const closed = wire.server.close(5_000);
    for (const connection of connections) {
      expect(await connection.receive()).toBeUndefined();
      expect(await connection.ended).toEqual({ kind: "retryable", reason: "this gateway is stopping: dial again" });
    }
    await closed;
    expect(running).toBe(0);
    expect(performance.now() - started).toBeLessThan(4_000);
    await expect(wire.connectAs(aWorkerId())).rejects.toMatchObject({ outcome: { kind: "retryable" } });
  });

  it("that closes does not wait beyond the grace time for a handler that does not end", async () => {
    const wire = await startWire({ serve: () => new Promise(() => {}) });
    const connection = await wire.connectAs(aWorkerId());
    connection.send(hello());
    await wire.server.close(50);
    expect(await connection.receive()).toBeUndefined();
    expect((await connection.ended).kind).toBe("retryable");
  });
});
