/**
 * Sessions: one for each sign-in. An access token names its session and is good while the session is; a refresh token is good
 * once, for the next pair.
 *
 *   begin ──> generation 0 ── refresh(0) ──> 1 ── refresh(1) ──> 2 ...
 *               the token before the present one, within REFRESH_AGAIN_MS: the present one again
 *               any older one: it was copied; the session ends for whoever holds it
 */
import { SchedulerError } from "#domain/error.ts";
import { ID_RANDOM_BYTES, makeId, type SessionId, type UserId } from "#domain/id.ts";
import type { AccountStore, SessionRecord, UserRecord } from "#ports/account-store.ts";
import type { Clock } from "#ports/clock.ts";
import type { Random } from "#ports/random.ts";
import { type AccessToken, signAccessToken } from "./access-token.ts";
import type { Login } from "./index.ts";
import { ACCESS_LIFETIME_MS, REFRESH_AGAIN_MS, SESSION_IDLE_MS, SESSION_LIFETIME_MS } from "./limits.ts";
import { readRefreshToken, signRefreshToken } from "./refresh-token.ts";

interface SessionsDeps {
  readonly store: AccountStore;
  readonly clock: Pick<Clock, "now">;
  readonly random: Pick<Random, "bytes">;
  readonly tokenKey: Uint8Array;
  readonly accessLifetimeMs?: number;
}

export interface Sessions {
  begin(user: UserRecord): Promise<Login>;
  refresh(refreshToken: string): Promise<Login>;
  /** The user of an access token that we signed and that has not expired. */
  check(token: AccessToken): Promise<UserRecord>;
  end(user: UserId, session: SessionId): Promise<void>;
}

/** One refusal for every reason: which one it was helps only an attacker. */
export const notSignedIn = (): SchedulerError =>
  new SchedulerError("unauthenticated", "the token is not valid or has expired: sign in again");

export function createSessions({ store, clock, random, tokenKey, accessLifetimeMs = ACCESS_LIFETIME_MS }: SessionsDeps): Sessions {
  function loginOf(user: UserRecord, session: SessionRecord): Login {
    const now = clock.now();
    const expiresAtMs = Math.min(now + accessLifetimeMs, session.expiresAtMs);
    return {
      token: signAccessToken({ user: user.id, session: session.id, issuedAtMs: now, expiresAtMs }, tokenKey),
      expiresAtMs,
      refreshToken: signRefreshToken({ user: user.id, session: session.id, generation: session.generation }, tokenKey),
      refreshExpiresAtMs: session.expiresAtMs,
      user,
    };
  }

  /** Throws unless both are there and the one still belongs to the other. */
  async function read(userId: UserId, sessionId: SessionId): Promise<{ readonly user: UserRecord; readonly session: SessionRecord }> {
    const { user, session } = await store.readSession(userId, sessionId);
    if (user === undefined || user.disabled || session === undefined || session.expiresAtMs <= clock.now()) throw notSignedIn();
    if (session.era !== user.era && user.kept !== session.id) throw notSignedIn();
    return { user, session };
  }

  return {
    async begin(user) {
      const now = clock.now();
      const session: SessionRecord = {
        id: makeId("session", now, random.bytes(ID_RANDOM_BYTES)),
        user: user.id,
        era: user.era,
        generation: 0,
        createdAtMs: now,
        refreshedAtMs: now,
        expiresAtMs: now + SESSION_IDLE_MS,
      };
      if (!(await store.createSession(session)))
        throw new SchedulerError("unavailable", "the account was changed at this very moment: sign in again");
      return loginOf(user, session);
    },

    async refresh(text) {
      const token = readRefreshToken(text, tokenKey);
      if (token === undefined) throw notSignedIn();
      const { user, session } = await read(token.user, token.session);
      const now = clock.now();
      if (token.generation === session.generation) {
        const expiresAtMs = Math.min(now + SESSION_IDLE_MS, session.createdAtMs + SESSION_LIFETIME_MS);
        const post = { ...session, generation: session.generation + 1, refreshedAtMs: now, expiresAtMs };
        if (await store.refreshSession(post)) return loginOf(user, post);
        // Somebody else was faster with the same token: it is now the one before.
        const again = await read(token.user, token.session);
        if (again.session.generation === post.generation) return loginOf(again.user, again.session);
      } else if (token.generation === session.generation - 1 && now - session.refreshedAtMs < REFRESH_AGAIN_MS) {
        return loginOf(user, session);
      }
      await store.deleteSession(user.id, session.id);
      throw notSignedIn();
    },

    check: async ({ user, session }) => (await read(user, session)).user,
    end: (user, session) => store.deleteSession(user, session),
  };
}
