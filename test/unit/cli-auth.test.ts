/** auth and user of the command line, as processes against the real application and the real accounts room over HTTP. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createHttpApp, createLambdaHandler } from "../../functions/http/index.ts";
import { createFunctionsHost, type FunctionsHost } from "../../local/functions-host.ts";
import { createSystemClock } from "../../shared/adapters/system/clock.ts";
import { createMemoryAccountStore } from "../../shared/adapters/memory/account-store.ts";
import { createOidcIdentityProvider } from "../../shared/adapters/oidc/identity-provider.ts";
import { type Accounts, createAccounts } from "../../shared/core/accounts/index.ts";
import type { Logger } from "../../shared/ports/logger.ts";
import { createFakeHttp, PASSWORD } from "../support/fake-http-deps.ts";
import { startIssuer } from "../support/issuer.ts";
import { realAccounts } from "../support/real-accounts.ts";

// Starting processes is slow on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const main = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), "cli", "main.ts");
const logger: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, child: () => logger };

let accounts: Accounts;
let host: FunctionsHost;
let url: string;
let folder: string;

function airavata(
  args: readonly string[],
  input = "",
  env: Record<string, string> = {},
): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [main, ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH, HOME: folder, XDG_CONFIG_HOME: join(folder, "config"), AIRAVATA_SERVER: url, ...env },
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk) => (out += chunk));
  child.stderr.on("data", (chunk) => (err += chunk));
  child.stdin.end(input);
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, out, err })));
}

const contextFile = () => join(folder, "config", "airavata", "context.json");
const context = () => JSON.parse(readFileSync(contextFile(), "utf8")) as { token: string; refreshToken: string; expiresAtMs: number };
const changeContext = (change: object) => writeFileSync(contextFile(), JSON.stringify({ ...context(), ...change }));
const login = (name: string, password = PASSWORD) => airavata(["auth", "login", "--user", name], password);

beforeEach(async () => {
  const fake = createFakeHttp({ signIn: { registration: "open" } });
  const real = await realAccounts(["alice", "admin"], PASSWORD);
  accounts = real.accounts;
  folder = mkdtempSync(join(tmpdir(), "airavata-cli-"));
  const app = createHttpApp({ ...fake.deps, accounts, authorization: real.authorization });
  host = createFunctionsHost({
    http: { handler: createLambdaHandler(app), host: "127.0.0.1", port: 0 },
    clock: createSystemClock(),
    logger,
  });
  url = (await host.start()).url ?? "";
});

afterEach(async () => {
  await host.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe("auth", () => {
  it("renews the login by itself when its token is about to end, and keeps the file to its owner", async () => {
    expect((await login("alice")).code).toBe(0);
    const before = context();
    changeContext({ expiresAtMs: Date.now() + 30_000 });
    const status = await airavata(["auth", "status", "--json"]);
    expect(JSON.parse(status.out)).toMatchObject({ name: "alice", administrator: false, scopes: ["admin"], server: url });
    expect(context().refreshToken).not.toBe(before.refreshToken);
    expect(context().expiresAtMs).toBeGreaterThan(Date.now() + 600_000);
    expect(statSync(contextFile()).mode & 0o777).toBe(0o600);
    expect((await airavata(["auth", "refresh"])).code).toBe(0);
  });

  it("says so when the login can't be renewed: 3", async () => {
    await login("alice");
    changeContext({ expiresAtMs: 1, refreshToken: "art_forged" });
    const status = await airavata(["auth", "status"]);
    expect([status.code, status.err.includes("airavata auth login")]).toEqual([3, true]);
  });

  it("logs out at the server and here, also when it had ended there", async () => {
    await login("alice");
    const { token } = context();
    expect((await airavata(["auth", "logout"])).code).toBe(0);
    expect(existsSync(contextFile())).toBe(false);
    await expect(accounts.authenticate(token)).rejects.toMatchObject({ kind: "unauthenticated" });
    await login("alice");
    await accounts.setDisabled((await accounts.find("alice")).id, true);
    expect((await airavata(["auth", "logout"])).code).toBe(0);
    expect(existsSync(contextFile())).toBe(false);
    expect((await airavata(["auth", "logout"])).code).toBe(0);
  });

  it("makes API tokens that work within their scopes until they are revoked", async () => {
    await login("alice");
    const made = await airavata(["auth", "token", "create", "ci", "--scope", "read", "--days", "1"]);
    expect(made.code).toBe(0);
    const env = { AIRAVATA_TOKEN: made.out.trim() };
    expect((await airavata(["experiment", "list"], "", env)).code).toBe(0);
    const refused = await airavata(["auth", "token", "create", "more", "--scope", "read"], "", env);
    expect([refused.code, refused.err.includes("scope write")]).toEqual([3, true]);
    const list = await airavata(["auth", "token", "list"]);
    expect([list.out.includes("ci"), list.out.includes(made.out.trim())]).toEqual([true, false]);
    expect((await airavata(["auth", "token", "revoke", "ci"])).code).toBe(0);
    expect((await airavata(["experiment", "list"], "", env)).code).toBe(3);
    expect((await airavata(["auth", "token", "revoke", "ci"])).code).toBe(4);
  });

  it("registers, changes the password, and the old one no longer lets in", async () => {
    expect((await airavata(["auth", "register", "carol", "--full-name", "Carol C."], PASSWORD)).code).toBe(0);
    expect((await login("carol")).code).toBe(0);
    for (const [name, text] of [
      ["old", PASSWORD],
      ["new", "another horse entirely"],
    ] as const)
      writeFileSync(join(folder, name), text);
    expect((await airavata(["auth", "password", "--password-file", "old", "--new-password-file", "new"])).code).toBe(0);
    expect((await airavata(["auth", "status"])).code).toBe(0);
    expect((await login("carol")).code).toBe(3);
    expect((await login("carol", "another horse entirely")).code).toBe(0);
  });
});

describe("auth login --issuer", () => {
  it("signs in by the issuer's device flow, renews there, and takes no other issuer", async () => {
    await using issuer = await startIssuer();
    const provider = createOidcIdentityProvider({ issuer: issuer.url, audience: "airavata", clock: { now: Date.now } });
    const offer = { issuer: issuer.url, clientId: "airavata-cli", scope: "openid", audience: "airavata" };
    const known = createAccounts({
      ...{ store: createMemoryAccountStore(), clock: { now: Date.now }, random: { bytes: (n: number) => randomBytes(n) } },
      ...{ tokenKey: new Uint8Array(32), issuer: { provider, makesAccounts: true } },
    });
    const fake = createFakeHttp({ signIn: { registration: "closed", issuer: offer } });
    const app = createHttpApp({ ...fake.deps, accounts: known });
    await using other = createFunctionsHost({
      http: { handler: createLambdaHandler(app), host: "127.0.0.1", port: 0 },
      ...{ clock: createSystemClock(), logger },
    });
    const env = { AIRAVATA_SERVER: (await other.start()).url ?? "" };
    issuer.confirmed = false;
    const signingIn = airavata(["auth", "login", "--issuer"], "", env);
    await vi.waitUntil(() => issuer.grants.length > 0, { timeout: 30_000 });
    issuer.confirmed = true;
    const done = await signingIn;
    expect([done.code, done.err.includes("WDJB-MJHT"), done.out.includes("as ada")]).toEqual([0, true, true]);
    changeContext({ expiresAtMs: 1 });
    expect((await airavata(["auth", "status"], "", env)).code).toBe(0);
    expect(issuer.grants.at(-1)).toBe("refresh_token");
    expect((await airavata(["auth", "login", "--issuer", "https://id.example.org"], "", env)).code).toBe(5);
    expect((await airavata(["auth", "login", "--issuer"])).code).toBe(5);
    expect((await airavata(["auth", "logout"], "", env)).code).toBe(0);
    expect(existsSync(contextFile())).toBe(false);
  });
});

describe("user", () => {
  it("is for administrators: list, create, disable, enable, password", async () => {
    await login("alice");
    expect((await airavata(["user", "list"])).code).toBe(3);
    await login("admin");
    expect((await airavata(["user", "create", "dave", "--email", "d@example.org"], PASSWORD)).code).toBe(0);
    expect((await airavata(["user", "list"])).out).toMatch(/admin.*alice.*dave/s);
    expect((await airavata(["user", "disable", "dave"])).out).toContain("disabled");
    await expect(accounts.login("dave", PASSWORD)).rejects.toMatchObject({ kind: "unauthenticated" });
    expect((await airavata(["user", "enable", "dave"])).out).toContain("enabled");
    expect((await airavata(["user", "password", "dave"], "another horse entirely")).code).toBe(0);
    await expect(accounts.login("dave", "another horse entirely")).resolves.toBeDefined();
    expect((await airavata(["user", "disable", "admin"])).code).toBe(5);
    expect((await airavata(["user", "disable", "nobody"])).code).toBe(4);
  });
});
