/** AccountStore in memory. */
import { SchedulerError } from "#domain/error.ts";
import type { AccountStore, Identity, SessionRecord, TokenRecord, UserRecord } from "#ports/account-store.ts";

const copyUser = (user: UserRecord | undefined) => (user === undefined ? undefined : { ...user, profile: { ...user.profile } });
const copyToken = (token: TokenRecord) => ({ ...token, scopes: [...token.scopes].sort() });
const identityName = ({ issuer, subject }: Identity) => JSON.stringify([issuer, subject]);
const byId = (a: { readonly id: string }, b: { readonly id: string }) => (a.id < b.id ? -1 : 1);

export function createMemoryAccountStore(): AccountStore {
  const users = new Map<string, UserRecord>();
  const names = new Map<string, string>();
  const identities = new Map<string, string>();
  const sessions = new Map<string, SessionRecord>();
  const tokens = new Map<string, TokenRecord>();
  const userPart = (id: string) => {
    const user = copyUser(users.get(id));
    return user === undefined ? {} : { user };
  };
  return {
    createUser: async (user) => {
      const { identity } = user;
      if (names.has(user.name)) return "name";
      if (identity !== undefined && identities.has(identityName(identity))) return "identity";
      if (users.has(user.id)) throw new SchedulerError("conflict", "a user with this id exists under another name");
      users.set(user.id, { ...user });
      names.set(user.name, user.id);
      if (identity !== undefined) identities.set(identityName(identity), user.id);
      return "done";
    },
    readUser: async (id) => copyUser(users.get(id)),
    readUsers: async (ids) => [...new Set(ids)].map((id) => copyUser(users.get(id))).filter((user) => user !== undefined),
    findUser: async (name) => copyUser(users.get(names.get(name) ?? "")),
    findIdentity: async (identity) => copyUser(users.get(identities.get(identityName(identity)) ?? "")),
    updateUser: async (post) => {
      if (users.get(post.id)?.version !== post.version - 1) return false;
      users.set(post.id, { ...post });
      return true;
    },
    retireUser: async (before, post) => {
      if (users.get(post.id)?.version !== post.version - 1) return false;
      names.delete(before.name);
      if (before.identity !== undefined) identities.delete(identityName(before.identity));
      users.set(post.id, { ...post });
      return true;
    },
    listUsers: async ({ limit, cursor }) => {
      const all = [...names.keys()].sort().filter((name) => cursor === undefined || name > cursor);
      const items = all.slice(0, limit).map((name) => copyUser(users.get(names.get(name) ?? "")) as UserRecord);
      const last = items.at(-1);
      return { items, ...(all.length > limit && last !== undefined ? { cursor: last.name } : {}) };
    },
    createSession: async (session) => {
      if (users.get(session.user)?.era !== session.era || sessions.has(session.id)) return false;
      sessions.set(session.id, { ...session });
      return true;
    },
    readSession: async (user, id) => {
      const session = sessions.get(id);
      return { ...userPart(user), ...(session?.user === user ? { session: { ...session } } : {}) };
    },
    refreshSession: async (post) => {
      if (sessions.get(post.id)?.generation !== post.generation - 1) return false;
      sessions.set(post.id, { ...post });
      return true;
    },
    listSessions: async (user) => [...sessions.values()].filter((s) => s.user === user).sort(byId),
    deleteSession: async (user, id) => {
      if (sessions.get(id)?.user === user) sessions.delete(id);
    },
    createToken: async (token) => {
      if (tokens.has(token.id)) throw new SchedulerError("conflict", "an API token with this id exists already");
      tokens.set(token.id, copyToken(token));
    },
    readToken: async (user, id) => {
      const token = tokens.get(id);
      return { ...userPart(user), ...(token?.user === user ? { token: copyToken(token) } : {}) };
    },
    listTokens: async (user) =>
      [...tokens.values()]
        .filter((t) => t.user === user)
        .map(copyToken)
        .sort(byId),
    deleteToken: async (user, id) => {
      if (tokens.get(id)?.user === user) tokens.delete(id);
    },
  };
}
