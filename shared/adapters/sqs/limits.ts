/** Every limit of this adapter. Source: docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html. */
export const CONNECT_TIMEOUT_MS = 3_000;
/** A long poll answers within 20 s. */
export const SOCKET_IDLE_MS = 30_000;
/** Each waiting receive holds one. */
export const SOCKETS_MAX = 256;
export const REQUEST_TRIES_MAX = 4;

export const BATCH_ENTRIES_MAX = 10;
export const BATCH_BYTES_MAX = 256 * 1024;
export const BATCH_TRIES_MAX = 5;
export const BATCH_BACKOFF_BASE_MS = 50;
export const BATCH_BACKOFF_CAP_MS = 2_000;
export const POLL_SECONDS_MAX = 20;
export const VISIBILITY_SECONDS_MAX = 43_200;
export const NAME_CHARACTERS_MAX = 80;
/** Longer than the messages of its queue live, so that somebody has the time to look. */
export const DEAD_RETENTION_SECONDS = 14 * 86_400;
export const RETENTION_SECONDS = 4 * 86_400;
