/** IdempotencyStore in memory. */
import type { Clock } from "#ports/clock.ts";
import type { IdempotencyStore, KeyClaim, StoredAnswer } from "#ports/idempotency-store.ts";

export function createMemoryIdempotencyStore(clock: Pick<Clock, "now">): IdempotencyStore {
  const entries = new Map<string, StoredAnswer & { readonly nonce: string; readonly expiresAtMs: number }>();
  const keyOf = ({ user, key }: KeyClaim) => JSON.stringify([user, key]);
  const openOf = (claim: KeyClaim) => {
    const entry = entries.get(keyOf(claim));
    return entry?.nonce === claim.nonce && entry.answer === undefined ? entry : undefined;
  };
  return {
    begin: async (claim, lockedUntilMs) => {
      const entry = entries.get(keyOf(claim));
      if (entry !== undefined && entry.expiresAtMs > clock.now()) {
        if (entry.nonce === claim.nonce) return undefined;
        return { fingerprint: entry.fingerprint, ...(entry.answer === undefined ? {} : { answer: { ...entry.answer } }) };
      }
      entries.set(keyOf(claim), { fingerprint: claim.fingerprint, nonce: claim.nonce, expiresAtMs: lockedUntilMs });
      return undefined;
    },
    finish: async (claim, answer, keptUntilMs) => {
      const entry = openOf(claim);
      if (entry !== undefined) entries.set(keyOf(claim), { ...entry, answer: { ...answer }, expiresAtMs: keptUntilMs });
    },
    abandon: async (claim) => {
      if (openOf(claim) !== undefined) entries.delete(keyOf(claim));
    },
  };
}
