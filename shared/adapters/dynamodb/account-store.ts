/**
 * AccountStore on DynamoDB. What must be unique (a name, an identity elsewhere) is an item of its own, put in the transaction of
 * its user. Sessions and API tokens lie in their user's partition: one request reads both. A directory of names is for lists.
 */
import type { Scope } from "#domain/account.ts";
import { SchedulerError } from "#domain/error.ts";
import type { SessionId, TokenId, UserId } from "#domain/id.ts";
import type { AccountStore, SessionRecord, TokenRecord, UserRecord } from "#ports/account-store.ts";
import type { DynamoTable, ItemOutcome, Write } from "./client.ts";
import { type Item, keyItem, keyOf, maybeNumberOf, maybeTextOf, number, numberOf, text, textOf, texts } from "./codec.ts";
import * as when from "./conditions.ts";
import {
  API_TOKEN_PREFIX,
  apiTokenKey,
  DIRECTORY_PARTITION,
  directoryKey,
  identityKey,
  type ItemKey,
  SESSION_PREFIX,
  sessionKey,
  userKey,
  userNameKey,
} from "./keys.ts";
import { queryPartition, readPartition } from "./queries.ts";

export function createDynamoAccountStore(table: DynamoTable): AccountStore {
  const read = async <T>(key: ItemKey, from: (item: Item) => T): Promise<T | undefined> => {
    const item = await table.get(key);
    return item === undefined ? undefined : from(item);
  };
  const readUser = (id: UserId): Promise<UserRecord | undefined> => read(userKey(id), userFrom);
  /** The user that a name or identity item names. */
  const userAt = async (key: ItemKey): Promise<UserRecord | undefined> => {
    const id = await read(key, (item) => textOf(item, "id") as UserId);
    return id === undefined ? undefined : readUser(id);
  };
  const remove = async (key: ItemKey): Promise<void> => {
    certain(await table.write({ by: "set", index: 0, kind: "delete", key }));
  };
  return {
    createUser: (user) => createUser(table, user),
    readUser,
    readUsers: async (ids) => (await table.getAll(ids.map(userKey))).map(userFrom),
    findUser: (name) => userAt(userNameKey(name)),
    findIdentity: ({ issuer, subject }) => userAt(identityKey(issuer, subject)),
    updateUser: async (post) => {
      const put: Write = { by: "set", index: 0, kind: "put", item: userItem(post), condition: when.userVersionIs(post.version - 1) };
      return certain(await table.transact([put, directoryPut(post)]));
    },
    retireUser: async (before, post) => {
      const keys = [userNameKey(before.name), directoryKey(before.name), ...identityKeys(before)];
      const put: Write = { by: "set", index: 0, kind: "put", item: userItem(post), condition: when.userVersionIs(post.version - 1) };
      return certain(await table.transact([put, ...keys.map((key, i): Write => ({ by: "set", index: i + 1, kind: "delete", key }))]));
    },
    listUsers: async ({ limit, cursor }) => {
      const start = cursor === undefined ? {} : { start: keyItem(directoryKey(cursor)) };
      const { items, last } = await queryPartition(table, { pk: DIRECTORY_PARTITION, prefix: "", limit, ...start });
      const users = await table.getAll(items.map((item) => userKey(textOf(item, "id") as UserId)));
      return { items: users.map(userFrom), ...(last === undefined ? {} : { cursor: textOf(last, "sk") }) };
    },

    createSession: async (session) =>
      certain(
        await table.transact([
          { by: "set", index: 0, kind: "check", key: userKey(session.user), condition: when.eraIs(session.era) },
          { by: "set", index: 1, kind: "put", item: sessionItem(session), condition: when.absent },
        ]),
      ),
    readSession: async (user, id) => {
      const found = await table.getAll([userKey(user), sessionKey(user, id)]);
      return parts(found, SESSION_PREFIX, "session", sessionFrom);
    },
    refreshSession: async (post) =>
      certain(
        await table.write({
          by: "set",
          index: 0,
          kind: "put",
          item: sessionItem(post),
          condition: when.sessionGenerationIs(post.generation - 1),
        }),
      ),
    listSessions: async (user) => (await readPartition(table, userKey(user).pk, SESSION_PREFIX)).map(sessionFrom),
    deleteSession: (user, id) => remove(sessionKey(user, id)),

    createToken: async (token) => {
      const put = { by: "set", index: 0, kind: "put", item: tokenItem(token), condition: when.absent } as const;
      if (!certain(await table.write(put))) throw new SchedulerError("conflict", "an API token with this id exists already");
    },
    readToken: async (user, id) => {
      const found = await table.getAll([userKey(user), apiTokenKey(user, id)]);
      return parts(found, API_TOKEN_PREFIX, "token", tokenFrom);
    },
    listTokens: async (user) => (await readPartition(table, userKey(user).pk, API_TOKEN_PREFIX)).map(tokenFrom),
    deleteToken: (user, id) => remove(apiTokenKey(user, id)),
  };
}

function certain({ kind }: Pick<ItemOutcome, "kind">): boolean {
  if (kind === "unknown") throw new SchedulerError("outcome-unknown", "the account may not have been changed; try again");
  return kind === "done";
}

const identityKeys = ({ identity }: UserRecord): ItemKey[] =>
  identity === undefined ? [] : [identityKey(identity.issuer, identity.subject)];

const directoryPut = ({ name, id }: UserRecord): Write => ({
  by: "set",
  index: 9,
  kind: "put",
  item: { ...keyItem(directoryKey(name)), id: text(id) },
});

async function createUser(table: DynamoTable, user: UserRecord): Promise<"done" | "name" | "identity"> {
  const claim = (key: ItemKey, index: number): Write => ({
    by: "set",
    index,
    kind: "put",
    item: { ...keyItem(key), id: text(user.id) },
    condition: when.absent,
  });
  const keys = [userNameKey(user.name), ...identityKeys(user)];
  const outcome = await table.transact([
    ...keys.map(claim),
    { by: "set", index: 8, kind: "put", item: userItem(user), condition: when.absent },
    directoryPut(user),
  ]);
  if (outcome.kind === "done") return "done";
  if (outcome.kind === "refused" && outcome.index === 0) return "name";
  if (outcome.kind === "refused" && outcome.index === 1) return "identity";
  if (outcome.kind === "refused") throw new SchedulerError("conflict", "a user with this id exists under another name");
  const holder = await table.get(userNameKey(user.name)); // G2: the name item decides.
  if (holder === undefined) throw new SchedulerError("outcome-unknown", "the user may not have been created; try again");
  return textOf(holder, "id") === user.id ? "done" : "name";
}

/** The user and what lies beside it in the partition, of a read of both. */
function parts<N extends string, T>(
  found: readonly Item[],
  prefix: string,
  name: N,
  from: (item: Item) => T,
): { readonly user?: UserRecord } & { readonly [K in N]?: T } {
  const beside = found.find((item) => keyOf(item).sk.startsWith(prefix));
  const user = found.find((item) => keyOf(item).sk === "U");
  return {
    ...(user === undefined ? {} : { user: userFrom(user) }),
    ...(beside === undefined ? {} : { [name]: from(beside) }),
  } as { readonly user?: UserRecord } & { readonly [K in N]?: T };
}

const userOf = (item: Item): UserId => textOf(item, "pk").slice("U#".length) as UserId;
/** DynamoDB's own removal comes late: whole seconds, and only to keep the table small. */
const ttlOf = (ms: number) => number(Math.ceil(ms / 1000));

const userItem = (u: UserRecord): Item => ({
  ...keyItem(userKey(u.id)),
  name: text(u.name),
  ...(u.passwordHash === undefined ? {} : { password: text(u.passwordHash) }),
  disabled: { BOOL: u.disabled },
  ...(u.era === 0 ? {} : { era: number(u.era) }),
  ...(u.kept === undefined ? {} : { kept: text(u.kept) }),
  ...(u.identity === undefined ? {} : { iss: text(u.identity.issuer), sub: text(u.identity.subject) }),
  ...(u.profile.fullName === undefined ? {} : { fullName: text(u.profile.fullName) }),
  ...(u.profile.email === undefined ? {} : { email: text(u.profile.email) }),
  ...(u.version === 0 ? {} : { v: number(u.version) }),
  at: number(u.createdAtMs),
});

function userFrom(item: Item): UserRecord {
  const passwordHash = maybeTextOf(item, "password");
  const kept = maybeTextOf(item, "kept") as SessionId | undefined;
  const issuer = maybeTextOf(item, "iss");
  const fullName = maybeTextOf(item, "fullName");
  const email = maybeTextOf(item, "email");
  return {
    id: userOf(item),
    name: textOf(item, "name"),
    ...(passwordHash === undefined ? {} : { passwordHash }),
    disabled: item.disabled?.BOOL === true,
    era: maybeNumberOf(item, "era") ?? 0,
    ...(kept === undefined ? {} : { kept }),
    ...(issuer === undefined ? {} : { identity: { issuer, subject: textOf(item, "sub") } }),
    profile: { ...(fullName === undefined ? {} : { fullName }), ...(email === undefined ? {} : { email }) },
    createdAtMs: numberOf(item, "at"),
    version: maybeNumberOf(item, "v") ?? 0,
  };
}

const sessionItem = (s: SessionRecord): Item => ({
  ...keyItem(sessionKey(s.user, s.id)),
  era: number(s.era),
  gen: number(s.generation),
  at: number(s.createdAtMs),
  refreshed: number(s.refreshedAtMs),
  expires: number(s.expiresAtMs),
  ttl: ttlOf(s.expiresAtMs),
});

const sessionFrom = (item: Item): SessionRecord => ({
  id: textOf(item, "sk").slice(SESSION_PREFIX.length) as SessionId,
  user: userOf(item),
  era: numberOf(item, "era"),
  generation: numberOf(item, "gen"),
  createdAtMs: numberOf(item, "at"),
  refreshedAtMs: numberOf(item, "refreshed"),
  expiresAtMs: numberOf(item, "expires"),
});

const tokenItem = (t: TokenRecord): Item => ({
  ...keyItem(apiTokenKey(t.user, t.id)),
  name: text(t.name),
  scopes: texts(t.scopes),
  hash: text(t.secretHash),
  at: number(t.createdAtMs),
  expires: number(t.expiresAtMs),
});

const tokenFrom = (item: Item): TokenRecord => ({
  id: textOf(item, "sk").slice(API_TOKEN_PREFIX.length) as TokenId,
  user: userOf(item),
  name: textOf(item, "name"),
  scopes: [...(item.scopes?.SS ?? [])].sort() as Scope[],
  secretHash: textOf(item, "hash"),
  createdAtMs: numberOf(item, "at"),
  expiresAtMs: numberOf(item, "expires"),
});
