/** Named limits of this room. */

/** How often agents beat. */
export const BEAT_INTERVAL_MS = 15_000;
/** A worker whose last beat is older is expired. */
export const WORKER_TTL_MS = 90_000;
/** Clocks of writers and the reaper may differ by this much. */
export const CLOCK_SKEW_MS = 30_000;
/** A gateway must be up this long before silence of workers counts: they need time to reconnect. */
export const READMISSION_MS = 120_000;
/** A gateway whose last beat is older does not vouch for anybody's silence: it is gone, or its clock or ours was stepped. */
export const GATEWAY_SILENT_MS = 30_000;
/** When more than this share of a pool expires together, the fault is likely ours: wait once more. */
export const MASS_EXPIRY_SHARE = 0.3;
export const WORKERS_SEEN = 10_000;
/** Tries of one write. */
export const TRIES = 8;
export const PREFETCH_PERCENT_MAX = 400;
