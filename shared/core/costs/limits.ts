/** Named limits of this room. */

/** An experiment's entry is written at most this often by one process: what a crash loses, and how late figures are. */
export const SAVE_MS = 10_000;
/** The deployment's: it changes all the time. */
export const DEPLOYMENT_SAVE_MS = 300_000;
/** Without use for so long, a saved entry leaves memory. */
export const ENTRY_REST_MS = 900_000;
export const WRITER_BYTES = 12;
