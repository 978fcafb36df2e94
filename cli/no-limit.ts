/** The word that takes a limit away. */
export const NO_LIMIT = "none";
export type NoLimit = typeof NO_LIMIT;
