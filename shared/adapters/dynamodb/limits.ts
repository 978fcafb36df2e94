/** Limits of the DynamoDB adapters. */

/** Items of one transaction that assigns or settles; creating an experiment takes more, once. */
export const TRANSACTION_ITEMS_MAX = 25;
/** DynamoDB's own limit. */
export const TRANSACTION_ITEMS_HARD_MAX = 100;
export const BATCH_GET_KEYS_MAX = 100;
export const ASSIGN_LEASES_MAX = 10;
export const SETTLE_LEASES_MAX = 10;
export const SETS_MAX = 64;
export const SEGMENTS_READ_MAX = 100;
/** Items deleted side by side. */
export const REMOVED_AT_ONCE = 25;

/** Retries after contention or throttling, with full jitter below `BASE * 2^n`, at most `CAP`. */
export const RETRIES_MAX = 6;
export const RETRY_BASE_MS = 20;
export const RETRY_CAP_MS = 1_000;

export const CONNECT_TIMEOUT_MS = 1_000;
export const REQUEST_TIMEOUT_MS = 5_000;
export const SOCKETS_MAX = 64;

/** Pages of an index that one look-up reads at most. */
export const INDEX_PAGES_MAX = 8;
/** DynamoDB's limit of an item is 400 KB. */
export const ANSWER_BYTES_MAX = 350_000;
