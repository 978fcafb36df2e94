/**
 * ObjectStore: our own staging, plans and results. Keys are `[A-Za-z0-9._-]` segments joined by `/`, at most 512
 * characters; no segment is `.` or `..`; anything else throws SchedulerError `invalid-input`.
 */
export interface ObjectInfo {
  readonly key: string;
  readonly bytes: number;
}

export interface ObjectStore {
  /** Writes the object unless the key exists already (`exists`: nothing was written). Atomic: readers see all or nothing. */
  putIfAbsent(key: string, body: Uint8Array): Promise<"written" | "exists">;
  /** The same from a stream; refuses with `integrity` when size or SHA-256 (hex) differ from the given ones, leaving nothing. */
  putStream(
    key: string,
    body: AsyncIterable<Uint8Array>,
    expect: { readonly bytes: number; readonly sha256: string },
  ): Promise<"written" | "exists">;
  /** `undefined`: there is no such object. Throws `too-large` above `bytesMax`. */
  get(key: string, bytesMax: number): Promise<Uint8Array | undefined>;
  getStream(key: string): Promise<AsyncIterable<Uint8Array> | undefined>;
  stat(key: string): Promise<ObjectInfo | undefined>;
  /** Keys with the prefix in ascending order after `after`; at most `limit`. */
  list(prefix: string, options: { readonly limit: number; readonly after?: string }): Promise<readonly ObjectInfo[]>;
  remove(key: string): Promise<void>;
  /** A URL that reads the object until `expiresAtMs`, with nothing but itself as authority. */
  signGet(key: string, expiresAtMs: number): Promise<string>;
  /** A URL that writes it once by HTTP PUT, only with exactly this size and SHA-256 (hex). */
  signPut(key: string, expect: { readonly bytes: number; readonly sha256: string }, expiresAtMs: number): Promise<string>;
}
