/** AccountStore on DynamoDB: the name is an item of its own, put in the same transaction, so that it is unique. */
import { SchedulerError } from "#domain/error.ts";
import type { UserId } from "#domain/id.ts";
import type { AccountStore, UserRecord } from "#ports/account-store.ts";
import type { DynamoTable } from "./client.ts";
import { type Item, keyItem, number, numberOf, text, textOf } from "./codec.ts";
import * as when from "./conditions.ts";
import { userKey, userNameKey } from "./keys.ts";

export function createDynamoAccountStore(table: DynamoTable): AccountStore {
  const readUser = async (id: UserId): Promise<UserRecord | undefined> => {
    const item = await table.get(userKey(id));
    return item === undefined ? undefined : userFrom(item);
  };
  const ownerOf = async (name: string): Promise<UserId | undefined> => {
    const item = await table.get(userNameKey(name));
    return item === undefined ? undefined : (textOf(item, "id") as UserId);
  };
  return {
    createUser: async (user) => {
      const outcome = await table.transact([
        { by: "set", index: 0, kind: "put", item: { ...keyItem(userNameKey(user.name)), id: text(user.id) }, condition: when.absent },
        { by: "set", index: 1, kind: "put", item: userItem(user), condition: when.absent },
      ]);
      if (outcome.kind === "done") return true;
      if (outcome.kind === "refused" && outcome.index === 0) return false;
      if (outcome.kind === "refused") throw new SchedulerError("conflict", "a user with this id exists under another name");
      const owner = await ownerOf(user.name); // G2: the name item decides.
      if (owner === undefined) throw new SchedulerError("outcome-unknown", "the user may not have been created; try again");
      return owner === user.id;
    },
    readUser,
    findUser: async (name) => {
      const id = await ownerOf(name);
      return id === undefined ? undefined : readUser(id);
    },
  };
}

const userItem = (u: UserRecord): Item => ({
  ...keyItem(userKey(u.id)),
  name: text(u.name),
  password: text(u.passwordHash),
  disabled: { BOOL: u.disabled },
  tokensFrom: number(u.tokensValidFromMs),
  at: number(u.createdAtMs),
});

const userFrom = (item: Item): UserRecord => ({
  id: textOf(item, "pk").slice("U#".length) as UserId,
  name: textOf(item, "name"),
  passwordHash: textOf(item, "password"),
  disabled: item.disabled?.BOOL === true,
  tokensValidFromMs: numberOf(item, "tokensFrom"),
  createdAtMs: numberOf(item, "at"),
});
