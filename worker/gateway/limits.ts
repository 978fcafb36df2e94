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
