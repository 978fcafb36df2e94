/** Every bound of the executor, in one place. */

/** What a result shows of each of stdout and stderr as text: the last bytes. */
export const OUTPUT_TAIL_BYTES_MAX = 8 * 1024;
/** Logs are held in blocks of this size, the first one smaller and doubled. */
export const LOG_BLOCK_BYTES = 64 * 1024;
export const LOG_BLOCK_FIRST_BYTES = 1024;
/** Reads of logs that wait for more output, of one agent. */
export const LOG_READS_MAX = 256;
/** A read is answered so long after output has come: many small writes become one answer. */
export const LOG_GATHER_MS = 25;
/** A read without output is answered by nothing after this long. */
export const LOG_READ_WAIT_MS = 15_000;

/** Between SIGTERM and SIGKILL when an attempt is stopped. */
export const KILL_GRACE_MS = 5_000;
/** How long pipes that somebody still holds open are read after the leader's exit. */
export const DRAIN_AFTER_EXIT_MS = 250;
/** How long the death of the rest of a killed group is awaited (a zombie nobody reaps stays in its group for ever). */
export const GROUP_DEATH_WAIT_MS = 200;
/** A process forked by a starter that died becomes recognizable within this time. */
export const UNKNOWN_START_WAIT_MS = 50;
/** Rounds of looking for descendants that left the group; each must find one for the next to happen. */
export const ORPHAN_ROUNDS_MAX = 10;
/** A process seen to be foreign is not looked at again while looks are at most this far apart (pids wrap around later). */
export const FOREIGN_MEMORY_MS = 5_000;

/** The variable of a `many` input is empty when its list would be longer. */
export const LIST_VARIABLE_BYTES_MAX = 64 * 1024;
export const LISTING_BYTES_MAX = 256 * 1024 * 1024;
export const MANY_FILES_MAX = 1_000_000;
/** A result names each file of a `many` input up to this number, and one digest over all of them above it. */
export const RECORDED_INPUTS_MAX = 256;

/** Files of one attempt that are staged at the same time. */
export const STAGED_AT_ONCE = 8;
/** Connections to one host. */
export const CONNECTIONS_MAX = 16;
export const TRANSFER_TRIES_MAX = 4;
/** Wait before try n+1 is this times 2^(n-1), plus up to half of it by chance. */
export const TRANSFER_BACKOFF_MS = 200;
/** A transfer without a byte for this long has failed. */
export const TRANSFER_IDLE_MS = 30_000;
/** Of an error answer, what goes into a message. */
export const ANSWER_EXCERPT_BYTES_MAX = 300;

/** One command that makes a package environment. */
export const BUILD_MS_MAX = 60 * 60_000;
/** Of what it said, what goes into a message. */
export const BUILD_OUTPUT_BYTES_MAX = 2 * 1024;
/** A package list that failed is not tried again for this long. */
export const BUILD_REFUSED_MS = 60_000;
/** A build that is older than this and not current was killed. */
export const LEFT_BUILD_MS = 24 * 3_600_000;
export const UNUSED_ENVIRONMENT_MS = 30 * 24 * 3_600_000;

/** A task that is in one phase for this long is reported as being in it: shorter phases are over when somebody looks. */
export const PHASE_REPORTED_MS = 3_000;
/** A change of phase is worth a beat of its own at most this often. */
export const PHASE_BEAT_MS = 5_000;

export const CACHE_BYTES_MAX = 50 * 1024 ** 3;
/** Eviction goes on until this share of the limit is left. */
export const CACHE_KEEP_SHARE = 0.9;
export const LOCK_POLL_MS = 50;
/** The holder of a lock touches it this often... */
export const LOCK_TOUCH_MS = 2_000;
/** ...and a lock not seen to change for this long is taken over. */
export const LOCK_STALE_MS = 30_000;
/** Files whose bytes this process has checked; above that the oldest is checked again at its next use. */
export const VERIFIED_MEMORY_MAX = 100_000;

export const SAMPLE_INTERVAL_MS = 250;
/** An attempt's first sample; shorter ones are not sampled at all. */
export const FIRST_SAMPLE_MS = 50;
/** Between two walks over an attempt's directory; a long walk waits 20 times its own duration. */
export const DISK_POLL_MS = 2_000;
export const DISK_POLL_DUTY = 20;

/** Directories of failed attempts that `keepFailed` keeps. */
export const KEPT_DIRECTORIES_MAX = 100;
export const SHEBANG_BYTES_MAX = 255;
/** What one timer can wait for. */
export const TIMER_MS_MAX = 2 ** 31 - 1;

/** Co-processes that start programs: how many wait for work, and how often one is used. */
export const IDLE_STARTERS_MAX = 64;
export const STARTER_USES_MAX = 1_000;
export const STARTER_READY_MS = 10_000;

const DAY_MS = 24 * 3600 * 1000;
/** With less life left than this the worker's certificate is renewed. */
export const CERTIFICATE_RENEW_MS = 60 * DAY_MS;
export const CERTIFICATE_CHECK_MS = DAY_MS;
/** A file system with less than this free is full. */
export const DISK_FULL_BYTES = 1024 * 1024;
