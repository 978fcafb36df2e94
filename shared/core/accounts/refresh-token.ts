/**
 * Refresh tokens: `art_<user>_<session>_<generation>_<mac>`. The mac is made of the rest by our key, so nothing of a token is
 * stored and the one that follows can be made again: an answer that was lost on the way is given once more (sessions.ts).
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { parseId, type SessionId, type UserId } from "#domain/id.ts";

export interface RefreshToken {
  readonly user: UserId;
  readonly session: SessionId;
  readonly generation: number;
}

const FORM = /^art_([0-9a-z]{26})_([0-9a-z]{26})_(\d{1,9})_([0-9a-f]{64})$/;

const bodyOf = (id: string): string => id.slice(id.indexOf("_") + 1);
/** No access token begins so: what one kind of token signs is never the other kind's. */
const macOf = (text: string, key: Uint8Array): Buffer => createHmac("sha256", key).update(`refresh token ${text}`).digest();

export function signRefreshToken({ user, session, generation }: RefreshToken, key: Uint8Array): string {
  const text = `art_${bodyOf(user)}_${bodyOf(session)}_${generation}`;
  return `${text}_${macOf(text, key).toString("hex")}`;
}

/** The content of a token that we made, used up or not; `undefined` for everything else. */
export function readRefreshToken(text: string, key: Uint8Array): RefreshToken | undefined {
  const [, userBody, sessionBody, generation, mac = ""] = FORM.exec(text) ?? [];
  const user = parseId("user", `usr_${userBody}`);
  const session = parseId("session", `ses_${sessionBody}`);
  if (user === undefined || session === undefined) return undefined;
  const expected = macOf(text.slice(0, text.lastIndexOf("_")), key);
  return timingSafeEqual(Buffer.from(mac, "hex"), expected) ? { user, session, generation: Number(generation) } : undefined;
}
