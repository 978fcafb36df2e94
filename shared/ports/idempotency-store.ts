/** IdempotencyStore: answers of POSTs by (user, key), so that a repeated request gets the first answer. Entries expire. */
export interface StoredAnswer {
  /** SHA-256 of method, path and body in hex. */
  readonly fingerprint: string;
  /** Absent while the first request is still running. */
  readonly answer?: { readonly status: number; readonly body: string };
}

export interface KeyClaim {
  readonly user: string;
  readonly key: string;
  readonly fingerprint: string;
  /** Tells this taking of the key from every other. */
  readonly nonce: string;
}

/**
 * `seed`: the nonce of the first claim since the last answer, so that whoever repeats a request that died can make the very
 * same thing as it did.
 */
export type Begun = { readonly kind: "taken"; readonly seed: string } | ({ readonly kind: "held" } & StoredAnswer);

export interface IdempotencyStore {
  /** Takes the key until then [absent, released or expired]; otherwise gives what is there. Repeated with the same nonce it is still taken. */
  begin(claim: KeyClaim, lockedUntilMs: number): Promise<Begun>;
  /** Keeps the answer [the key is still this claim's]; otherwise a no-op. */
  finish(claim: KeyClaim, answer: { readonly status: number; readonly body: string }, keptUntilMs: number): Promise<void>;
  /** Gives a key without an answer up [still this claim's, not answered]; otherwise a no-op. Its seed is kept for a day. */
  release(claim: KeyClaim): Promise<void>;
}
