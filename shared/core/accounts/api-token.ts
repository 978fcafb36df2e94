/** API tokens: `ait_<user>_<token>_<secret>`. The secret is shown once, when the token is made; its hash is kept. */
import { createHash, timingSafeEqual } from "node:crypto";
import { parseId, type TokenId, type UserId } from "#domain/id.ts";

export const SECRET_BYTES = 32;
const PREFIX = "ait_";
const FORM = /^ait_([0-9a-z]{26})_([0-9a-z]{26})_([0-9a-f]{64})$/;

const bodyOf = (id: string): string => id.slice(id.indexOf("_") + 1);
const hashOf = (secret: string): Buffer => createHash("sha256").update(secret).digest();

export const isApiToken = (text: string): boolean => text.startsWith(PREFIX);

/** `secret` holds {@link SECRET_BYTES} bytes fit for secrets: so many that a plain hash can't be searched. */
export function makeApiToken(user: UserId, id: TokenId, secret: Uint8Array): { readonly value: string; readonly secretHash: string } {
  const text = Buffer.from(secret).toString("hex");
  return { value: `${PREFIX}${bodyOf(user)}_${bodyOf(id)}_${text}`, secretHash: hashOf(text).toString("hex") };
}

export function readApiToken(text: string): { readonly user: UserId; readonly id: TokenId; readonly secret: string } | undefined {
  const [, userBody, tokenBody, secret] = FORM.exec(text) ?? [];
  const user = parseId("user", `usr_${userBody}`);
  const id = parseId("token", `tok_${tokenBody}`);
  return user === undefined || id === undefined || secret === undefined ? undefined : { user, id, secret };
}

export function isSecretOf(secret: string, secretHash: string): boolean {
  const stored = Buffer.from(secretHash, "hex");
  const given = hashOf(secret);
  return stored.length === given.length && timingSafeEqual(stored, given);
}
