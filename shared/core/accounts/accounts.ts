import { SCOPES, USER_NAME, USER_NAME_RULE } from "#domain/account.ts";
import { assert, type Complaint, SchedulerError } from "#domain/error.ts";
import { ID_RANDOM_BYTES, makeId, parseId, type UserId } from "#domain/id.ts";
import type { AccountStore, Profile, TokenRecord, UserRecord } from "#ports/account-store.ts";
import type { Clock } from "#ports/clock.ts";
import type { Random } from "#ports/random.ts";
import { looksLikeOurs, readAccessToken, TOKEN_KEY_BYTES_MIN } from "./access-token.ts";
import { isApiToken, isSecretOf, makeApiToken, readApiToken, SECRET_BYTES } from "./api-token.ts";
import { createHashing } from "./hashing.ts";
import type { Accounts, Caller, TokenRequest } from "./index.ts";
import { type IssuerDeps, userOfIssuer } from "./issuer.ts";
import { CHANGES_MAX, TOKEN_LIFETIME_MS_MAX, TOKEN_NAME_CHARACTERS_MAX, TOKENS_MAX } from "./limits.ts";
import { complainAboutPassword, type PasswordCost } from "./password.ts";
import { createSessions, notSignedIn } from "./sessions.ts";

interface AccountsDeps {
  readonly store: AccountStore;
  readonly clock: Pick<Clock, "now">;
  readonly random: Pick<Random, "bytes">;
  /** At least 32 secret bytes, the same in every process. */
  readonly tokenKey: Uint8Array;
  readonly accessLifetimeMs?: number;
  /** Somebody else's tokens that are taken too. */
  readonly issuer?: IssuerDeps | undefined;
  readonly passwordCost?: PasswordCost;
}

const SESSION_SCOPES = ["admin"] as const;

export function createAccounts(deps: AccountsDeps): Accounts {
  const { store, clock, random, tokenKey } = deps;
  assert(tokenKey.length >= TOKEN_KEY_BYTES_MIN, `the token key has at least ${TOKEN_KEY_BYTES_MIN} bytes`);
  const sessions = createSessions(deps);
  const hashing = createHashing(random, deps.passwordCost);
  const change = (id: UserId, to: (user: UserRecord) => UserRecord) => changeUser(store, id, to);

  async function byApiToken(text: string): Promise<Caller> {
    const given = readApiToken(text);
    if (given === undefined) throw notSignedIn();
    const { user, token } = await store.readToken(given.user, given.id);
    if (user === undefined || user.disabled || token === undefined || token.expiresAtMs <= clock.now()) throw notSignedIn();
    if (!isSecretOf(given.secret, token.secretHash)) throw notSignedIn();
    return { user, scopes: token.scopes, by: { kind: "token", id: token.id } };
  }

  async function byIssuer(text: string): Promise<Caller> {
    if (deps.issuer === undefined) throw notSignedIn();
    return { user: await userOfIssuer(deps.issuer, deps, text), scopes: SESSION_SCOPES, by: { kind: "issuer" } };
  }

  async function bySession(text: string): Promise<Caller> {
    const token = readAccessToken(text, tokenKey);
    if (token === undefined || token.expiresAtMs <= clock.now()) throw notSignedIn();
    return { user: await sessions.check(token), scopes: SESSION_SCOPES, by: { kind: "session", id: token.session } };
  }

  return {
    async createUser(name, password, profile = {}) {
      refuse("the user can't be created as asked", [...complainAboutName(name), ...complainAbout("password", password, name)]);
      const now = clock.now();
      const user: UserRecord = {
        id: makeId("user", now, random.bytes(ID_RANDOM_BYTES)),
        name,
        passwordHash: await hashing.hash(password),
        disabled: false,
        era: 0,
        profile: edited({}, profile),
        createdAtMs: now,
        version: 1,
      };
      if ((await store.createUser(user)) !== "done")
        throw new SchedulerError("conflict", `there is a user named ${name} already: choose another name`);
      return user;
    },

    async login(name, password) {
      const user = USER_NAME.test(name) ? await store.findUser(name) : undefined;
      const isRight = await hashing.verify(password, user?.passwordHash);
      if (user === undefined || !isRight || user.disabled) {
        throw new SchedulerError("unauthenticated", "the name or the password is wrong, or the account is disabled");
      }
      return sessions.begin(user);
    },

    refresh: sessions.refresh,

    async logout({ user, by }) {
      if (by.kind === "session") await sessions.end(user.id, by.id);
      else if (by.kind === "token") await store.deleteToken(user.id, by.id);
      else throw new SchedulerError("conflict", "this token is of another issuer: sign out there");
    },

    authenticate: (text) => {
      if (isApiToken(text)) return byApiToken(text);
      if (looksLikeOurs(text)) return bySession(text);
      return byIssuer(text);
    },

    namesOf: async (ids) => new Map((await store.readUsers(ids)).map((user) => [user.id, user.name])),
    find: (nameOrId) => findUser(store, nameOrId),
    list: (options) => store.listUsers(options),
    editProfile: (id, profile) => change(id, (user) => ({ ...user, profile: edited(user.profile, profile) })),

    async changePassword(id, { current, next, keep }) {
      const user = await findUser(store, id);
      if (user.passwordHash === undefined)
        throw new SchedulerError("conflict", "this account has no password: its user signs in elsewhere");
      if (!(await hashing.verify(current, user.passwordHash)))
        throw new SchedulerError("forbidden", "the present password is not the one that was given");
      refuse("the password can't be taken", complainAbout("next", next, user.name));
      const passwordHash = await hashing.hash(next);
      await change(id, (now) => {
        if (now.passwordHash !== user.passwordHash)
          throw new SchedulerError("conflict", "the password was changed by somebody else at this moment");
        return nextEra({ ...now, passwordHash }, keep);
      });
    },

    async resetPassword(id, next) {
      const { name } = await findUser(store, id);
      refuse("the password can't be taken", complainAbout("password", next, name));
      const passwordHash = await hashing.hash(next);
      return change(id, (user) => nextEra({ ...user, passwordHash }, undefined));
    },

    setDisabled: (id, disabled) => change(id, (user) => (user.disabled === disabled ? user : nextEra({ ...user, disabled }, undefined))),

    createToken: (user, request) => createToken(deps, user, request),
    listTokens: (user) => store.listTokens(user),
    revokeToken: (user, id) => store.deleteToken(user, id),
  };
}

async function createToken(
  { store, clock, random }: AccountsDeps,
  user: UserId,
  request: TokenRequest,
): ReturnType<Accounts["createToken"]> {
  refuse("the token can't be made as asked", complainAboutToken(request));
  const held = await store.listTokens(user);
  if (held.some((token) => token.name === request.name))
    throw new SchedulerError("conflict", `you have a token named ${request.name} already: revoke it first, or choose another name`);
  if (held.length >= TOKENS_MAX) throw new SchedulerError("conflict", `you have ${held.length} tokens: revoke one first`);
  const now = clock.now();
  const id = makeId("token", now, random.bytes(ID_RANDOM_BYTES));
  const { value, secretHash } = makeApiToken(user, id, random.bytes(SECRET_BYTES));
  const { name, lifetimeMs } = request;
  const scopes = SCOPES.filter((scope) => request.scopes.includes(scope)).sort();
  const token: TokenRecord = { id, user, name, scopes, secretHash, createdAtMs: now, expiresAtMs: now + lifetimeMs };
  await store.createToken(token);
  return { token, value };
}

async function findUser(store: AccountStore, nameOrId: string): Promise<UserRecord> {
  const id = parseId("user", nameOrId);
  const user = id === undefined ? await store.findUser(nameOrId) : await store.readUser(id);
  if (user === undefined) throw new SchedulerError("not-found", `there is no user ${nameOrId}`);
  return user;
}

/** Read, change, write as read; again when somebody else was faster. `to` giving back its argument changes nothing. */
async function changeUser(store: AccountStore, id: UserId, to: (user: UserRecord) => UserRecord): Promise<UserRecord> {
  for (let attempt = 0; attempt < CHANGES_MAX; attempt++) {
    const user = await findUser(store, id);
    const changed = to(user);
    if (changed === user) return user;
    const post = { ...changed, version: user.version + 1 };
    if (await store.updateUser(post)) return post;
  }
  throw new SchedulerError("unavailable", "the account is being changed by others: try again");
}

/** All sessions are over, but for the one that is kept. */
function nextEra({ kept: _, ...user }: UserRecord, keep: UserRecord["kept"]): UserRecord {
  return { ...user, era: user.era + 1, ...(keep === undefined ? {} : { kept: keep }) };
}

function edited(before: Profile, change: Profile): Profile {
  const all = Object.entries({ ...before, ...change }).filter(([, text]) => text !== undefined && text !== "");
  return Object.fromEntries(all) as Profile;
}

function refuse(message: string, complaints: readonly Complaint[]): void {
  if (complaints.length > 0) throw new SchedulerError("invalid-input", message, { complaints });
}

const complainAboutName = (name: string): Complaint[] => (USER_NAME.test(name) ? [] : [{ path: "name", message: USER_NAME_RULE }]);

function complainAbout(path: string, password: string, name: string): Complaint[] {
  const message = complainAboutPassword(password, name);
  return message === undefined ? [] : [{ path, message }];
}

function complainAboutToken({ name, scopes, lifetimeMs }: TokenRequest): Complaint[] {
  const complaints: Complaint[] = [];
  if (name.trim() !== name || name === "" || name.length > TOKEN_NAME_CHARACTERS_MAX)
    complaints.push({ path: "name", message: `must have 1 to ${TOKEN_NAME_CHARACTERS_MAX} characters, without spaces around` });
  if (scopes.length === 0) complaints.push({ path: "scopes", message: `must name at least one of ${SCOPES.join(", ")}` });
  if (!(lifetimeMs > 0 && lifetimeMs <= TOKEN_LIFETIME_MS_MAX))
    complaints.push({ path: "lifetime", message: `must be more than nothing and at most ${TOKEN_LIFETIME_MS_MAX / 86_400_000} days` });
  return complaints;
}
