/** What an object key is; every object store holds to it, so that one deployment's keys are good on any other. */
import { SchedulerError } from "./error.ts";

const KEY_CHARACTERS_MAX = 512;
const OBJECT_LIST_MAX = 10_000;

/** Throws `invalid-input` unless it is `[A-Za-z0-9._-]` segments joined by `/`, at most 512 characters, none `.` or `..`. */
export function checkObjectKey(key: string): void {
  const whole =
    key.length <= KEY_CHARACTERS_MAX &&
    key.split("/").every((segment) => /^[A-Za-z0-9._-]+$/.test(segment) && segment !== "." && segment !== "..");
  if (!whole)
    throw new SchedulerError(
      "invalid-input",
      "an object key is segments of A-Z a-z 0-9 . _ - joined by /, at most 512 characters, none . or ..",
    );
}

/** A prefix is the start of a key: its last segment may be cut anywhere. */
export function checkObjectList(prefix: string, limit: number): void {
  if (prefix !== "") checkObjectKey(`${prefix}x`.slice(0, KEY_CHARACTERS_MAX));
  if (!Number.isInteger(limit) || limit < 1 || limit > OBJECT_LIST_MAX)
    throw new SchedulerError("invalid-input", `limit must be 1 to ${OBJECT_LIST_MAX}`);
}

/** Size in bytes and SHA-256 in lower-case hex that are announced of an object before its bytes come. */
export interface AnnouncedBytes {
  readonly bytes: number;
  readonly sha256: string;
}

export function checkAnnounced({ bytes, sha256 }: AnnouncedBytes): void {
  if (!Number.isSafeInteger(bytes) || bytes < 0 || !/^[0-9a-f]{64}$/.test(sha256))
    throw new SchedulerError("invalid-input", "a signed put needs the size in bytes and the SHA-256 in lower-case hex");
}

export const notAnnounced = (): SchedulerError =>
  new SchedulerError("integrity", "the bytes are not those announced: send the object again");
