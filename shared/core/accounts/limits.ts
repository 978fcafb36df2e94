/** Limits of accounts, sessions and tokens. */
export const ACCESS_LIFETIME_MS = 3_600_000;
/** A session that nobody refreshes ends after this. */
export const SESSION_IDLE_MS = 30 * 86_400_000;
/** However often it is refreshed. */
export const SESSION_LIFETIME_MS = 90 * 86_400_000;
/** So long the refresh token before the present one gives the present one again: an answer may have been lost, or two asked at once. */
export const REFRESH_AGAIN_MS = 10_000;
export const TOKENS_MAX = 100;
export const TOKEN_NAME_CHARACTERS_MAX = 64;
export const TOKEN_LIFETIME_MS_MAX = 366 * 86_400_000;
/** Each hash takes 19 MiB and a thread of Node's pool: more at once gain nothing and starve file access. */
export const HASHES_AT_ONCE_MAX = 2;
export const HASHES_WAITING_MAX = 64;
/** A change of a user that others keep changing is given up after so many reads. */
export const CHANGES_MAX = 8;
