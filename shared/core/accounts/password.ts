/**
 * Passwords as argon2id in PHC form (`$argon2id$v=19$m=…,t=…,p=…$salt$hash`), RFC 9106.
 *
 * node:crypto is allowed in this room: argon2 and HMAC are pure functions of their arguments and come with Node. Chance
 * and time still come through ports.
 */
import { argon2, timingSafeEqual } from "node:crypto";
import { SchedulerError } from "#domain/error.ts";

export interface PasswordCost {
  readonly memoryKib: number;
  readonly passes: number;
  readonly lanes: number;
}

/** OWASP's recommendation (Password Storage Cheat Sheet, argon2id); about 30 ms of one core. */
export const PASSWORD_COST: PasswordCost = { memoryKib: 19_456, passes: 2, lanes: 1 };
export const SALT_BYTES = 16;
const HASH_BYTES = 32;

/** Stored hashes above this are not computed: a damaged or planted row must not take the machine's memory. */
const COST_MAX: PasswordCost = { memoryKib: 1_048_576, passes: 16, lanes: 16 };

export const PASSWORD_CHARS_MIN = 10;
export const PASSWORD_CHARS_MAX = 256;

/** What is wrong with a new password; `undefined` = nothing. */
export function complainAboutPassword(password: string, name: string): string | undefined {
  const length = [...password].length;
  if (length < PASSWORD_CHARS_MIN || length > PASSWORD_CHARS_MAX) {
    return `must have ${PASSWORD_CHARS_MIN} to ${PASSWORD_CHARS_MAX} characters`;
  }
  if (password.toLowerCase() === name.toLowerCase()) return "must not be the user's name";
  return new Set(password).size < 4 ? "repeats too few characters" : undefined;
}

/** `salt` holds {@link SALT_BYTES} bytes fit for secrets. */
export async function hashPassword(password: string, salt: Uint8Array, cost: PasswordCost = PASSWORD_COST): Promise<string> {
  const hash = await derive(password, salt, cost, HASH_BYTES);
  return `$argon2id$v=19$m=${cost.memoryKib},t=${cost.passes},p=${cost.lanes}$${base64(salt)}$${base64(hash)}`;
}

const PHC = /^\$argon2id\$v=19\$m=(\d{1,8}),t=(\d{1,3}),p=(\d{1,3})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/;

/** Compares in constant time. Throws `integrity` when `stored` is not a hash we may compute. */
export async function verifyPassword(password: string, stored: string): Promise<boolean> {
  const [, memory, passes, lanes, salt = "", hash = ""] = PHC.exec(stored) ?? [];
  const cost = { memoryKib: Number(memory), passes: Number(passes), lanes: Number(lanes) };
  if (!(cost.memoryKib >= 8 * cost.lanes && cost.passes >= 1 && cost.lanes >= 1) || isTooCostly(cost)) {
    throw new SchedulerError("integrity", "the stored password hash is damaged: set a new password for this user");
  }
  const expected = Buffer.from(hash, "base64");
  return timingSafeEqual(await derive(password, Buffer.from(salt, "base64"), cost, expected.length), expected);
}

const isTooCostly = (cost: PasswordCost): boolean =>
  cost.memoryKib > COST_MAX.memoryKib || cost.passes > COST_MAX.passes || cost.lanes > COST_MAX.lanes;

/** NFKC: the same password typed on another keyboard or system must give the same bytes (NIST SP 800-63B-4, 3.1.1.2). */
function derive(password: string, salt: Uint8Array, cost: PasswordCost, tagLength: number): Promise<Buffer> {
  const message = password.normalize("NFKC");
  const parameters = { message, nonce: salt, parallelism: cost.lanes, tagLength, memory: cost.memoryKib, passes: cost.passes };
  return new Promise((resolve, reject) => argon2("argon2id", parameters, (error, key) => (error === null ? resolve(key) : reject(error))));
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64").replace(/=+$/, "");
