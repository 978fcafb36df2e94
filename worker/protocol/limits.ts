/** Limits that hold on both ends of the wire. */
const MIB = 1024 * 1024;

/** Of one encoded message, either way. A larger one is refused by its sender, and by the receiver should it arrive. */
export const MESSAGE_BYTES_MAX = 4 * MIB;
/** Above this backlog a sender holds back ({@link Channel.backlog}). */
export const BACKLOG_HOLD_BYTES = MIB;
/** Above this backlog the stream is cut: its reader is too slow and would make memory grow. Holds one message more than the line above. */
export const BACKLOG_BYTES_MAX = BACKLOG_HOLD_BYTES + 2 * MESSAGE_BYTES_MAX;
/** What the gateway may have under way to an agent that has not read it yet (HTTP/2 window): 25 MiB/s at 40 ms. */
export const WINDOW_BYTES = MIB;

/** HTTP/2 pings find a peer that vanished without a word; heartbeats are above this and do not depend on it. */
export const KEEPALIVE_INTERVAL_MS = 30_000;
export const KEEPALIVE_WAIT_MS = 15_000;

/** Dialling, TLS and the first answer of the gateway together. */
export const CONNECT_WAIT_MS = 20_000;
/** One Join or SignUploads. */
export const UNARY_WAIT_MS = 30_000;
/** What a closed stream still gets to flush; then its connection is cut. */
export const CLOSE_WAIT_MS = 5_000;

/** Of the data of one LogChunk. */
export const LOG_CHUNK_BYTES_MAX = 64 * 1024;

export const TOKEN_BYTES_MAX = 64 * 1024;
export const UPLOADS_PER_REQUEST_MAX = 1_000;
/** Of a reason or an error sentence on the wire (it travels in a header). */
export const REASON_CHARS_MAX = 1_000;
