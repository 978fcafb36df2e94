/** The real accounts room in memory, with users whose passwords are known; the one named `admin` administers. */
import { randomBytes } from "node:crypto";
import { createMemoryAccountStore } from "../../shared/adapters/memory/account-store.ts";
import { createMemoryAuthorization } from "../../shared/adapters/memory/authorization.ts";
import { type Accounts, createAccounts } from "../../shared/core/accounts/index.ts";
import type { AccountStore } from "../../shared/ports/account-store.ts";
import type { Authorization } from "../../shared/ports/authorization.ts";

export const DEPLOYMENT = { type: "deployment", id: "main" } as const;

interface RealAccounts {
  readonly accounts: Accounts;
  readonly store: AccountStore;
  readonly authorization: Authorization;
}

export async function realAccounts(
  names: readonly string[],
  password: string,
  authorization: Authorization = createMemoryAuthorization(),
  clock: { now(): number } = { now: () => Date.now() },
): Promise<RealAccounts> {
  const store = createMemoryAccountStore();
  const passwordCost = { memoryKib: 64, passes: 1, lanes: 1 };
  const accounts = createAccounts({ store, clock, random: { bytes: (n) => randomBytes(n) }, tokenKey: randomBytes(32), passwordCost });
  for (const name of names) {
    const { id } = await accounts.createUser(name, password);
    if (name === "admin") await authorization.write([{ object: DEPLOYMENT, relation: "admin", subject: { type: "user", id } }]);
  }
  return { accounts, store, authorization };
}
