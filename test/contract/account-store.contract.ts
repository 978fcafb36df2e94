/** What every AccountStore must do. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AccountStore, UserRecord } from "#ports/account-store.ts";
import type { Subject } from "../support/subject.ts";
import { NOW_MS, userId } from "../support/state.ts";

const aUser = (n: number, over: Partial<UserRecord> = {}): UserRecord => ({
  id: userId(n),
  name: `user-${n}`,
  passwordHash: "$argon2id$v=19$m=65536,t=3,p=1$c2FsdA$aGFzaA",
  disabled: false,
  tokensValidFromMs: NOW_MS - 1,
  createdAtMs: NOW_MS,
  ...over,
});

export function describeAccountStore(name: string, make: () => Promise<Subject<AccountStore>>): void {
  describe(`AccountStore: ${name}`, () => {
    let made: Subject<AccountStore>;
    let accounts: AccountStore;
    beforeEach(async () => {
      made = await make();
      accounts = made.subject;
    });
    afterEach(() => made[Symbol.asyncDispose]());

    it("finds a user by id and by name", async () => {
      expect(await accounts.createUser(aUser(1, { disabled: true }))).toBe(true);
      expect(await accounts.createUser(aUser(2))).toBe(true);
      expect(await accounts.readUser(userId(1))).toEqual(aUser(1, { disabled: true }));
      expect(await accounts.findUser("user-2")).toEqual(aUser(2));
      expect(await accounts.readUser(userId(3))).toBeUndefined();
      expect(await accounts.findUser("user-3")).toBeUndefined();
    });

    it("gives a name to one user only and changes nothing for the other", async () => {
      await accounts.createUser(aUser(1, { name: "ada" }));
      expect(await accounts.createUser(aUser(2, { name: "ada" }))).toBe(false);
      expect(await accounts.readUser(userId(2))).toBeUndefined();
      expect(await accounts.findUser("ada")).toEqual(aUser(1, { name: "ada" }));
    });

    it("gives a name to one of eight that want it at once", async () => {
      const taken = await Promise.all(Array.from({ length: 8 }, (_, i) => accounts.createUser(aUser(i, { name: "ada" }))));
      expect(taken.filter(Boolean)).toHaveLength(1);
      expect((await accounts.findUser("ada"))?.id).toBe(userId(taken.indexOf(true)));
    });

    it("does not give a user a second name", async () => {
      await accounts.createUser(aUser(1));
      await expect(accounts.createUser(aUser(1, { name: "other" }))).rejects.toMatchObject({ kind: "conflict" });
      expect(await accounts.findUser("other")).toBeUndefined();
    });
  });
}
