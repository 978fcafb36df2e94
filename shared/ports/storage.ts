/**
 * Storage: a user's own storage resource (POSIX folder, later S3, SFTP). Paths start with `/`, are relative to the
 * root of the resource and can't leave it: `..`, NUL and links that lead outside are refused with `invalid-input`.
 */
export interface StorageEntry {
  readonly path: string;
  readonly kind: "file" | "folder";
  readonly bytes: number;
  /** Changes whenever the content may have: for POSIX size and mtime. */
  readonly stamp: string;
}

export interface WriteOptions {
  /** Whether a file that is there may be replaced. */
  readonly replace: boolean;
  /** What the content must have; SHA-256 in hex. */
  readonly expect?: { readonly sha256: string };
}

export interface Storage {
  /** `undefined`: nothing is there. */
  stat(path: string): Promise<StorageEntry | undefined>;
  /** Entries of a folder by name, at most `limit`. */
  list(path: string, limit: number): Promise<readonly StorageEntry[]>;
  read(path: string): Promise<AsyncIterable<Uint8Array>>;
  /**
   * Puts a file, with the folders on the way to it. Atomic: whoever reads sees what was there before or all of the new.
   * Errors: `conflict` (it is there, or a folder is), `integrity` (not what was expected), `forbidden`, `unavailable`;
   * after any of them, and when `body` throws, the file is as it was.
   */
  write(path: string, body: AsyncIterable<Uint8Array>, options: WriteOptions): Promise<StorageEntry & { readonly sha256: string }>;
}
