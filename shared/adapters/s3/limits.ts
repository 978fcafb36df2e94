/** Every limit of this adapter. Sources: docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html and …/PresignedUrlUploadObject.html. */
export const CONNECT_TIMEOUT_MS = 3_000;
/** Without a byte for so long a connection is given up. */
export const SOCKET_IDLE_MS = 30_000;
export const SOCKETS_MAX = 64;
/** The SDK's own tries of one request, the first included. */
export const REQUEST_TRIES_MAX = 4;

/** More puts of one key at once than S3 can order (409): tried again so often. */
export const CONFLICT_RETRIES_MAX = 6;
export const CONFLICT_BASE_MS = 25;
export const CONFLICT_CAP_MS = 1_000;

/** Up to here an object is one request; above it goes in parts of at least as much. */
export const WHOLE_BYTES_MAX = 8 * 1024 * 1024;
/** S3 takes 10,000 parts. */
export const PARTS_MAX = 9_000;
export const PARTS_AT_ONCE = 3;
/** S3's limit of a single PUT, which a signed one is. */
export const SIGNED_PUT_BYTES_MAX = 5 * 1024 ** 3;
export const SIGNED_VALIDITY_MS_MAX = 7 * 24 * 3_600_000;
export const LIST_PAGE = 1_000;
/** A read that breaks off goes on where it was, so often. */
export const READ_RESUMES_MAX = 4;
