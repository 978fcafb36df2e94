/** What a task needs and how it is retried: the task set's words over the experiment's over the defaults. */
import type { Complaints, InputPath } from "#domain/complaints.ts";
import type { FailureCause, RetryPolicy, TaskResources } from "#domain/plan.ts";
import { CPU_MILLI_PER_CORE, MIB_PER_GIB, MILLISECONDS_PER, parseWalltimeMs, WALLTIME_FORMS } from "#domain/quantity.ts";
import type { ComputeSpec, RetrySpec } from "#domain/spec.ts";
import * as limits from "./limits.ts";

/** Settings and where they stand in the file. */
export interface Layer<Settings> {
  readonly settings: Settings;
  readonly path: InputPath;
}

const COMPUTE_RANGES = {
  node: { least: 1, most: limits.NODES_MAX, whole: true },
  cpu: { least: 1 / CPU_MILLI_PER_CORE, most: limits.CPU_CORES_MAX, whole: false },
  gpu: { least: 0, most: limits.GPU_MAX, whole: true },
  ram_gb: { least: 1 / MIB_PER_GIB, most: limits.MEMORY_GIB_MAX, whole: false },
  disk_gb: { least: 0, most: limits.DISK_GIB_MAX, whole: false },
  vram_gb: { least: 0, most: limits.MEMORY_GIB_MAX, whole: false },
} as const;
type ComputeAmount = keyof typeof COMPUTE_RANGES;
const COMPUTE_AMOUNTS = Object.keys(COMPUTE_RANGES) as readonly ComputeAmount[];

/** Complains about amounts and times out of bounds; once for each layer, however many sets share it. */
export function checkCompute({ settings, path }: Layer<ComputeSpec>, complaints: Complaints): void {
  for (const key of COMPUTE_AMOUNTS) {
    const value = settings[key];
    const { least, most, whole } = COMPUTE_RANGES[key];
    if (value === undefined) continue;
    if (key === "node" && Number.isInteger(value) && value > most)
      complaints.add([...path, key], "tasks over several nodes are not supported yet; write 1");
    else if (!(value >= least && value <= most) || (whole && !Number.isInteger(value))) {
      complaints.add([...path, key], `expects a ${whole ? "whole number" : "number"} from ${roundUp(least)} to ${most}; this is ${value}`);
    }
  }
  if (settings.time !== undefined)
    checkTime(settings.time, { least: MILLISECONDS_PER.second, most: limits.TIME_LIMIT_MS_MAX }, { path: [...path, "time"], complaints });
}

const roundUp = (n: number): number => Math.ceil(n * 1000) / 1000;

function checkTime(
  time: string | number,
  { least, most }: { least: number; most: number },
  at: { path: InputPath; complaints: Complaints },
): void {
  const ms = parseWalltimeMs(String(time));
  if (ms === undefined) at.complaints.add(at.path, `expects a time: ${WALLTIME_FORMS}`);
  else if (ms < least || ms > most)
    at.complaints.add(at.path, `is a time of ${ms / 1000} s; expects ${least / 1000} s to ${most / 1000} s`);
}

/** What one task of a set needs; GiB become MiB rounded up. Assumes that {@link checkCompute} found nothing. */
export function compileResources(layers: readonly Layer<ComputeSpec>[], complaints: Complaints): TaskResources {
  const merged = Object.assign({}, limits.DEFAULT_COMPUTE, ...layers.map(({ settings }) => settings)) as Required<ComputeSpec>;
  if (merged.vram_gb > 0 && merged.gpu === 0) {
    complaints.add([...placeOf("vram_gb", layers), "vram_gb"], "asks for GPU memory without a GPU; write gpu: 1 or more");
  }
  return {
    capacity: { cpuMilli: Math.max(1, Math.round(merged.cpu * CPU_MILLI_PER_CORE)), memoryMib: mibOf(merged.ram_gb), gpu: merged.gpu },
    diskMib: mibOf(merged.disk_gb),
    vramMib: mibOf(merged.vram_gb),
    nodes: merged.node,
    timeLimitMs: parseWalltimeMs(String(merged.time)) ?? 0,
  };
}

const mibOf = (gib: number): number => Math.ceil(gib * MIB_PER_GIB);

const placeOf = (key: ComputeAmount, layers: readonly Layer<ComputeSpec>[]): InputPath =>
  layers.findLast(({ settings }) => settings[key] !== undefined)?.path ?? [];

const CAUSE_KEYS: Readonly<Record<FailureCause, Exclude<keyof RetrySpec, "backoff">>> = {
  exit: "exit",
  signal: "signal",
  timeout: "timeout",
  "out-of-memory": "out_of_memory",
  staging: "staging",
};

export function checkRetry({ settings, path }: Layer<RetrySpec>, complaints: Complaints): void {
  for (const key of Object.values(CAUSE_KEYS)) {
    const value = settings[key];
    if (value !== undefined && !(Number.isInteger(value) && value >= 0 && value <= limits.RETRIES_MAX)) {
      complaints.add([...path, key], `expects a whole number from 0 to ${limits.RETRIES_MAX}; this is ${value}`);
    }
  }
  if (settings.backoff !== undefined)
    checkTime(settings.backoff, { least: 0, most: limits.BACKOFF_MS_MAX }, { path: [...path, "backoff"], complaints });
}

/** The last layer that says something of a cause decides it. Assumes that {@link checkRetry} found nothing. */
export function compileRetry(layers: readonly Layer<RetrySpec>[]): RetryPolicy {
  const merged = Object.assign({}, ...layers.map(({ settings }) => settings)) as RetrySpec;
  const retriesOf = (cause: FailureCause): number => merged[CAUSE_KEYS[cause]] ?? limits.DEFAULT_RETRIES[cause];
  return {
    retries: {
      exit: retriesOf("exit"),
      signal: retriesOf("signal"),
      timeout: retriesOf("timeout"),
      "out-of-memory": retriesOf("out-of-memory"),
      staging: retriesOf("staging"),
    },
    backoffMs: merged.backoff === undefined ? limits.DEFAULT_BACKOFF_MS : (parseWalltimeMs(String(merged.backoff)) ?? 0),
  };
}
