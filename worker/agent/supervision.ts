/** Watches over a running process group: stops it when a limit is passed or nobody wants it any more, and leaves nothing alive. */
import type { FailureCause } from "#domain/plan.ts";
import type { Cgroup } from "./cgroup.ts";
import { DISK_POLL_DUTY, DISK_POLL_MS, TIMER_MS_MAX } from "./limits.ts";
import type { OrphanHunt } from "./orphans.ts";
import type { Ending, ProcessGroup } from "./process-group.ts";
import { measureTree } from "./sandbox.ts";
import type { Sampler, Watch } from "./usage.ts";

export interface Stop {
  readonly cause: FailureCause | "abort";
  readonly message: string;
}

/** 0 = no limit. */
export interface AttemptLimits {
  readonly timeMs: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
}

export interface Supervised {
  readonly ending: Ending;
  /** Why it was stopped; absent when it ended by itself. */
  readonly stop: Stop | undefined;
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly memoryPeakBytes: number;
}

export interface SupervisionTools {
  readonly sampler: Sampler;
  readonly hunt: OrphanHunt;
  readonly killGraceMs: number;
}

export interface Supervision {
  readonly group: ProcessGroup;
  readonly mark: string;
  readonly dir: string;
  readonly limits: AttemptLimits;
  readonly cgroup: Cgroup | undefined;
  readonly signal: AbortSignal;
}

const inMib = (bytes: number): string => `${Math.ceil(bytes / 1024 ** 2)} MiB`;

/** Longer than one timer can wait. */
function after(ms: number, work: () => void): () => void {
  let timer: NodeJS.Timeout;
  const arm = (leftMs: number): void => {
    const waitMs = Math.min(leftMs, TIMER_MS_MAX);
    timer = setTimeout(() => (leftMs > waitMs ? arm(leftMs - waitMs) : work()), waitMs);
  };
  arm(ms);
  return () => clearTimeout(timer);
}

/** Walks over the directory now and then, less often the longer a walk takes. */
function watchDisk(dir: string, bytesMax: number, onExceeded: (bytes: number) => void): () => void {
  const stop = new AbortController();
  let timer: NodeJS.Timeout;
  const look = async (): Promise<void> => {
    const begunAtMs = performance.now();
    const bytes = await measureTree(dir, stop.signal);
    if (stop.signal.aborted) return;
    if (bytes > bytesMax) onExceeded(bytes);
    else arm(Math.max(DISK_POLL_MS, DISK_POLL_DUTY * (performance.now() - begunAtMs)));
  };
  const arm = (ms: number): void => {
    timer = setTimeout(() => look().catch(() => arm(ms)), ms);
  };
  arm(DISK_POLL_MS);
  return () => {
    stop.abort();
    clearTimeout(timer);
  };
}

/** Resolves when the leader and everything it started are gone. */
export async function supervise(of: Supervision, tools: SupervisionTools): Promise<Supervised> {
  const { group, limits, signal } = of;
  const startedAtMs = performance.now();
  let stop: Stop | undefined;
  let kill: NodeJS.Timeout | undefined;
  /** `gently`: SIGTERM first, and time to tidy up. */
  const end = (reason: Stop, gently: boolean): void => {
    if (stop !== undefined) return;
    stop = reason;
    group.signal(gently ? "SIGTERM" : "SIGKILL");
    if (gently) kill = setTimeout(() => group.signal("SIGKILL"), tools.killGraceMs);
  };
  const tooMuchMemory = (bytes: number): void =>
    end({ cause: "out-of-memory", message: `used ${inMib(bytes)} of memory, over its limit of ${inMib(limits.memoryBytes)}` }, false);
  const abort = (): void => end({ cause: "abort", message: "stopped: no longer wanted" }, true);

  const releases: (() => void)[] = [];
  const watch = tools.sampler.watch(group.pid, of.cgroup === undefined ? limits.memoryBytes : 0, tooMuchMemory);
  if (limits.timeMs > 0) {
    const message = `ran longer than its time limit of ${limits.timeMs} ms`;
    releases.push(after(limits.timeMs, () => end({ cause: "timeout", message }, true)));
  }
  if (limits.diskBytes > 0) {
    const tooMuchDisk = (bytes: number): void =>
      end({ cause: "staging", message: `its directory took ${inMib(bytes)}, over its disk limit of ${inMib(limits.diskBytes)}` }, false);
    releases.push(watchDisk(of.dir, limits.diskBytes, tooMuchDisk));
  }
  if (signal.aborted) abort();
  else signal.addEventListener("abort", abort, { once: true });

  const ending = await group.ended;
  const wallMs = performance.now() - startedAtMs;
  clearTimeout(kill);
  signal.removeEventListener("abort", abort);
  for (const release of releases) release();
  const used = await bury(of, tools, watch, ending.cpuMs);
  if (used.outOfMemory) stop ??= { cause: "out-of-memory", message: `reached its memory limit of ${inMib(limits.memoryBytes)}` };
  return { ending, stop, wallMs: Math.round(wallMs), cpuMs: used.cpuMs, memoryPeakBytes: used.memoryPeakBytes };
}

/** The leader is gone: so must be the rest. */
async function bury({ group, mark, cgroup }: Supervision, { hunt }: SupervisionTools, watch: Watch, cpuMs: number | undefined) {
  const [sampled] = await Promise.all([watch.end(cpuMs), cgroup?.kill()]);
  watch.killSeen();
  await hunt.end(mark, group.pid);
  if (cgroup === undefined) return { ...sampled, outOfMemory: false };
  const exact = await cgroup.readUsage();
  await cgroup.remove();
  return {
    cpuMs: exact.cpuMs > 0 ? exact.cpuMs : sampled.cpuMs,
    memoryPeakBytes: exact.memoryPeakBytes ?? sampled.memoryPeakBytes,
    outOfMemory: exact.outOfMemory,
  };
}
