/** AccountStore: users and their password hashes. */
import type { UserId } from "#domain/id.ts";

export interface UserRecord {
  readonly id: UserId;
  /** Lower case, `[a-z][a-z0-9._-]{0,62}`; unique. */
  readonly name: string;
  /** `$argon2id$v=19$m=…,t=…,p=…$salt$hash`. */
  readonly passwordHash: string;
  readonly disabled: boolean;
  /** Access tokens issued before are refused. */
  readonly tokensValidFromMs: number;
  readonly createdAtMs: number;
}

export interface AccountStore {
  /** Takes the name and puts the user, both [absent]; `false`: the name is taken. */
  createUser(user: UserRecord): Promise<boolean>;
  readUser(id: UserId): Promise<UserRecord | undefined>;
  findUser(name: string): Promise<UserRecord | undefined>;
}
