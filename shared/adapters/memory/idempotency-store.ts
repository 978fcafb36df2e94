/** IdempotencyStore in memory. */
import type { Clock } from "#ports/clock.ts";
import type { IdempotencyStore, StoredAnswer } from "#ports/idempotency-store.ts";

export function createMemoryIdempotencyStore(clock: Clock): IdempotencyStore {
  const answers = new Map<string, StoredAnswer & { readonly expiresAtMs: number }>();
  const keyOf = (user: string, key: string) => JSON.stringify([user, key]);
  return {
    begin: async (user, key, fingerprint, expiresAtMs) => {
      const stored = answers.get(keyOf(user, key));
      if (stored !== undefined && stored.expiresAtMs > clock.now()) {
        return { fingerprint: stored.fingerprint, ...(stored.answer === undefined ? {} : { answer: { ...stored.answer } }) };
      }
      answers.set(keyOf(user, key), { fingerprint, expiresAtMs });
      return undefined;
    },
    finish: async (user, key, answer) => {
      const stored = answers.get(keyOf(user, key));
      if (stored !== undefined && stored.answer === undefined) answers.set(keyOf(user, key), { ...stored, answer: { ...answer } });
    },
    abandon: async (user, key) => {
      if (answers.get(keyOf(user, key))?.answer === undefined) answers.delete(keyOf(user, key));
    },
  };
}
