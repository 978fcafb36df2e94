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

export interface Storage {
  /** `undefined`: nothing is there. */
  stat(path: string): Promise<StorageEntry | undefined>;
  /** Entries of a folder by name, at most `limit`. */
  list(path: string, limit: number): Promise<readonly StorageEntry[]>;
  read(path: string): Promise<AsyncIterable<Uint8Array>>;
}
