/** States of a task as a user sees them; derived from plan, segments, leases and results, stored nowhere. */
export const TASK_STATES = [
  "QUEUED",
  "WAITING",
  "STAGING_IN",
  "RUNNING",
  "STAGING_OUT",
  "COMPLETED",
  "CACHED",
  "FAILED",
  "SKIPPED",
  "CANCELED",
] as const;
export type TaskState = (typeof TASK_STATES)[number];
