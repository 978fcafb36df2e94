/**
 * Accounts: who users are. Names and passwords become access tokens, access tokens become users.
 *
 * - A refusal never tells whether the name, the password or the account was the reason, nor does its time.
 * - A token is accepted only when we signed it, it has not expired, its user exists and is not disabled, and it was not
 *   issued before `tokensValidFromMs` (how all tokens of a user are revoked at once).
 * - Passwords and tokens are kept nowhere and put in no message (C1).
 *
 * Imports #domain, #ports and node:crypto (argon2, HMAC, constant-time comparison), nothing else.
 */
import type { UserRecord } from "#ports/account-store.ts";

export { createAccounts } from "./accounts.ts";

export interface Login {
  readonly token: string;
  readonly expiresAtMs: number;
  readonly user: UserRecord;
}

export interface Accounts {
  /** Errors: `invalid-input` with complaints, `conflict` (the name is taken), `unavailable`. */
  createUser(name: string, password: string): Promise<UserRecord>;
  /** Errors: `unauthenticated`, `unavailable` (too many at once, or the store). */
  login(name: string, password: string): Promise<Login>;
  /** Errors: `unauthenticated`, `unavailable` (the store). */
  authenticate(token: string): Promise<UserRecord>;
}
