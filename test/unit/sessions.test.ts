/** Sign-ins, their refresh tokens, API tokens, passwords: what is over is refused at once. */
import { randomBytes } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import { createMemoryAccountStore } from "#adapters/memory/account-store.ts";
import { type Accounts, createAccounts, type Login } from "#core/accounts/index.ts";
import { REFRESH_AGAIN_MS, SESSION_IDLE_MS, SESSION_LIFETIME_MS } from "#core/accounts/limits.ts";
import { parseId } from "#domain/id.ts";
import type { AccountStore, UserRecord } from "#ports/account-store.ts";

const PASSWORD = "correct horse battery";
const DAY_MS = 86_400_000;
const refused = { name: "SchedulerError", kind: "unauthenticated" };

let now: number;
let store: AccountStore;
let accounts: Accounts;
let ada: UserRecord;
let first: Login;

beforeEach(async () => {
  now = 1_800_000_000_123;
  store = createMemoryAccountStore();
  accounts = createAccounts({
    store,
    clock: { now: () => now },
    random: { bytes: (n) => randomBytes(n) },
    tokenKey: new Uint8Array(32).fill(7),
    passwordCost: { memoryKib: 64, passes: 1, lanes: 1 },
  });
  ada = await accounts.createUser("ada", PASSWORD);
  first = await accounts.login("ada", PASSWORD);
});

const works = (token: string) =>
  accounts.authenticate(token).then(
    () => true,
    () => false,
  );

describe("refresh tokens", () => {
  test("give the next pair, and the access token of before stays good to its end", async () => {
    now += 60_000;
    const second = await accounts.refresh(first.refreshToken);
    expect(second.refreshToken).not.toBe(first.refreshToken);
    expect([await works(first.token), await works(second.token)]).toEqual([true, true]);
    expect(second.expiresAtMs).toBe(now + 3_600_000);
  });

  test("that are used again after the next was given out end the sign-in, for the thief and for the owner", async () => {
    const second = await accounts.refresh(first.refreshToken);
    const other = await accounts.login("ada", PASSWORD);
    now += REFRESH_AGAIN_MS;
    await expect(accounts.refresh(first.refreshToken)).rejects.toMatchObject(refused);
    await expect(accounts.refresh(second.refreshToken)).rejects.toMatchObject(refused);
    expect([await works(first.token), await works(second.token)]).toEqual([false, false]);
    expect(await works(other.token)).toBe(true);
  });

  test("older than the one before end the sign-in however soon they come", async () => {
    const second = await accounts.refresh(first.refreshToken);
    const third = await accounts.refresh(second.refreshToken);
    await expect(accounts.refresh(first.refreshToken)).rejects.toMatchObject(refused);
    expect(await works(third.token)).toBe(false);
  });

  test("give the same again when the answer was lost or two asked at once", async () => {
    const [one, two] = await Promise.all([accounts.refresh(first.refreshToken), accounts.refresh(first.refreshToken)]);
    expect(one.refreshToken).toBe(two.refreshToken);
    now += REFRESH_AGAIN_MS - 1;
    expect((await accounts.refresh(first.refreshToken)).refreshToken).toBe(one.refreshToken);
    await expect(accounts.refresh(one.refreshToken)).resolves.toBeDefined();
  });

  test("end with their session: unused too long, refreshed for too long, logged out, disabled", async () => {
    now += SESSION_IDLE_MS;
    await expect(accounts.refresh(first.refreshToken)).rejects.toMatchObject(refused);
    let last = await accounts.login("ada", PASSWORD);
    const began = now;
    for (; now + DAY_MS * 20 < began + SESSION_LIFETIME_MS; now += DAY_MS * 20) last = await accounts.refresh(last.refreshToken);
    now = began + SESSION_LIFETIME_MS - 1;
    last = await accounts.refresh(last.refreshToken);
    expect([last.refreshExpiresAtMs, last.expiresAtMs]).toEqual([began + SESSION_LIFETIME_MS, began + SESSION_LIFETIME_MS]);
    now += 1;
    await expect(accounts.refresh(last.refreshToken)).rejects.toMatchObject(refused);
    last = await accounts.login("ada", PASSWORD);
    await accounts.logout(await accounts.authenticate(last.token));
    await expect(accounts.refresh(last.refreshToken)).rejects.toMatchObject(refused);
    last = await accounts.login("ada", PASSWORD);
    await accounts.setDisabled(ada.id, true);
    await expect(accounts.refresh(last.refreshToken)).rejects.toMatchObject(refused);
  });

  test("that were forged, changed or are another kind of token are refused and end nothing", async () => {
    const text = first.refreshToken;
    const next = text.replace(/_0_/, "_1_");
    const forged = [next, `${text}0`, text.slice(0, -1), text.replace("art_", "ait_"), first.token, "", "art_", "x".repeat(100_000)];
    for (const token of forged) await expect(accounts.refresh(token)).rejects.toMatchObject(refused);
    for (let i = 0; i < text.length; i += 3)
      await expect(accounts.refresh(text.slice(0, i) + (text[i] === "1" ? "2" : "1") + text.slice(i + 1))).rejects.toMatchObject(refused);
    await expect(accounts.authenticate(text)).rejects.toMatchObject(refused);
    await expect(accounts.refresh(text)).resolves.toBeDefined();
  });

  test("are stored nowhere, nor is anything that one could be made of", async () => {
    const secret = first.refreshToken.split("_").at(-1) as string;
    expect(JSON.stringify(await store.listSessions(ada.id))).not.toContain(secret);
  });
});

describe("passwords", () => {
  test("that are changed end every other sign-in, not the one that changed it", async () => {
    const other = await accounts.login("ada", PASSWORD);
    const keep = parseId("session", (await accounts.authenticate(first.token)).by.kind === "session" ? idOf(first) : "");
    await accounts.changePassword(ada.id, { current: PASSWORD, next: "another horse entirely", ...(keep === undefined ? {} : { keep }) });
    expect([await works(first.token), await works(other.token)]).toEqual([true, false]);
    await expect(accounts.refresh(other.refreshToken)).rejects.toMatchObject(refused);
    await expect(accounts.refresh(first.refreshToken)).resolves.toBeDefined();
    await expect(accounts.login("ada", PASSWORD)).rejects.toMatchObject(refused);
    await accounts.resetPassword(ada.id, PASSWORD);
    expect(await works(first.token)).toBe(false);
  });

  test("are not changed without the present one, nor to one that is too weak", async () => {
    const change = (current: string, next: string) => accounts.changePassword(ada.id, { current, next });
    await expect(change("wrong horse battery", "another horse entirely")).rejects.toMatchObject({ kind: "forbidden" });
    await expect(change(PASSWORD, "short")).rejects.toMatchObject({ kind: "invalid-input", complaints: [{ path: "next" }] });
    await expect(accounts.login("ada", PASSWORD)).resolves.toBeDefined();
  });

  test("of before let nobody in who was just being checked when they changed", async () => {
    const slow = {
      ...store,
      createSession: async (s: Parameters<AccountStore["createSession"]>[0]) => {
        await accounts.resetPassword(ada.id, "another horse entirely");
        return store.createSession(s);
      },
    };
    const raced = createAccounts({
      store: slow,
      clock: { now: () => now },
      random: { bytes: (n) => randomBytes(n) },
      tokenKey: new Uint8Array(32).fill(7),
      passwordCost: { memoryKib: 64, passes: 1, lanes: 1 },
    });
    await expect(raced.login("ada", PASSWORD)).rejects.toMatchObject({ kind: "unavailable" });
  });
});

const idOf = (login: Login): string => JSON.parse(Buffer.from(login.token.split(".")[1] as string, "base64url").toString()).sid as string;

describe("API tokens", () => {
  const make = (name = "ci", lifetimeMs = DAY_MS) => accounts.createToken(ada.id, { name, scopes: ["submit", "read"], lifetimeMs });

  test("are known by their value until they end, with their scopes", async () => {
    const { token, value } = await make();
    expect(await accounts.authenticate(value)).toMatchObject({ user: { id: ada.id }, scopes: ["read", "submit"], by: { kind: "token" } });
    now = token.expiresAtMs - 1;
    expect(await works(value)).toBe(true);
    now += 1;
    expect(await works(value)).toBe(false);
  });

  test("are refused from the request after their revocation, their user's disabling or their own logout", async () => {
    const [{ token, value }, other] = [await make(), await make("other")];
    await accounts.setDisabled(ada.id, true);
    expect(await works(value)).toBe(false);
    await accounts.setDisabled(ada.id, false);
    expect(await works(value)).toBe(true);
    await accounts.revokeToken(ada.id, token.id);
    expect([await works(value), await works(other.value)]).toEqual([false, true]);
    await accounts.logout(await accounts.authenticate(other.value));
    expect(await works(other.value)).toBe(false);
  });

  test("are kept as a hash only, and every change of their value is refused", async () => {
    const { value } = await make();
    const secret = value.split("_").at(-1) as string;
    expect(JSON.stringify(await store.listTokens(ada.id))).not.toContain(secret);
    for (let i = 0; i < value.length; i++)
      expect(await works(value.slice(0, i) + (value[i] === "1" ? "2" : "1") + value.slice(i + 1))).toBe(false);
  });

  test("are told apart by their names, have an end, and are not without number", async () => {
    await make();
    await expect(make()).rejects.toMatchObject({ kind: "conflict" });
    for (const bad of [{ name: " x" }, { scopes: [] }, { lifetimeMs: 0 }, { lifetimeMs: 400 * DAY_MS }])
      await expect(accounts.createToken(ada.id, { name: "b", scopes: ["read"], lifetimeMs: 1, ...bad })).rejects.toMatchObject({
        kind: "invalid-input",
      });
    for (let i = 1; i < 100; i++) await make(`t${i}`);
    await expect(make("one more")).rejects.toMatchObject({ kind: "conflict" });
  });
});

test("changes made at once are all there afterwards", async () => {
  await Promise.all([
    accounts.editProfile(ada.id, { fullName: "Ada" }),
    accounts.editProfile(ada.id, { email: "a@b.c" }),
    accounts.setDisabled(ada.id, true),
  ]);
  expect(await accounts.find("ada")).toMatchObject({ profile: { fullName: "Ada", email: "a@b.c" }, disabled: true });
  expect((await accounts.editProfile(ada.id, { fullName: "" })).profile).toEqual({ email: "a@b.c" });
});
