import { assert, type Complaint, SchedulerError } from "#domain/error.ts";
import { ID_RANDOM_BYTES, makeId } from "#domain/id.ts";
import type { AccountStore, UserRecord } from "#ports/account-store.ts";
import type { Clock } from "#ports/clock.ts";
import type { Random } from "#ports/random.ts";
import { readAccessToken, signAccessToken, TOKEN_KEY_BYTES_MIN } from "./access-token.ts";
import type { Accounts } from "./index.ts";
import {
  complainAboutPassword,
  hashPassword,
  PASSWORD_CHARS_MAX,
  PASSWORD_COST,
  type PasswordCost,
  SALT_BYTES,
  verifyPassword,
} from "./password.ts";

interface AccountsDeps {
  readonly store: AccountStore;
  readonly clock: Clock;
  readonly random: Random;
  /** At least 32 secret bytes, the same in every process. */
  readonly tokenKey: Uint8Array;
  readonly tokenLifetimeMs?: number;
  readonly passwordCost?: PasswordCost;
}

const TOKEN_LIFETIME_MS = 12 * 3_600_000;
/** Each hash takes 19 MiB and a thread of Node's pool: more at once gain nothing and starve file access. */
const HASHES_AT_ONCE_MAX = 2;
const HASHES_WAITING_MAX = 64;
const USER_NAME = /^[a-z][a-z0-9._-]{0,62}$/;

export function createAccounts(deps: AccountsDeps): Accounts {
  const { store, clock, random, tokenKey } = deps;
  const cost = deps.passwordCost ?? PASSWORD_COST;
  const lifetimeMs = deps.tokenLifetimeMs ?? TOKEN_LIFETIME_MS;
  assert(tokenKey.length >= TOKEN_KEY_BYTES_MIN, `the token key has at least ${TOKEN_KEY_BYTES_MIN} bytes`);
  const limited = limit(HASHES_AT_ONCE_MAX, HASHES_WAITING_MAX);
  let decoy: Promise<string> | undefined;

  /** What an unknown name's password is compared with, so that it takes as long as a known one's. */
  const decoyHash = (): Promise<string> => {
    decoy ??= hashPassword("", random.bytes(SALT_BYTES), cost);
    return decoy;
  };

  return {
    async createUser(name, password) {
      const complaints = complainAboutUser(name, password);
      if (complaints.length > 0) throw new SchedulerError("invalid-input", "the user can't be created as asked", { complaints });
      const now = clock.now();
      const user: UserRecord = {
        id: makeId("user", now, random.bytes(ID_RANDOM_BYTES)),
        name,
        passwordHash: await limited(() => hashPassword(password, random.bytes(SALT_BYTES), cost)),
        disabled: false,
        tokensValidFromMs: now,
        createdAtMs: now,
      };
      if (!(await store.createUser(user)))
        throw new SchedulerError("conflict", `there is a user named ${name} already: choose another name`);
      return user;
    },

    async login(name, password) {
      const user = USER_NAME.test(name) ? await store.findUser(name) : undefined;
      // A longer password can't be right; the work is done all the same, on a part of it.
      const fits = password.length <= 2 * PASSWORD_CHARS_MAX;
      const stored = user?.passwordHash ?? (await decoyHash());
      const isRight = await limited(() => verifyPassword(fits ? password : password.slice(0, PASSWORD_CHARS_MAX), stored));
      if (user === undefined || !fits || !isRight || user.disabled) {
        throw new SchedulerError("unauthenticated", "the name or the password is wrong, or the account is disabled");
      }
      // A clock that ran backwards must not hand out a token that is refused at once.
      const issuedAtMs = Math.max(clock.now(), user.tokensValidFromMs);
      const expiresAtMs = issuedAtMs + lifetimeMs;
      return { token: signAccessToken({ user: user.id, issuedAtMs, expiresAtMs }, tokenKey), expiresAtMs, user };
    },

    async authenticate(text) {
      const token = readAccessToken(text, tokenKey);
      if (token === undefined || token.expiresAtMs <= clock.now()) throw notSignedIn();
      const user = await store.readUser(token.user);
      if (user === undefined || user.disabled || token.issuedAtMs < user.tokensValidFromMs) throw notSignedIn();
      return user;
    },
  };
}

/** One refusal for every reason: which one it was helps only an attacker. */
const notSignedIn = (): SchedulerError =>
  new SchedulerError("unauthenticated", "the access token is not valid or has expired: sign in again");

function complainAboutUser(name: string, password: string): Complaint[] {
  const complaints: Complaint[] = [];
  if (!USER_NAME.test(name)) {
    complaints.push({
      path: "name",
      message: "must start with a letter and have 1 to 63 lower case letters, digits, dots, underscores or hyphens",
    });
  }
  const complaint = complainAboutPassword(password, name);
  if (complaint !== undefined) complaints.push({ path: "password", message: complaint });
  return complaints;
}

/** Runs at most `atOnce` at a time; refuses when more than `waiting` wait. */
function limit(atOnce: number, waiting: number): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0;
  const queue: (() => void)[] = [];
  return async (work) => {
    if (running >= atOnce) {
      if (queue.length >= waiting) throw new SchedulerError("unavailable", "too many sign-ins at this moment: try again in a few seconds");
      await new Promise<void>((resolve) => queue.push(resolve)); // the place is handed over, `running` stays
    } else {
      running++;
    }
    try {
      return await work();
    } finally {
      const next = queue.shift();
      if (next === undefined) running--;
      else next();
    }
  };
}
