/** IdempotencyStore: answers of POSTs by (user, key), so that a repeated request gets the first answer. Entries expire. */
export interface StoredAnswer {
  /** SHA-256 of method, path and body in hex. */
  readonly fingerprint: string;
  /** Absent while the first request is still running. */
  readonly answer?: { readonly status: number; readonly body: string };
}

export interface IdempotencyStore {
  /** Takes the key [absent or expired]; otherwise gives what is there. */
  begin(user: string, key: string, fingerprint: string, expiresAtMs: number): Promise<StoredAnswer | undefined>;
  finish(user: string, key: string, answer: { readonly status: number; readonly body: string }): Promise<void>;
  /** Forgets a key whose request failed before any effect. */
  abandon(user: string, key: string): Promise<void>;
}
