/** Limits and defaults of experiments. What breaks a limit is refused before anything is written. */
import { MILLISECONDS_PER } from "#domain/quantity.ts";
import type { FailureCause } from "#domain/plan.ts";

export const TASKS_MAX = 10_000_000;
export const SETS_MAX = 64;
/** Swept parameters of one task set. */
export const AXES_MAX = 64;
export const LIST_VALUES_MAX = 100_000;
export const PARAMETERS_MAX = 256;
export const OUTPUTS_MAX = 64;
export const SCRIPTS_MAX = 64;
export const SCRIPT_BYTES_MAX = 256 * 1024;
export const SCRIPTS_BYTES_MAX = 512 * 1024;
export const VALUE_BYTES_MAX = 32 * 1024;
/** Names and values bound for one task: they become its environment, whose room the kernel bounds. */
export const TASK_VALUES_BYTES_MAX = 256 * 1024;
export const NAME_LENGTH_MAX = 120;
export const PATH_LENGTH_MAX = 1024;
export const LABELS_MAX = 32;
export const LABEL_LENGTH_MAX = 256;
export const ASSETS_MAX = 256;
export const PACKAGES_MAX = 256;
export const PACKAGE_LENGTH_MAX = 256;
export const ENVIRONMENT_MAX = 128;
export const ON_MAX = 64;
export const PRIORITY_MAX = 100;

/** A task over several nodes needs a launcher that no compute resource has yet; it would run on the first node only. */
export const NODES_MAX = 1;
export const CPU_CORES_MAX = 1024;
export const GPU_MAX = 64;
export const MEMORY_GIB_MAX = 64 * 1024;
export const DISK_GIB_MAX = 1024 * 1024;
export const TIME_LIMIT_MS_MAX = 30 * MILLISECONDS_PER.day;
export const RETRIES_MAX = 100;
export const BACKOFF_MS_MAX = MILLISECONDS_PER.hour;

export const DEFAULT_EXPERIMENT_NAME = "experiment";
export const DEFAULT_COMPUTE = { node: 1, cpu: 1, gpu: 0, ram_gb: 1, disk_gb: 0, vram_gb: 0, time: "1:00:00" } as const;
/** The script's own failures repeat themselves; what the machine or the network did may not. */
export const DEFAULT_RETRIES: Readonly<Record<FailureCause, number>> = { exit: 0, signal: 1, timeout: 0, "out-of-memory": 0, staging: 3 };
export const DEFAULT_BACKOFF_MS = 5 * MILLISECONDS_PER.second;

/** `10000000` as `10,000,000`. */
export const thousands = (n: number | bigint): string => n.toString().replace(/\B(?=(\d{3})+$)/g, ",");

/** Files that one task of a workflow reads, or makes. */
export const WORKFLOW_TASK_FILES_MAX = 20_000;
/** Their paths together: they travel with the task. */
export const WORKFLOW_TASK_PATHS_BYTES_MAX = 1024 * 1024;
/** Program and arguments: the kernel takes some 2 MB, environment included. */
export const COMMAND_BYTES_MAX = 1024 * 1024;
export const SIMULATE_FACTOR_MAX = 1000;
export const SIMULATED_TASK_BYTES_MAX = 64 * 1024 ** 3;
export const SIMULATED_SLEEP_MS_MAX = 7 * MILLISECONDS_PER.day;
/** Of all tasks together. */
export const SIMULATED_BYTES_MAX = 1024 ** 4;
export const SIMULATED_MS_MAX = 10 * 365 * MILLISECONDS_PER.day;
export const SIMULATED_MEMORY_GIB = 0.0625;
/** An attempt of a workflow's task gets twice its recorded runtime, and at least this. */
export const WORKFLOW_TIME_SECONDS_MIN = 3600;
/** A recorded peak is what it was once: others may need somewhat more. */
export const RECORDED_MEMORY_ROOM = 1.5;
/** A kept experiment file with its overrides, as JSON. Requests are smaller. */
export const FILE_BYTES_MAX = 32 * 1024 * 1024;
/** Segments of which one timeline reads the pace, and those with leases of which it reads the open ones. */
export const TIMELINE_SEGMENTS = 4_096;
export const TIMELINE_LEASED_SEGMENTS = 64;
/** Segments with failures that one summary looks into, results that it reads, and examples of each kind. */
export const FAILURE_SEGMENTS = 32;
export const FAILURE_RESULTS = 100;
export const FAILURE_EXAMPLES = 3;
