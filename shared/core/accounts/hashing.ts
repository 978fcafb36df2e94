/** Hashes of passwords, few at a time. */
import { SchedulerError } from "#domain/error.ts";
import type { Random } from "#ports/random.ts";
import { HASHES_AT_ONCE_MAX, HASHES_WAITING_MAX } from "./limits.ts";
import { hashPassword, PASSWORD_CHARS_MAX, PASSWORD_COST, type PasswordCost, SALT_BYTES, verifyPassword } from "./password.ts";

export interface Hashing {
  hash(password: string): Promise<string>;
  /** `stored` of nobody (`undefined`) takes as long as any other, and is never right. */
  verify(password: string, stored: string | undefined): Promise<boolean>;
}

export function createHashing(random: Pick<Random, "bytes">, cost: PasswordCost = PASSWORD_COST): Hashing {
  const limited = limit(HASHES_AT_ONCE_MAX, HASHES_WAITING_MAX);
  let decoy: Promise<string> | undefined;
  const decoyHash = (): Promise<string> => {
    decoy ??= hashPassword("", random.bytes(SALT_BYTES), cost);
    return decoy;
  };
  return {
    hash: (password) => limited(() => hashPassword(password, random.bytes(SALT_BYTES), cost)),
    async verify(password, stored) {
      // A longer password can't be right; the work is done all the same, on a part of it.
      const fits = password.length <= 2 * PASSWORD_CHARS_MAX;
      const against = stored ?? (await decoyHash());
      const isRight = await limited(() => verifyPassword(fits ? password : password.slice(0, PASSWORD_CHARS_MAX), against));
      return isRight && fits && stored !== undefined;
    },
  };
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
