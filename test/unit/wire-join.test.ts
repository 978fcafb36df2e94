import { X509Certificate } from "node:crypto";
import { chmod, readdir, readFile, rm, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { SchedulerError } from "#domain/error.ts";
import { PROTOCOL_VERSION, RELEASE_VERSION } from "#protocol/version.ts";
import { connect } from "../../worker/agent/connection.ts";
import { loadOrJoin, renewIfDue } from "../../worker/agent/join.ts";
import { loadOrCreateAuthority, workerOfName } from "../../worker/gateway/certificates.ts";
import { createJoinLimit } from "../../worker/gateway/join-limit.ts";
import { JOIN_REFUSALS_BURST, JOINS_BURST, JOINS_PER_SECOND } from "../../worker/gateway/limits.ts";
import { createGatewayClient } from "#protocol/client.ts";
import { aKey, aWorkerId, hello, quiet, startWire, type Wire } from "../support/wire.ts";

const DAY_MS = 24 * 3600 * 1000;

/** A deployment whose tokens are "good-1", "good-2", … (each works once) and "expired". */
async function startDeployment() {
  const used = new Set<string>();
  const wire: Wire = await startWire({
    async join({ token, publicKeySpki }) {
      if (token === "expired") throw new SchedulerError("unauthenticated", "the token has expired: ask for a new one");
      if (!token.startsWith("good-") || used.has(token))
        throw new SchedulerError("unauthenticated", "the token is unknown or was used: ask for a new one");
      used.add(token);
      const workerId = aWorkerId();
      return { workerId, pool: "laptop", certificatePem: await wire.authority.issueClient({ workerId, publicKeySpki }) };
    },
    async serve(_workerId, channel) {
      while ((await channel.receive()) !== undefined);
    },
  });
  const stateDir = join(wire.dir, "state");
  const tokenFile = join(wire.dir, "token");
  const enter = async (token?: string, ca = wire.authority.caPem) => {
    if (token !== undefined) await writeFile(tokenFile, `${token}\n`);
    return loadOrJoin({ address: wire.address, ca, tokenFile: token === undefined ? undefined : tokenFile, stateDir, logger: quiet });
  };
  return { wire, stateDir, tokenFile, enter, used, [Symbol.asyncDispose]: () => wire[Symbol.asyncDispose]() };
}

const fatal = (part: string) => ({ outcome: { kind: "fatal", reason: expect.stringContaining(part) } });

describe("join", () => {
  it("a good token gives an identity that connects, kept for the next start", async () => {
    await using deployment = await startDeployment();
    const identity = await deployment.enter("good-1");
    expect(identity.pool).toBe("laptop");
    for (const name of ["worker.key", "worker.json"]) expect((await stat(join(deployment.stateDir, name))).mode & 0o777).toBe(0o600);
    expect(await deployment.enter()).toEqual(identity);
    expect(deployment.used.size).toBe(1);

    const { address, authority } = deployment.wire;
    const connection = await connect({ address, ca: authority.caPem, ...identity, logger: quiet });
    connection.send(hello());
    connection.close("done");
    expect(await connection.ended).toEqual({ kind: "served" });
  });

  it("a certificate that ends soon is renewed without a token, for the same worker and key", async () => {
    await using deployment = await startDeployment();
    const identity = await deployment.enter("good-1");
    const { address, authority } = deployment.wire;
    const place = { address, ca: authority.caPem, stateDir: deployment.stateDir, logger: quiet };
    expect(await renewIfDue(identity, place, 300 * DAY_MS)).toBe(identity);
    const renewed = await renewIfDue(identity, place, 400 * DAY_MS);
    expect(renewed).toEqual({ ...identity, certificate: expect.any(String) });
    expect(renewed.certificate).not.toBe(identity.certificate);
    expect(await deployment.enter()).toEqual(renewed);
    expect(deployment.used.size).toBe(1);
    const connection = await connect({ address, ca: authority.caPem, ...renewed, logger: quiet });
    connection.send(hello());
    connection.close("done");
    expect(await connection.ended).toEqual({ kind: "served" });
  });

  it("a certificate of another deployment is not renewed, and none is lost for it", async () => {
    await using deployment = await startDeployment();
    const identity = await deployment.enter("good-1");
    const { address, authority, dir } = deployment.wire;
    const other = await loadOrCreateAuthority(join(dir, "other"));
    const { key, spki } = aKey();
    const foreign = { ...identity, key, certificate: await other.issueClient({ workerId: identity.workerId, publicKeySpki: spki }) };
    const warned: object[] = [];
    const logger = { ...quiet, warn: (_: string, facts: object = {}) => void warned.push(facts) };
    const place = { address, ca: authority.caPem, stateDir: deployment.stateDir, logger };
    expect(await renewIfDue(foreign, place, 400 * DAY_MS)).toBe(foreign);
    expect(warned).toMatchObject([{ reason: expect.stringContaining("certificate") }]);
    expect(await deployment.enter()).toEqual(identity);
  });

  it("used, unknown and expired tokens are refused for good, with the gateway's sentence (W3)", async () => {
    await using deployment = await startDeployment();
    await deployment.enter("good-1");
    await rm(deployment.stateDir, { recursive: true });
    await expect(deployment.enter("good-1")).rejects.toMatchObject(fatal("was used"));
    await expect(deployment.enter("bad")).rejects.toMatchObject(fatal("unknown"));
    await expect(deployment.enter("expired")).rejects.toMatchObject(fatal("expired"));
  });

  it("the token is not shown to a gateway of another CA", async () => {
    await using deployment = await startDeployment();
    const other = await loadOrCreateAuthority(join(deployment.wire.dir, "other"));
    await expect(deployment.enter("good-1", other.caPem)).rejects.toMatchObject(fatal("--ca"));
    expect(deployment.used.size).toBe(0);
  });

  it("a gateway that is away is worth another try, with the same key", async () => {
    await using deployment = await startDeployment();
    await deployment.wire.server.close(0);
    await expect(deployment.enter("good-1")).rejects.toMatchObject({ outcome: { kind: "retryable" } });
    const key = await readFile(join(deployment.stateDir, "worker.key"), "utf8");
    await expect(deployment.enter("good-1")).rejects.toMatchObject({ outcome: { kind: "retryable" } });
    expect(await readFile(join(deployment.stateDir, "worker.key"), "utf8")).toBe(key);
  });

  it("without an identity and without a token the error says how to get one", async () => {
    await using deployment = await startDeployment();
    await expect(deployment.enter()).rejects.toMatchObject(fatal("--token-file"));
  });

  it("another protocol version is told before the token is spent", async () => {
    await using deployment = await startDeployment();
    const client = createGatewayClient({ address: deployment.wire.address, ca: deployment.wire.authority.caPem });
    const request = { token: "good-1", publicKeySpki: aKey().spki, protocolVersion: PROTOCOL_VERSION + 1, agentVersion: RELEASE_VERSION };
    await expect(client.join(request)).rejects.toMatchObject(fatal(`protocol ${PROTOCOL_VERSION + 1}`));
    expect(deployment.used.size).toBe(0);
    const rsaLike = { ...request, protocolVersion: PROTOCOL_VERSION, publicKeySpki: Buffer.from("no key") };
    await expect(client.join(rsaLike)).rejects.toMatchObject(fatal("P-256"));
    client.close();
  });
});

describe("state that a stop left half done", () => {
  it("a key without a certificate is joined; leftover temporary files go", async () => {
    await using deployment = await startDeployment();
    await expect(deployment.enter("bad")).rejects.toThrow();
    const key = await readFile(join(deployment.stateDir, "worker.key"), "utf8");
    await writeFile(join(deployment.stateDir, ".writing-1234"), "half");
    expect((await deployment.enter("good-1")).key).toBe(key);
    expect((await readdir(deployment.stateDir)).sort()).toEqual(["worker.json", "worker.key"]);
  });

  it.each([
    ["a damaged certificate file", (dir: string) => truncate(join(dir, "worker.json"), 40)],
    ["a damaged key", (dir: string) => truncate(join(dir, "worker.key"), 40)],
    ["a key that went missing", (dir: string) => rm(join(dir, "worker.key"))],
  ])("%s is replaced by joining again", async (_name, damage) => {
    await using deployment = await startDeployment();
    const first = await deployment.enter("good-1");
    await damage(deployment.stateDir);
    const second = await deployment.enter("good-2");
    expect(second.workerId).not.toBe(first.workerId);
    expect(await deployment.enter()).toEqual(second);
  });

  it("an identity of another deployment is replaced by joining again", async () => {
    await using one = await startDeployment();
    await using two = await startDeployment();
    await one.enter("good-1");
    const again = {
      address: two.wire.address,
      ca: two.wire.authority.caPem,
      tokenFile: one.tokenFile,
      stateDir: one.stateDir,
      logger: quiet,
    };
    const second = await loadOrJoin(again);
    expect(two.used.size).toBe(1);
    expect(new X509Certificate(second.certificate).verify(new X509Certificate(two.wire.authority.caPem).publicKey)).toBe(true);
  });

  it("a key that others could read is closed", async () => {
    await using deployment = await startDeployment();
    await deployment.enter("good-1");
    await chmod(join(deployment.stateDir, "worker.key"), 0o644);
    await deployment.enter();
    expect((await stat(join(deployment.stateDir, "worker.key"))).mode & 0o777).toBe(0o600);
  });
});

describe("the authority", () => {
  it("is made once, by one of several at once, and reused", async () => {
    await using wire = await startWire();
    const dir = join(wire.dir, "fresh");
    const made = await Promise.all([1, 2, 3, 4].map(() => loadOrCreateAuthority(dir)));
    expect(new Set(made.map(({ caPem }) => caPem)).size).toBe(1);
    expect((await loadOrCreateAuthority(dir)).caPem).toBe(made[0]?.caPem);
    expect((await readdir(dir)).sort()).toEqual(["authority.pem", "ca.pem"]);
    expect((await stat(join(dir, "authority.pem"))).mode & 0o777).toBe(0o600);
    expect(await readFile(join(dir, "ca.pem"), "utf8")).toBe(made[0]?.caPem);
  });

  it("refuses a damaged file and one that others can read", async () => {
    await using wire = await startWire();
    const file = join(wire.dir, "authority", "authority.pem");
    await chmod(file, 0o640);
    await expect(loadOrCreateAuthority(join(wire.dir, "authority"))).rejects.toThrow("chmod 600");
    await chmod(file, 0o600);
    await truncate(file, 100);
    await expect(loadOrCreateAuthority(join(wire.dir, "authority"))).rejects.toThrow("damaged");
  });

  it("gives worker certificates for client use, of a year at most, and takes no other kind of key", async () => {
    await using wire = await startWire();
    const workerId = aWorkerId();
    const certificate = new X509Certificate(await wire.authority.issueClient({ workerId, publicKeySpki: aKey("ed25519").spki }));
    expect(certificate.subject).toBe(`CN=${workerId}`);
    expect(certificate.subjectAltName).toBe(`URI:urn:airavata:worker:${workerId}`);
    expect(certificate.keyUsage).toEqual(["1.3.6.1.5.5.7.3.2"]);
    expect(certificate.ca).toBe(false);
    expect(Date.parse(certificate.validTo) - Date.now()).toBeLessThanOrEqual(366 * 24 * 3600 * 1000);
    await expect(wire.authority.issueClient({ workerId, publicKeySpki: Buffer.alloc(10) })).rejects.toThrow("P-256");
    expect(workerOfName("gateway.airavata.internal")).toBeUndefined();
    expect(workerOfName([workerId, workerId])).toBeUndefined();
  });
});

describe("the limit on joins", () => {
  it("lets an array job in and no more than the rate after it", () => {
    let now = 0;
    const limit = createJoinLimit(() => now);
    for (let i = 0; i < JOINS_BURST; i++) expect(limit.admit("10.0.0.1")).toBe(true);
    expect(limit.admit("10.0.0.2")).toBe(false);
    now += 1000;
    for (let i = 0; i < JOINS_PER_SECOND; i++) expect(limit.admit("10.0.0.2")).toBe(true);
    expect(limit.admit("10.0.0.2")).toBe(false);
    now -= 5000;
    expect(limit.admit("10.0.0.2")).toBe(false);
  });

  it("shuts out an address that guesses, for a while, and no other", () => {
    let now = 0;
    const limit = createJoinLimit(() => now);
    for (let i = 0; i < JOIN_REFUSALS_BURST; i++) {
      expect(limit.admit("10.0.0.1")).toBe(true);
      limit.refused("10.0.0.1");
    }
    expect(limit.admit("10.0.0.1")).toBe(false);
    expect(limit.admit("10.0.0.2")).toBe(true);
    now += 60_000;
    expect(limit.admit("10.0.0.1")).toBe(true);
  });

  it("is told to the agent as worth another try", async () => {
    await using deployment = await startDeployment();
    for (let i = 0; i < JOIN_REFUSALS_BURST; i++) await expect(deployment.enter("bad")).rejects.toMatchObject(fatal("unknown"));
    await expect(deployment.enter("good-1")).rejects.toMatchObject({
      outcome: { kind: "retryable", reason: expect.stringContaining("too many") },
    });
  });
});

describe("the state directory", () => {
  it("that can't be used is named with its option", async () => {
    await using deployment = await startDeployment();
    await writeFile(deployment.stateDir, "a file");
    await expect(deployment.enter("good-1")).rejects.toMatchObject(fatal("--state-dir"));
  });
});

describe("the token file", () => {
  it("must be a small regular file of one word", async () => {
    await using deployment = await startDeployment();
    const { wire, stateDir, tokenFile } = deployment;
    const enter = (file: string) =>
      loadOrJoin({ address: wire.address, ca: wire.authority.caPem, tokenFile: file, stateDir, logger: quiet });
    await expect(enter(join(wire.dir, "absent"))).rejects.toThrow("--token-file");
    await expect(enter(wire.dir)).rejects.toThrow("no regular file");
    await writeFile(tokenFile, "x".repeat(64 * 1024 + 1));
    await expect(enter(tokenFile)).rejects.toThrow("larger than 65536 bytes");
    await writeFile(tokenFile, "two words");
    await expect(enter(tokenFile)).rejects.toThrow("one token");
    await writeFile(tokenFile, "\n");
    await expect(enter(tokenFile)).rejects.toThrow("one token");
    await symlink("/dev/zero", join(wire.dir, "endless"));
    await expect(enter(join(wire.dir, "endless"))).rejects.toThrow("no regular file");
  });
});
