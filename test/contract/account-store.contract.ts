/** What every AccountStore must do. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeId } from "#domain/id.ts";
import type { AccountStore, SessionRecord, TokenRecord, UserRecord } from "#ports/account-store.ts";
import type { Subject } from "../support/subject.ts";
import { NOW_MS, userId } from "../support/state.ts";

const aUser = (n: number, over: Partial<UserRecord> = {}): UserRecord => ({
  id: userId(n),
  name: `user-${n}`,
  passwordHash: "$argon2id$v=19$m=65536,t=3,p=1$c2FsdA$aGFzaA",
  disabled: false,
  era: 0,
  profile: {},
  createdAtMs: NOW_MS,
  version: 1,
  ...over,
});
const bytes = (n: number) => new Uint8Array(10).fill(n);
const aSession = (n: number, user: number, over: Partial<SessionRecord> = {}): SessionRecord => ({
  id: makeId("session", NOW_MS, bytes(n)),
  user: userId(user),
  era: 0,
  generation: 0,
  createdAtMs: NOW_MS,
  refreshedAtMs: NOW_MS,
  expiresAtMs: NOW_MS + 86_400_000,
  ...over,
});
const aToken = (n: number, user: number): TokenRecord => ({
  id: makeId("token", NOW_MS, bytes(n)),
  user: userId(user),
  name: `token-${n}`,
  scopes: ["read", "submit"],
  secretHash: "ab".repeat(32),
  createdAtMs: NOW_MS,
  expiresAtMs: NOW_MS + 1,
});
const IDENTITY = { issuer: "https://id.example.org", subject: "ada@example.org" };

export function describeAccountStore(name: string, make: () => Promise<Subject<AccountStore>>): void {
  describe(`AccountStore: ${name}`, () => {
    let made: Subject<AccountStore>;
    let accounts: AccountStore;
    beforeEach(async () => {
      made = await make();
      accounts = made.subject;
    });
    afterEach(() => made[Symbol.asyncDispose]());

    it("finds a user by id, by name and by identity", async () => {
      const full = aUser(1, { disabled: true, profile: { fullName: "Ada L.", email: "ada@example.org" }, identity: IDENTITY });
      expect(await accounts.createUser(full)).toBe("done");
      expect(await accounts.createUser(aUser(2))).toBe("done");
      expect(await accounts.readUser(userId(1))).toEqual(full);
      expect(await accounts.findUser("user-2")).toEqual(aUser(2));
      expect(await accounts.findIdentity(IDENTITY)).toEqual(full);
      expect(await accounts.findIdentity({ ...IDENTITY, subject: "eve" })).toBeUndefined();
      expect(await accounts.readUsers([userId(2), userId(3), userId(1)])).toEqual([aUser(2), full]);
      expect(await accounts.readUser(userId(3))).toBeUndefined();
      expect(await accounts.findUser("user-3")).toBeUndefined();
    });

    it("gives a name to one user only and changes nothing for the other", async () => {
      await accounts.createUser(aUser(1, { name: "ada" }));
      expect(await accounts.createUser(aUser(2, { name: "ada" }))).toBe("name");
      expect(await accounts.readUser(userId(2))).toBeUndefined();
      expect(await accounts.findUser("ada")).toEqual(aUser(1, { name: "ada" }));
    });

    it("gives a name to one of eight that want it at once", async () => {
      const taken = await Promise.all(Array.from({ length: 8 }, (_, i) => accounts.createUser(aUser(i, { name: "ada" }))));
      expect(taken.filter((t) => t === "done")).toHaveLength(1);
      expect((await accounts.findUser("ada"))?.id).toBe(userId(taken.indexOf("done")));
    });

    it("gives an identity to one user only", async () => {
      const taken = await Promise.all([1, 2, 3].map((n) => accounts.createUser(aUser(n, { identity: IDENTITY }))));
      expect([...taken].sort()).toEqual(["done", "identity", "identity"]);
      expect(await accounts.findUser(`user-${taken.indexOf("identity") + 1}`)).toBeUndefined();
    });

    it("does not give a user a second name", async () => {
      await accounts.createUser(aUser(1));
      await expect(accounts.createUser(aUser(1, { name: "other" }))).rejects.toMatchObject({ kind: "conflict" });
      expect(await accounts.findUser("other")).toBeUndefined();
    });

    it("changes a user only as it was read", async () => {
      await accounts.createUser(aUser(1));
      const posts = [1, 2].map((n) => aUser(1, { version: 2, profile: { fullName: `by ${n}` } }));
      const applied = await Promise.all(posts.map((post) => accounts.updateUser(post)));
      expect([...applied].sort()).toEqual([false, true]);
      expect(await accounts.readUser(userId(1))).toEqual(posts[applied.indexOf(true)]);
      expect(await accounts.updateUser(aUser(2, { version: 2 }))).toBe(false);
      expect(await accounts.readUser(userId(2))).toBeUndefined();
    });

    it("lists users by name, page by page", async () => {
      for (const n of [3, 1, 2]) await accounts.createUser(aUser(n));
      const first = await accounts.listUsers({ limit: 2 });
      expect(first.items.map((u) => u.name)).toEqual(["user-1", "user-2"]);
      const second = await accounts.listUsers({ limit: 2, cursor: first.cursor as string });
      expect(second).toEqual({ items: [aUser(3)] });
    });

    it("gives up name and identity of a user who retires, once", async () => {
      const before = aUser(1, { name: "ada", identity: IDENTITY });
      await accounts.createUser(before);
      const { identity: _, passwordHash: __, ...rest } = before;
      const post = { ...rest, name: "deleted-1", disabled: true, version: 2 };
      expect(await accounts.retireUser(before, post)).toBe(true);
      expect(await accounts.retireUser(before, post)).toBe(false);
      expect(await accounts.readUser(userId(1))).toEqual(post);
      expect(await accounts.findIdentity(IDENTITY)).toBeUndefined();
      expect((await accounts.listUsers({ limit: 5 })).items).toEqual([]);
      expect(await accounts.createUser(aUser(2, { name: "ada", identity: IDENTITY }))).toBe("done");
    });

    it("begins a session in the present era of its user only", async () => {
      await accounts.createUser(aUser(1));
      expect(await accounts.createSession(aSession(1, 1))).toBe(true);
      await accounts.updateUser(aUser(1, { version: 2, era: 1, kept: aSession(1, 1).id }));
      expect(await accounts.createSession(aSession(2, 1))).toBe(false);
      expect(await accounts.createSession(aSession(3, 1, { era: 1 }))).toBe(true);
      expect(await accounts.createSession(aSession(4, 2))).toBe(false);
      const read = await accounts.readSession(userId(1), aSession(1, 1).id);
      expect(read).toEqual({ user: aUser(1, { version: 2, era: 1, kept: aSession(1, 1).id }), session: aSession(1, 1) });
      expect((await accounts.listSessions(userId(1))).map((s) => s.id)).toEqual([aSession(1, 1).id, aSession(3, 1).id]);
    });

    it("refreshes a session once for each generation, and never one that is over", async () => {
      await accounts.createUser(aUser(1));
      await accounts.createSession(aSession(1, 1));
      const post = aSession(1, 1, { generation: 1, refreshedAtMs: NOW_MS + 5 });
      const applied = await Promise.all([accounts.refreshSession(post), accounts.refreshSession(post)]);
      expect([...applied].sort()).toEqual([false, true]);
      await accounts.deleteSession(userId(1), post.id);
      await accounts.deleteSession(userId(1), post.id);
      expect(await accounts.refreshSession({ ...post, generation: 2 })).toBe(false);
      expect(await accounts.readSession(userId(1), post.id)).toEqual({ user: aUser(1) });
    });

    it("keeps API tokens for their user", async () => {
      await accounts.createUser(aUser(1));
      await accounts.createToken(aToken(1, 1));
      await accounts.createToken(aToken(2, 1));
      await expect(accounts.createToken(aToken(2, 1))).rejects.toMatchObject({ kind: "conflict" });
      expect(await accounts.readToken(userId(1), aToken(1, 1).id)).toEqual({ user: aUser(1), token: aToken(1, 1) });
      expect(await accounts.readToken(userId(2), aToken(1, 1).id)).toEqual({});
      expect(await accounts.listTokens(userId(1))).toEqual([aToken(1, 1), aToken(2, 1)]);
      await accounts.deleteToken(userId(2), aToken(1, 1).id);
      await accounts.deleteToken(userId(1), aToken(2, 1).id);
      expect(await accounts.listTokens(userId(1))).toEqual([aToken(1, 1)]);
      expect(await accounts.listSessions(userId(1))).toEqual([]);
    });
  });
}
