/**
 * Branded, prefixed, time-sortable identifiers.
 *
 * The text is `<prefix>_` and 26 Crockford base32 digits: 48 bits of milliseconds since 1970, then 80 random bits
 * (the layout of ULID, https://github.com/ulid/spec). Time and chance are handed in: the domain owns neither.
 */

const PREFIXES = {
  experiment: "exp",
  user: "usr",
  project: "prj",
  worker: "wrk",
  gateway: "gwy",
  resource: "res",
  session: "ses",
  token: "tok",
} as const;

export type IdKind = keyof typeof PREFIXES;
export type Id<K extends IdKind> = string & { readonly __kind: K };
export type ExperimentId = Id<"experiment">;
export type UserId = Id<"user">;
export type WorkerId = Id<"worker">;
export type GatewayId = Id<"gateway">;
export type ResourceId = Id<"resource">;
export type ProjectId = Id<"project">;
export type SessionId = Id<"session">;
export type TokenId = Id<"token">;

const DIGITS = "0123456789abcdefghjkmnpqrstvwxyz";
export const ID_RANDOM_BYTES = 10;

/** Makes an id. `nowMs` is milliseconds since 1970; `random` holds at least {@link ID_RANDOM_BYTES} bytes. */
export function makeId<K extends IdKind>(kind: K, nowMs: number, random: Uint8Array): Id<K> {
  let text = "";
  let time = nowMs;
  for (let i = 0; i < 10; i++) {
    text = DIGITS[time % 32] + text;
    time = Math.floor(time / 32);
  }
  let bits = 0;
  let held = 0;
  for (const byte of random.subarray(0, ID_RANDOM_BYTES)) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += DIGITS[(held >> bits) & 31];
    }
    held &= (1 << bits) - 1;
  }
  return `${PREFIXES[kind]}_${text}` as Id<K>;
}

const BODY = /^[0-9a-hjkmnp-tv-z]{26}$/;

/** Reads an id of the given kind from outside; `undefined` when the text is not one. */
export function parseId<K extends IdKind>(kind: K, text: string): Id<K> | undefined {
  const prefix = `${PREFIXES[kind]}_`;
  return text.startsWith(prefix) && BODY.test(text.slice(prefix.length)) ? (text as Id<K>) : undefined;
}

/** Every user has a project of their own; its id follows from the user's, so that nothing has to be looked up. */
export const personalProject = (user: UserId): ProjectId => `${PREFIXES.project}${user.slice(PREFIXES.user.length)}` as ProjectId;

/** When an id was made, as whoever made it said: milliseconds since 1970. */
export function instantOf(id: string): number {
  const digits = id.slice(id.indexOf("_") + 1).slice(0, 10);
  return [...digits].reduce((time, digit) => time * 32 + DIGITS.indexOf(digit), 0);
}
