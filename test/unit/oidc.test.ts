/** Tokens of an OpenID Connect issuer: which are taken, and whose accounts they are. */
import { randomBytes } from "node:crypto";
import { exportSPKI } from "jose";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createMemoryAccountStore } from "#adapters/memory/account-store.ts";
import { createOidcIdentityProvider } from "#adapters/oidc/identity-provider.ts";
import { type Accounts, createAccounts } from "#core/accounts/index.ts";
import { type Issuer, startIssuer } from "../support/issuer.ts";

const refused = { name: "SchedulerError", kind: "unauthenticated" };

let now: number;
let issuer: Issuer;
let accounts: Accounts;

const open = (makesAccounts = true) => {
  const clock = { now: () => now };
  const provider = createOidcIdentityProvider({ issuer: issuer.url, audience: "airavata", clock });
  return createAccounts({
    ...{ store: createMemoryAccountStore(), clock, random: { bytes: (n: number) => randomBytes(n) }, tokenKey: new Uint8Array(32).fill(7) },
    passwordCost: { memoryKib: 64, passes: 1, lanes: 1 },
    issuer: { provider, makesAccounts },
  });
};

beforeEach(async () => {
  now = 1_800_000_000_000;
  issuer = await startIssuer(() => now);
  accounts = open();
});
afterEach(() => issuer[Symbol.asyncDispose]());

describe("a token of the issuer", () => {
  it("makes an account at its first request, and is that account's from then on", async () => {
    const first = await accounts.authenticate(await issuer.sign({ name: "Ada L.", email: "ada@example.org" }));
    expect(first).toMatchObject({ user: { name: "ada", profile: { fullName: "Ada L." } }, scopes: ["admin"], by: { kind: "issuer" } });
    const again = await accounts.authenticate(await issuer.sign({ preferred_username: "renamed" }));
    expect(again.user.id).toBe(first.user.id);
    const other = await accounts.authenticate(await issuer.sign({ sub: "ada-2" }));
    expect([other.user.id === first.user.id, other.user.name]).toEqual([false, "ada-2"]);
  });

  it("makes one account when ten requests are the first at once", async () => {
    const token = await issuer.sign();
    const all = await Promise.all(Array.from({ length: 10 }, () => accounts.authenticate(token)));
    expect(new Set(all.map((caller) => caller.user.id)).size).toBe(1);
    expect((await accounts.list({ limit: 10 })).items).toHaveLength(1);
  });

  it("is no way into an account of the same name, nor in by a password", async () => {
    const admin = await accounts.createUser("admin", "correct horse battery");
    const { user } = await accounts.authenticate(await issuer.sign({ preferred_username: "admin" }));
    expect([user.id === admin.id, user.name]).toEqual([false, "admin-2"]);
    await expect(accounts.login("admin-2", "")).rejects.toMatchObject(refused);
  });

  it.each([
    ["ADA LOVELACE", "adalovelace"],
    ["é!", "e"],
    ["../../x", "x"],
    ["", "user"],
    ["123", "user"],
    ["x".repeat(500), "x".repeat(50)],
  ])("named %j becomes a name that is allowed here", async (given, name) => {
    expect((await accounts.authenticate(await issuer.sign({ preferred_username: given }))).user.name).toBe(name);
  });

  it("of a disabled account is refused from the next request on", async () => {
    const token = await issuer.sign();
    const { user } = await accounts.authenticate(token);
    await accounts.setDisabled(user.id, true);
    await expect(accounts.authenticate(token)).rejects.toMatchObject(refused);
  });

  it("of somebody new is refused where accounts are not made", async () => {
    await expect(open(false).authenticate(await issuer.sign())).rejects.toMatchObject(refused);
  });

  it("is taken with clocks 30 s apart, and not beyond", async () => {
    const token = await issuer.sign();
    now += 329_000;
    await expect(accounts.authenticate(token)).resolves.toBeDefined();
    now += 1_000;
    await expect(accounts.authenticate(token)).rejects.toMatchObject(refused);
    await expect(accounts.authenticate(await issuer.sign({ nbf: now / 1000 + 29 }))).resolves.toBeDefined();
    await expect(accounts.authenticate(await issuer.sign({ nbf: now / 1000 + 31 }))).rejects.toMatchObject(refused);
  });

  it("that is for others, of others, not signed by it, or signed in a way that proves nothing, is refused", async () => {
    const good = await issuer.sign();
    const [head, body, signature] = good.split(".");
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const shared = new TextEncoder().encode(await exportSPKI(issuer.publicKey));
    const wrong = [
      await issuer.sign({ aud: "another" }),
      await issuer.sign({ iss: "https://id.example.org" }),
      await issuer.sign({ exp: undefined }),
      await issuer.sign({ sub: undefined }),
      await issuer.sign({}, { key: issuer.strangersKey }),
      await issuer.sign({}, { kid: "unknown" }),
      await issuer.sign({}, { alg: "HS256", key: shared }),
      `${encode({ alg: "none" })}.${body}.`,
      `${encode({ alg: "none" })}.${body}.${signature}`,
      `${head}.${encode({ iss: issuer.url, aud: "airavata", sub: "root", exp: now })}.${signature}`,
      `${good}x`,
      "a.b.c",
      "x".repeat(100_000),
    ];
    for (const token of wrong) await expect(accounts.authenticate(token)).rejects.toMatchObject(refused);
    await expect(accounts.authenticate(good)).resolves.toBeDefined();
  });

  it("can't be judged while the issuer's keys can't be had: unavailable, and well again afterwards", async () => {
    issuer.down = true;
    const token = await issuer.sign();
    await expect(accounts.authenticate(token)).rejects.toMatchObject({ kind: "unavailable" });
    issuer.down = false;
    await expect(accounts.authenticate(token)).resolves.toBeDefined();
  });
});
