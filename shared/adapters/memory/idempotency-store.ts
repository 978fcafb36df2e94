/** IdempotencyStore in memory. */
import type { Clock } from "#ports/clock.ts";
import type { IdempotencyStore, KeyClaim, StoredAnswer } from "#ports/idempotency-store.ts";

interface Entry extends StoredAnswer {
  readonly nonce: string;
  readonly seed: string;
  readonly expiresAtMs: number;
}

export function createMemoryIdempotencyStore(clock: Pick<Clock, "now">): IdempotencyStore {
  const entries = new Map<string, Entry>();
  const keyOf = ({ user, key }: KeyClaim) => JSON.stringify([user, key]);
  const openOf = (claim: KeyClaim) => {
    const entry = entries.get(keyOf(claim));
    return entry?.nonce === claim.nonce && entry.answer === undefined ? entry : undefined;
  };
  return {
    begin: async (claim, lockedUntilMs) => {
      const entry = entries.get(keyOf(claim));
      if (entry !== undefined && entry.nonce === claim.nonce) return { kind: "taken", seed: entry.seed };
      if (entry !== undefined && entry.expiresAtMs > clock.now()) {
        return { kind: "held", fingerprint: entry.fingerprint, ...(entry.answer === undefined ? {} : { answer: { ...entry.answer } }) };
      }
      const seed = entry === undefined || entry.answer !== undefined ? claim.nonce : entry.seed;
      entries.set(keyOf(claim), { fingerprint: claim.fingerprint, nonce: claim.nonce, seed, expiresAtMs: lockedUntilMs });
      return { kind: "taken", seed };
    },
    finish: async (claim, answer, keptUntilMs) => {
      const entry = openOf(claim);
      if (entry !== undefined) entries.set(keyOf(claim), { ...entry, answer: { ...answer }, expiresAtMs: keptUntilMs });
    },
    release: async (claim) => {
      const entry = openOf(claim);
      if (entry !== undefined) entries.set(keyOf(claim), { ...entry, expiresAtMs: 0 });
    },
  };
}
