/** Limits of the gateway. Those of both ends are in protocol/limits.ts. */

/** Connected workers; each costs about 100 kB. */
export const WORK_STREAMS_MAX = 12_000;
/** Sockets: the workers, and room for joins. */
export const CONNECTIONS_MAX = 13_000;
/** gRPC calls at once on one connection: Work and uploads being signed. */
export const CALLS_PER_CONNECTION_MAX = 64;
/** From a new connection to its first call: ends half-open TLS handshakes. */
export const FIRST_CALL_WAIT_MS = 20_000;
/** A connection without any call. */
export const CONNECTION_IDLE_MS = 60_000;
/** From the start of a Work stream to its Hello. */
export const HELLO_WAIT_MS = 10_000;

/** Joins of the whole deployment: a burst may be an array job of this many workers. */
export const JOINS_BURST = 2_000;
export const JOINS_PER_SECOND = 200;
/** Joins refused from one address before it must wait; a good one costs nothing. */
export const JOIN_REFUSALS_BURST = 20;
export const JOIN_REFUSALS_PER_MINUTE = 10;
/** Addresses remembered; the oldest is forgotten first. */
export const JOIN_ADDRESSES_MAX = 10_000;
export const JOIN_KEY_BYTES_MAX = 256;

const DAY_MS = 24 * 3600 * 1000;
export const AUTHORITY_LIFE_MS = 3_650 * DAY_MS;
export const SERVER_CERTIFICATE_LIFE_MS = 365 * DAY_MS;
export const CLIENT_CERTIFICATE_LIFE_MS = 365 * DAY_MS;
/** Certificates begin this much in the past: clocks of compute nodes run behind. */
export const CERTIFICATE_BACKDATE_MS = DAY_MS;
export const SERVER_CERTIFICATE_CHECK_MS = DAY_MS;
/** With less life left than this the server certificate is replaced while running. */
export const SERVER_CERTIFICATE_RENEW_MS = 60 * DAY_MS;

/** Longer than an agent keeps a read of a log without an answer. */
export const LOG_ANSWER_WAIT_MS = 25_000;
/** Logs of which the last chunk is remembered: 16 MiB. */
export const LOG_CHUNKS_KEPT = 256;
/** How often it is looked where a log is while it is nowhere. */
export const LOG_LOOK_MS = 250;
export const LOG_LOOK_MS_MAX = 2_000;

/** An experiment that somebody reads events of is looked at so often. */
export const LOOK_MS = 1_000;
/** Sooner after something of it was committed here, but not sooner than this. */
export const LOOK_HINTED_MS = 250;
/** When it has ended, or could not be looked at. */
export const LOOK_QUIET_MS = 5_000;
/** A look that takes long is followed by a pause so many times as long. */
export const FEED_DUTY = 10;
/** Events that a reader may be behind. */
export const EVENTS_KEPT = 256;
/** Failed tasks that a snapshot shows. */
export const FAILURES_SHOWN = 100;
/** How long a feed without readers is kept, so that one who lost the connection finds its place. */
export const FEED_IDLE_MS = 120_000;
export const FEEDS_MAX = 1_000;

export const HTTP_CONNECTIONS_MAX = 4_000;
export const HTTP_HEADER_BYTES_MAX = 16 * 1024;
export const HTTP_HEADERS_WAIT_MS = 10_000;
/** A connection that nothing has moved over for so long is cut. */
export const HTTP_STALL_MS = 60_000;
