import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { deploymentKey, readConfig, readFunctionConfig, spiceDbSettings } from "#config";
import { makeFolder } from "../support/test-folder.ts";

const FUNCTION = { AIRAVATA_BUCKET: "objects-1", AIRAVATA_QUEUE_PREFIX: "prod-" };
const MACHINE = { AIRAVATA_DATA_DIR: "/data", AIRAVATA_OBJECTS_URL: "http://127.0.0.1:7070", AIRAVATA_SPICEDB: "127.0.0.1:50051" };

describe("settings of a function", () => {
  it("need a bucket and a prefix of queues, and every one that is missing or wrong is named", () => {
    expect(() => readFunctionConfig({})).toThrow(/AIRAVATA_BUCKET.*AIRAVATA_QUEUE_PREFIX/);
    expect(() => readFunctionConfig({ ...FUNCTION, AIRAVATA_BUCKET: "Not_a_bucket", AIRAVATA_LOG: "loud" })).toThrow(
      /AIRAVATA_LOG.*AIRAVATA_BUCKET: a bucket's name is/,
    );
    expect(() => readFunctionConfig({ ...FUNCTION, AIRAVATA_QUEUE_PREFIX: "a.b" })).toThrow("AIRAVATA_QUEUE_PREFIX: a prefix of queues is");
    expect(readFunctionConfig(FUNCTION)).toMatchObject({ bucket: "objects-1", table: "airavata", queues: { prefix: "prod-", urls: {} } });
  });

  it("take the addresses of queues, and an empty variable for none", () => {
    const { queues } = readFunctionConfig({ ...FUNCTION, AIRAVATA_QUEUE_URLS: "schedule=https://sqs/1/a, launch=https://sqs/1/b" });
    expect(queues.urls).toEqual({ schedule: "https://sqs/1/a", launch: "https://sqs/1/b" });
    expect(readFunctionConfig({ ...FUNCTION, AIRAVATA_QUEUE_URLS: "", AIRAVATA_SPICEDB_TLS: "" }).queues.urls).toEqual({});
    expect(() => readFunctionConfig({ ...FUNCTION, AIRAVATA_QUEUE_URLS: "schedule" })).toThrow(
      'AIRAVATA_QUEUE_URLS: "schedule" is not NAME=URL',
    );
  });

  it("protect SpiceDB's key by TLS except on loopback, unless told", () => {
    const tls = (more: object) => readFunctionConfig({ ...FUNCTION, ...more }).spicedbTls;
    expect(tls({ AIRAVATA_SPICEDB: "spicedb.example.org:443" })).toBe(true);
    expect(tls({ AIRAVATA_SPICEDB: "127.0.0.1:50051" })).toBe(false);
    expect(tls({ AIRAVATA_SPICEDB: "10.0.0.1:50051", AIRAVATA_SPICEDB_TLS: "off" })).toBe(false);
    expect(tls({ AIRAVATA_SPICEDB: "127.0.0.1:50051", AIRAVATA_SPICEDB_TLS: "on" })).toBe(true);
  });

  it("name a secret's place, and refuse the secret itself without repeating it", () => {
    const wrong = () => readFunctionConfig({ ...FUNCTION, AIRAVATA_DEPLOYMENT_KEY: "hunter2" });
    expect(wrong).toThrow("AIRAVATA_DEPLOYMENT_KEY: write file:PATH, or secret:NAME");
    expect(wrong).not.toThrow("hunter2");
  });

  it("say what is missing when a secret is asked for", async () => {
    const config = readFunctionConfig(FUNCTION);
    await expect(deploymentKey(config, "tokens")).rejects.toThrow("AIRAVATA_DEPLOYMENT_KEY: missing");
    await expect(spiceDbSettings(config)).rejects.toThrow("AIRAVATA_SPICEDB: missing");
    await expect(spiceDbSettings({ ...config, spicedb: "h:1" })).rejects.toThrow("AIRAVATA_SPICEDB_KEY: missing");
  });
});

describe("settings of a machine", () => {
  it("keep objects and messages in its folder unless S3 and SQS are named", () => {
    expect(readConfig(MACHINE)).toMatchObject({ bucket: undefined, queues: undefined, deploymentKey: { path: "/data/deployment.key" } });
    expect(readConfig({ ...MACHINE, ...FUNCTION })).toMatchObject({ bucket: "objects-1", queues: { prefix: "prod-" } });
    expect(() => readConfig(FUNCTION)).toThrow(/AIRAVATA_DATA_DIR.*AIRAVATA_OBJECTS_URL/);
  });
});

describe("secrets", () => {
  it("come from a file, the same key for the same purpose only", async () => {
    await using folder = await makeFolder();
    const path = join(folder.folder, "key");
    await writeFile(path, "deployment key\n");
    const config = readFunctionConfig({ ...FUNCTION, AIRAVATA_DEPLOYMENT_KEY: `file:${path}` });
    const [one, again, other] = await Promise.all(["a", "a", "b"].map((purpose) => deploymentKey(config, purpose)));
    expect(one).toEqual(again);
    expect(one).not.toEqual(other);
  });

  it("come by name from the extension beside a function, with the session's token", async () => {
    const server = createServer((request, response) => {
      const known =
        request.url === "/secretsmanager/get?secretId=prod%2Fspicedb" && request.headers["x-aws-parameters-secrets-token"] === "session";
      response.statusCode = known ? 200 : 400;
      response.end(JSON.stringify({ SecretString: "preshared\n" }));
    });
    await new Promise<void>((listening) => server.listen(0, "localhost", listening));
    const port = String((server.address() as AddressInfo).port);
    const environment = { PARAMETERS_SECRETS_EXTENSION_HTTP_PORT: port, AWS_SESSION_TOKEN: "session" };
    const at = (name: string) =>
      readFunctionConfig({ ...FUNCTION, AIRAVATA_SPICEDB: "h.example:443", AIRAVATA_SPICEDB_KEY: `secret:${name}` });
    expect(await spiceDbSettings(at("prod/spicedb"), environment)).toEqual({
      endpoint: "h.example:443",
      presharedKey: "preshared",
      transport: "tls",
    });
    await expect(spiceDbSettings(at("prod/other"), environment)).rejects.toThrow("the secret prod/other cannot be read");
    server.close();
  });
});
