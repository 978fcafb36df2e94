/**
 * AccountStore: users, their sign-ins (sessions), API tokens and identities elsewhere.
 *
 * Law. Reads are strongly consistent: what was written before a read began is seen by it, so that nothing that was revoked is
 * accepted by the next request. Writes are conditional on what they were computed from; a write that may or may not have been
 * applied throws `outcome-unknown`, and may be repeated.
 */
import type { Scope } from "#domain/account.ts";
import type { SessionId, TokenId, UserId } from "#domain/id.ts";

/** A user as an issuer of tokens knows it. */
export interface Identity {
  readonly issuer: string;
  readonly subject: string;
}

export interface Profile {
  readonly fullName?: string;
  readonly email?: string;
}

export interface UserRecord {
  readonly id: UserId;
  /** `USER_NAME` of the domain; unique. */
  readonly name: string;
  /** `$argon2id$v=19$m=…,t=…,p=…$salt$hash`. Absent: the user signs in elsewhere. */
  readonly passwordHash?: string;
  readonly disabled: boolean;
  /** Raised by what ends all sessions at once: one that was begun under another era is over, but for {@link UserRecord.kept}. */
  readonly era: number;
  /** The session that outlived the last change of era: the one that asked for it. */
  readonly kept?: SessionId;
  /** Who signs in elsewhere; unique. */
  readonly identity?: Identity;
  readonly profile: Profile;
  readonly createdAtMs: number;
  /** Raised by every change of the record. */
  readonly version: number;
}

/** One sign-in. Its refresh token is the one numbered `generation`; all before it are used up. */
export interface SessionRecord {
  readonly id: SessionId;
  readonly user: UserId;
  readonly era: number;
  readonly generation: number;
  readonly createdAtMs: number;
  /** When the present refresh token was given out. */
  readonly refreshedAtMs: number;
  readonly expiresAtMs: number;
}

export interface TokenRecord {
  readonly id: TokenId;
  readonly user: UserId;
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** SHA-256 of the secret part, hexadecimal. */
  readonly secretHash: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
}

export interface UserPage {
  readonly items: readonly UserRecord[];
  readonly cursor?: string;
}

export interface AccountStore {
  /** Takes its name, and its identity if it has one, and puts the user, each [absent]. `name`, `identity`: that one is taken. */
  createUser(user: UserRecord): Promise<"done" | "name" | "identity">;
  readUser(id: UserId): Promise<UserRecord | undefined>;
  /** In the order of the ids, without those that are absent. */
  readUsers(ids: readonly UserId[]): Promise<readonly UserRecord[]>;
  findUser(name: string): Promise<UserRecord | undefined>;
  findIdentity(identity: Identity): Promise<UserRecord | undefined>;
  /** [version as expected]; `post` has the next one and the same name. `false`: it was changed meanwhile. */
  updateUser(post: UserRecord): Promise<boolean>;
  /**
   * Gives up a user's name and identity for good, in one step with what is left of the record: `post`, without them and under a
   * name that nobody takes. [version as expected] of `before`.
   */
  retireUser(before: UserRecord, post: UserRecord): Promise<boolean>;
  /** By name. */
  listUsers(options: { readonly limit: number; readonly cursor?: string }): Promise<UserPage>;

  /** [absent, and the user's era is still the session's]. `false`: the user was changed meanwhile. */
  createSession(session: SessionRecord): Promise<boolean>;
  /** The user and the session in one read. */
  readSession(user: UserId, session: SessionId): Promise<{ readonly user?: UserRecord; readonly session?: SessionRecord }>;
  /** [generation is one less than that of `post`]. */
  refreshSession(post: SessionRecord): Promise<boolean>;
  listSessions(user: UserId): Promise<readonly SessionRecord[]>;
  /** Deleting one that is not there is a no-op. */
  deleteSession(user: UserId, session: SessionId): Promise<void>;

  /** [absent]. */
  createToken(token: TokenRecord): Promise<void>;
  /** The user and the token in one read. */
  readToken(user: UserId, token: TokenId): Promise<{ readonly user?: UserRecord; readonly token?: TokenRecord }>;
  listTokens(user: UserId): Promise<readonly TokenRecord[]>;
  deleteToken(user: UserId, token: TokenId): Promise<void>;
}
