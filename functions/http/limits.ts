/** Limits of the HTTP application. */
export const REQUEST_BYTES_MAX = 1024 * 1024;
/** An experiment file or workflow on its way, perhaps compressed: Lambda takes events of 6 MB, and base64 makes a third more of it. */
export const FILE_REQUEST_BYTES_MAX = 4_400_000;
/** What a compressed request may become: a workflow of the largest size, wrapped in JSON. */
export const UNPACKED_BYTES_MAX = 80 * 1024 * 1024;
/** An output up to this size is streamed through; a larger one goes by signed URL where there is one. */
export const OUTPUT_STREAMED_BYTES_MAX = 4 * 1024 * 1024;
/** A file put into a storage resource, where the host can stream it; API Gateway takes 10 MB at most. */
export const FILE_BYTES_MAX = 1024 ** 4;
export const ARCHIVE_ENTRIES_MAX = 1_000_000;
export const ARCHIVE_PAGE = 500;
export const TOKEN_CHARACTERS_MAX = 8192;
/** Requests that a process takes from an account's bucket at a time. */
export const REQUESTS_AT_ONCE = 10;
/** Accounts whose taken requests one process remembers. */
export const ACCOUNTS_KEPT = 10_000;
/** Longer than any request takes: API Gateway gives up after 30 s. */
export const IDEMPOTENCY_LOCK_MS = 60_000;
export const IDEMPOTENCY_KEEP_MS = 24 * 60 * 60 * 1000;
/** What an API Gateway v2 result may hold, with room for base64 and headers: Lambda refuses results above 6 MB. */
export const RESULT_BYTES_MAX = 4_400_000;
/** Attempts to sign in with one name. */
export const SIGN_INS = { perSecond: 0.2, burst: 30 } as const;
/** Accounts that strangers make, together. */
export const REGISTRATIONS = { perSecond: 0.2, burst: 30 } as const;
/** A stream says something at least this often. */
export const HEARTBEAT_MS = 10_000;
/** How long somebody may go on reading a stream who may no longer see it; a heartbeat more while nothing happens. */
export const RECHECK_MS = 20_000;
export const STREAMS_OF_USER_MAX = 32;
/** Streams of one gateway. */
export const STREAMS_MAX = 2_000;
