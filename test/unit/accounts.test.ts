import { createHmac, generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { jwtVerify, SignJWT } from "jose";
import { beforeEach, describe, expect, test } from "vitest";
import { createMemoryAccountStore } from "#adapters/memory/account-store.ts";
import { type Accounts, createAccounts } from "#core/accounts/index.ts";
import { hashPassword, PASSWORD_COST, verifyPassword } from "#core/accounts/password.ts";
import type { SchedulerError } from "#domain/error.ts";
import type { AccountStore, UserRecord } from "#ports/account-store.ts";

const CHEAP = { memoryKib: 64, passes: 1, lanes: 1 };
const KEY = new Uint8Array(32).fill(7);
const PASSWORD = "correct horse battery";
const refused = { name: "SchedulerError", kind: "unauthenticated" };

let now: number;
let store: AccountStore;
/** As somebody else would, at once. */
const change = async (user: UserRecord, changes: Partial<UserRecord>) => {
  const now = (await store.readUser(user.id)) as UserRecord;
  expect(await store.updateUser({ ...now, ...changes, version: now.version + 1 })).toBe(true);
};
let accounts: Accounts;
const make = (tokenKey: Uint8Array = KEY) =>
  createAccounts({
    store,
    clock: { now: () => now },
    random: { bytes: (n) => randomBytes(n) },
    tokenKey,
    accessLifetimeMs: 60_000,
    passwordCost: CHEAP,
  });

beforeEach(() => {
  now = 1_800_000_000_123;
  store = createMemoryAccountStore();
  accounts = make();
});

describe("accounts", () => {
  test("a user signs in with the password and is known by the token", async () => {
    const user = await accounts.createUser("ada", PASSWORD);
    const login = await accounts.login("ada", PASSWORD);
    expect(login).toMatchObject({ user, expiresAtMs: now + 60_000 });
    expect(await accounts.authenticate(login.token)).toMatchObject({ user, scopes: ["admin"], by: { kind: "session" } });
    expect(user.passwordHash).toMatch(/^\$argon2id\$v=19\$m=64,t=1,p=1\$[^$]+\$[^$]+$/);
  });

  test("a name is taken once", async () => {
    await accounts.createUser("ada", PASSWORD);
    await expect(accounts.createUser("ada", PASSWORD)).rejects.toMatchObject({ kind: "conflict" });
  });

  test.each(["", "Ada", "1ada", "a da", "a".repeat(64), "ada\n"])("the name %j is refused", async (name) => {
    await expect(accounts.createUser(name, PASSWORD)).rejects.toMatchObject({ kind: "invalid-input", complaints: [{ path: "name" }] });
  });

  test.each(["short", "a".repeat(300), "abababababab", "ada.lovelace"])("the password %j is refused", async (password) => {
    await expect(accounts.createUser("ada.lovelace", password)).rejects.toMatchObject({
      kind: "invalid-input",
      complaints: [{ path: "password" }],
    });
  });

  test("a wrong password, an unknown name and a disabled account are refused alike", async () => {
    const user = await accounts.createUser("ada", PASSWORD);
    const refusal = async (name: string, password: string) =>
      accounts.login(name, password).then(
        () => "let in",
        (e: SchedulerError) => `${e.kind}: ${e.message}`,
      );
    const first = await refusal("ada", "wrong horse battery");
    expect(first).toMatch(/^unauthenticated/);
    expect(await refusal("nobody", PASSWORD)).toBe(first);
    expect(await refusal("NOT A NAME", PASSWORD)).toBe(first);
    expect(await refusal("ada", PASSWORD + "x".repeat(100_000))).toBe(first);
    await change(user, { disabled: true });
    expect(await refusal("ada", PASSWORD)).toBe(first);
  });

  test("an unknown name costs as much as a known one", async () => {
    const slow = createAccounts({
      store,
      clock: { now: () => now },
      random: { bytes: (n) => randomBytes(n) },
      tokenKey: KEY,
    });
    await slow.createUser("ada", PASSWORD);
    const cpuOf = async (name: string) => {
      await slow.login(name, "wrong horse battery").catch(() => {});
      const before = process.cpuUsage();
      for (let i = 0; i < 5; i++) await slow.login(name, "wrong horse battery").catch(() => {});
      const used = process.cpuUsage(before);
      return used.user + used.system;
    };
    const ratio = (await cpuOf("nobody")) / (await cpuOf("ada"));
    expect(ratio).toBeGreaterThan(0.5);
    expect(ratio).toBeLessThan(2);
  });

  test("a password typed in another normal form is the same password", async () => {
    await accounts.createUser("ada", "café au lait");
    await expect(accounts.login("ada", "cafe\u0301 au lait")).resolves.toBeDefined();
  });

  test("too many sign-ins at once are turned away, not queued without end", async () => {
    await accounts.createUser("ada", PASSWORD);
    const all = await Promise.allSettled(Array.from({ length: 200 }, () => accounts.login("ada", PASSWORD)));
    const turnedAway = all.filter((r) => r.status === "rejected");
    expect(turnedAway.length).toBe(200 - 66);
    expect(turnedAway.every((r) => (r.reason as SchedulerError).kind === "unavailable")).toBe(true);
    await expect(accounts.login("ada", PASSWORD)).resolves.toBeDefined();
  });

  test("a damaged stored hash is said to be damaged", async () => {
    const user = await accounts.createUser("ada", PASSWORD);
    for (const passwordHash of [
      "",
      "plain",
      "$argon2id$v=19$m=4000000,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2g",
      "$argon2id$v=19$m=64,t=0,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2g",
    ]) {
      await change(user, { passwordHash });
      await expect(accounts.login("ada", PASSWORD)).rejects.toMatchObject({ kind: "integrity" });
    }
  });
});

describe("access tokens", () => {
  const encode = (value: unknown) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
  let user: UserRecord;
  let token: string;
  beforeEach(async () => {
    user = await accounts.createUser("ada", PASSWORD);
    token = (await accounts.login("ada", PASSWORD)).token;
  });

  test("a token is good to its last millisecond and not beyond", async () => {
    now += 59_999;
    await expect(accounts.authenticate(token)).resolves.toMatchObject({ user });
    now += 1;
    await expect(accounts.authenticate(token)).rejects.toMatchObject(refused);
  });

  test("a token of a disabled user, of a session that is over or of another era is refused", async () => {
    await change(user, { era: 1 });
    await expect(accounts.authenticate(token)).rejects.toMatchObject(refused);
    const second = await accounts.login("ada", PASSWORD);
    await expect(accounts.authenticate(second.token)).resolves.toMatchObject({ user: { id: user.id } });
    await change(user, { disabled: true });
    await expect(accounts.authenticate(second.token)).rejects.toMatchObject(refused);
    await change(user, { disabled: false });
    await accounts.logout(await accounts.authenticate(second.token));
    await expect(accounts.authenticate(second.token)).rejects.toMatchObject(refused);
  });

  test("a clock that ran backwards still hands out tokens that work", async () => {
    now -= 3_600_000;
    const login = await accounts.login("ada", PASSWORD);
    await expect(accounts.authenticate(login.token)).resolves.toMatchObject({ user });
  });

  test("a token of another key is refused", async () => {
    await expect(make(new Uint8Array(32).fill(8)).authenticate(token)).rejects.toMatchObject(refused);
  });

  test("every change of a single character is refused", async () => {
    for (let i = 0; i < token.length; i++) {
      const forged = token.slice(0, i) + (token[i] === "A" ? "B" : "A") + token.slice(i + 1);
      await expect(accounts.authenticate(forged)).rejects.toMatchObject(refused);
    }
  });

  test("alg none, other algorithms, other headers and rubbish are refused", async () => {
    const [header = "", body = "", signature = ""] = token.split(".");
    const hs256 = (head: string, text: string) =>
      `${head}.${text}.${createHmac("sha256", KEY).update(`${head}.${text}`).digest("base64url")}`;
    const none = encode({ alg: "none", typ: "JWT" });
    const eddsa = encode({ alg: "EdDSA", typ: "JWT" });
    const { privateKey } = generateKeyPairSync("ed25519");
    const claims = JSON.parse(Buffer.from(body, "base64url").toString()) as object;
    const forged = [
      "",
      ".",
      "..",
      "a.b.c",
      `${none}.${body}.`,
      `${none}.${body}.${signature}`,
      hs256(none, body),
      hs256(encode({ typ: "JWT", alg: "HS256" }), body),
      `${eddsa}.${body}.${sign(null, Buffer.from(`${eddsa}.${body}`), privateKey).toString("base64url")}`,
      `${header}.${body}.`,
      `${header}.${body}.${signature}.${signature}`,
      `${header}.${body}.${signature}=`,
      hs256(header, encode({ ...claims, aud: "registration" })),
      hs256(header, encode({ ...claims, iss: "another" })),
      hs256(header, encode({ ...claims, sub: "root" })),
      hs256(header, encode({ ...claims, sid: undefined })),
      hs256(header, encode({ ...claims, exp: "9999999999" })),
      hs256(header, encode({ ...claims, exp: undefined })),
      "x".repeat(1_000_000),
    ];
    for (const text of forged) await expect(accounts.authenticate(text)).rejects.toMatchObject(refused);
    await expect(accounts.authenticate(hs256(header, encode(claims)))).resolves.toMatchObject({ user });
  });

  test("another implementation of JWT accepts our tokens and we accept its", async () => {
    const { payload } = await jwtVerify(token, KEY, { algorithms: ["HS256"], currentDate: new Date(now) });
    expect(payload).toMatchObject({ sub: user.id, iss: "airavata-scheduler", aud: "access" });
    const theirs = await new SignJWT({ ...payload }).setProtectedHeader({ alg: "HS256", typ: "JWT" }).sign(KEY);
    await expect(accounts.authenticate(theirs)).resolves.toMatchObject({ user });
  });

  test("a key that is too short is our own mistake", () => {
    expect(() => make(new Uint8Array(31))).toThrow(/assertion failed/);
  });
});

test("hashes of another argon2 are understood", async () => {
  // A vector of the reference implementation's own tests (github.com/P-H-C/phc-winner-argon2, src/test.c).
  const reference = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
  expect(await verifyPassword("password", reference)).toBe(true);
  expect(await verifyPassword("passwore", reference)).toBe(false);
  const own = await hashPassword(PASSWORD, randomBytes(16), PASSWORD_COST);
  expect(await verifyPassword(PASSWORD, own)).toBe(true);
});
