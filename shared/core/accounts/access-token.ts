/**
 * Access tokens: compact JWTs (RFC 7519) signed with HS256 by one key that only our own processes hold.
 *
 * HMAC, not Ed25519: those who check tokens are those who make them, and a check costs 15 us instead of 100. The
 * header is never parsed: it has to be, byte for byte, the one that we write, so `alg: none` and every other
 * algorithm is refused before any cryptography. (node:crypto: see password.ts.)
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { assert } from "#domain/error.ts";
import { parseId, type SessionId, type UserId } from "#domain/id.ts";

export interface AccessToken {
  readonly user: UserId;
  readonly session: SessionId;
  readonly issuedAtMs: number;
  readonly expiresAtMs: number;
}

export const TOKEN_KEY_BYTES_MIN = 32;
const TOKEN_CHARS_MAX = 1_024;
const ISSUER = "airavata-scheduler";
const AUDIENCE = "access";
const HEADER = Buffer.from('{"alg":"HS256","typ":"JWT"}').toString("base64url");

/** `key` holds at least {@link TOKEN_KEY_BYTES_MIN} secret bytes. Times keep their milliseconds (NumericDate may have a fraction). */
export function signAccessToken(token: AccessToken, key: Uint8Array): string {
  assert(key.length >= TOKEN_KEY_BYTES_MIN, `the token key has at least ${TOKEN_KEY_BYTES_MIN} bytes`);
  const times = { iat: token.issuedAtMs / 1000, exp: token.expiresAtMs / 1000 };
  const claims = { iss: ISSUER, aud: AUDIENCE, sub: token.user, sid: token.session, ...times };
  const signed = `${HEADER}.${Buffer.from(JSON.stringify(claims)).toString("base64url")}`;
  return `${signed}.${signatureOf(signed, key).toString("base64url")}`;
}

/** Whether it claims to be one of ours; whose it really is says {@link readAccessToken}. */
export const looksLikeOurs = (text: string): boolean => text.startsWith(`${HEADER}.`);

/** The content of a token that we signed, expired or not; `undefined` for everything else. */
export function readAccessToken(text: string, key: Uint8Array): AccessToken | undefined {
  if (text.length > TOKEN_CHARS_MAX) return undefined;
  const [header, body = "", signature = "", ...rest] = text.split(".");
  if (header !== HEADER || rest.length > 0) return undefined;
  const expected = signatureOf(`${header}.${body}`, key).toString("base64url");
  if (signature.length !== expected.length || !timingSafeEqual(Buffer.from(signature), Buffer.from(expected))) return undefined;
  return tokenOf(JSON.parse(Buffer.from(body, "base64url").toString()));
}

const signatureOf = (text: string, key: Uint8Array): Buffer => createHmac("sha256", key).update(text).digest();

/** The signature is right, so the shape is ours; but another kind of token may one day share the key. */
function tokenOf(claims: {
  readonly iss?: unknown;
  readonly aud?: unknown;
  readonly sub?: unknown;
  readonly sid?: unknown;
  readonly iat?: unknown;
  readonly exp?: unknown;
}): AccessToken | undefined {
  const { iss, aud, sub, sid, iat, exp } = claims;
  if (iss !== ISSUER || aud !== AUDIENCE || typeof iat !== "number" || typeof exp !== "number") return undefined;
  const user = typeof sub === "string" ? parseId("user", sub) : undefined;
  const session = typeof sid === "string" ? parseId("session", sid) : undefined;
  if (user === undefined || session === undefined) return undefined;
  return { user, session, issuedAtMs: Math.round(iat * 1000), expiresAtMs: Math.round(exp * 1000) };
}
