/** AccountStore in memory. */
import { SchedulerError } from "#domain/error.ts";
import type { AccountStore, UserRecord } from "#ports/account-store.ts";

export function createMemoryAccountStore(): AccountStore {
  const users = new Map<string, UserRecord>();
  const copy = (user: UserRecord | undefined) => (user === undefined ? undefined : { ...user });
  return {
    createUser: async (user) => {
      if ([...users.values()].some((u) => u.name === user.name)) return false;
      if (users.has(user.id)) throw new SchedulerError("conflict", "a user with this id exists under another name");
      users.set(user.id, { ...user });
      return true;
    },
    readUser: async (id) => copy(users.get(id)),
    findUser: async (name) => copy([...users.values()].find((u) => u.name === name)),
  };
}
