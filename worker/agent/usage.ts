/**
 * What attempts use, from samples of /proc, for machines where they have no cgroup of their own.
 *
 * Precision. Memory: the sum of the resident pages of all processes of the attempt at the worst sample (pages shared by several
 * processes count once for each); zero for attempts that ended before their first sample (50 ms). CPU: for the leader and all
 * that was waited for, what the kernel charged to the process that reaped the leader, in ticks of 10 ms (where that is this one,
 * attempts reaped within one turn of the event loop share the sum by their durations); for descendants nobody waited for, the last sample.
 */
import { availableParallelism } from "node:os";
import { FIRST_SAMPLE_MS, FOREIGN_MEMORY_MS, SAMPLE_INTERVAL_MS } from "./limits.ts";
import { hasProcessTable, listProcesses, type ProcessFacts, readFacts, readProportionalBytes, signalProcess } from "./process-table.ts";

export interface Watch {
  /** Call once, when the leader has ended: ends the watch. `reapedCpuMs`: from whoever reaped it, if that was not this process. */
  end(reapedCpuMs: number | undefined): Promise<{ readonly cpuMs: number; readonly memoryPeakBytes: number }>;
  /** Kills members seen in samples that still live, wherever they have moved. Call after `end`. */
  killSeen(): void;
}

export interface Sampler {
  /** `onMemory` is told once, when the attempt is above `memoryBytesMax` (0 = no limit). */
  watch(leader: number, memoryBytesMax: number, onMemory: (bytes: number) => void): Watch;
}

const NOTHING_SEEN: ReadonlyMap<number, number> = new Map();

interface Watched {
  readonly leader: number;
  readonly startedAtMs: number;
  readonly memoryBytesMax: number;
  readonly onMemory: (bytes: number) => void;
  /** pid -> start of every process seen. */
  readonly seen: Map<number, number>;
  told: boolean;
  cpuMs: number;
  memoryPeakBytes: number;
}

/** Who owns each process: by group or session of a leader, by having been seen, or by descent. */
export function assignProcesses(table: ReadonlyMap<number, ProcessFacts>, leaders: ReadonlyMap<number, ReadonlyMap<number, number>>) {
  const owners = new Map<number, number | undefined>();
  const ownerOf = (pid: number): number | undefined => {
    if (owners.has(pid)) return owners.get(pid);
    const facts = table.get(pid);
    if (facts === undefined) return undefined;
    owners.set(pid, undefined); // ends cycles, which a table read in passing can show
    let owner: number | undefined;
    if (leaders.has(facts.group)) owner = facts.group;
    else if (leaders.has(facts.session)) owner = facts.session;
    else for (const [leader, seen] of leaders) if (seen.get(pid) === facts.start) owner = leader;
    owner ??= ownerOf(facts.parent);
    owners.set(pid, owner);
    return owner;
  };
  for (const pid of table.keys()) ownerOf(pid);
  return owners;
}

async function checkMemory(watched: Watched, members: readonly ProcessFacts[], residentBytes: number): Promise<void> {
  if (watched.memoryBytesMax === 0 || residentBytes <= watched.memoryBytesMax || watched.told) return;
  // Forked workers share most of their pages: before anything is killed, shared pages are counted once.
  const shares = await Promise.all(members.map(async (facts) => (await readProportionalBytes(facts.pid)) ?? facts.residentBytes));
  const bytes = shares.reduce((sum, share) => sum + share, 0);
  if (bytes <= watched.memoryBytesMax || watched.told) return;
  watched.told = true;
  watched.onMemory(bytes);
}

function note(watched: Watched, members: readonly ProcessFacts[]): number {
  let cpuMs = 0;
  let residentBytes = 0;
  for (const facts of members) {
    watched.seen.set(facts.pid, facts.start);
    cpuMs += facts.cpuMs + facts.childrenCpuMs;
    residentBytes += facts.residentBytes;
  }
  watched.cpuMs = Math.max(watched.cpuMs, cpuMs);
  watched.memoryPeakBytes = Math.max(watched.memoryPeakBytes, residentBytes);
  return residentBytes;
}

/** Splits what the kernel charged for reaped children among the attempts that ended since it was last asked. */
function createReapedCpu() {
  let chargedMs = readFacts("self")?.childrenCpuMs ?? 0;
  let ended: { readonly watched: Watched; readonly wallMs: number; readonly resolve: (cpuMs: number) => void }[] = [];
  const settle = (): void => {
    const batch = ended;
    ended = [];
    const totalMs = readFacts("self")?.childrenCpuMs ?? chargedMs;
    const deltaMs = totalMs - chargedMs;
    chargedMs = totalMs;
    const weight = batch.reduce((sum, { wallMs }) => sum + wallMs, 0);
    for (const { watched, wallMs, resolve } of batch) {
      const share = weight === 0 ? 0 : (deltaMs * wallMs) / weight;
      resolve(Math.round(Math.max(watched.cpuMs, Math.min(share, wallMs * availableCores + 10))));
    }
  };
  const availableCores = availableParallelism();
  return (watched: Watched): Promise<number> =>
    new Promise((resolve) => {
      ended.push({ watched, wallMs: performance.now() - watched.startedAtMs, resolve });
      // Other leaders reaped in this turn of the loop report before it is over.
      if (ended.length === 1) setImmediate(settle);
    });
}

/** `starters`: parents of attempts that are not part of one; what is below them may become ours at any moment. */
export function createSampler(starters: ReadonlySet<number>): Sampler {
  const watches = new Map<number, Watched>();
  const reapedCpu = hasProcessTable ? createReapedCpu() : undefined;
  let foreign = new Set<number>();
  let sampledAtMs = Number.NEGATIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;

  async function readTable(): Promise<Map<number, ProcessFacts>> {
    const pids = await listProcesses();
    const now = performance.now();
    // A process that was foreign a moment ago still is; long ago, its number may be ours by now.
    if (now - sampledAtMs > FOREIGN_MEMORY_MS) foreign = new Set();
    sampledAtMs = now;
    foreign = new Set(pids.filter((pid) => foreign.has(pid)));
    const table = new Map<number, ProcessFacts>();
    for (const pid of pids) {
      if (foreign.has(pid) || pid === process.pid) continue;
      const facts = readFacts(pid);
      if (facts !== undefined) table.set(pid, facts);
    }
    return table;
  }

  async function sample(): Promise<void> {
    const table = await readTable();
    const leaders = new Map<number, ReadonlyMap<number, number>>([...watches].map(([leader, watched]) => [leader, watched.seen]));
    for (const starter of starters) leaders.set(starter, NOTHING_SEEN);
    const members = new Map<number, ProcessFacts[]>();
    for (const [pid, owner] of assignProcesses(table, leaders)) {
      const facts = table.get(pid);
      if (owner === undefined) foreign.add(pid);
      else if (facts !== undefined) members.set(owner, [...(members.get(owner) ?? []), facts]);
    }
    for (const [leader, list] of members) {
      const watched = watches.get(leader);
      if (watched !== undefined) await checkMemory(watched, list, note(watched, list));
    }
  }

  function schedule(): void {
    if (timer !== undefined || watches.size === 0) return;
    const now = performance.now();
    let waitMs = SAMPLE_INTERVAL_MS;
    for (const { startedAtMs } of watches.values()) {
      const ageMs = now - startedAtMs;
      if (ageMs < FIRST_SAMPLE_MS) waitMs = Math.min(waitMs, Math.max(FIRST_SAMPLE_MS - ageMs, FIRST_SAMPLE_MS / 2));
    }
    timer = setTimeout(() => {
      const done = (): void => {
        timer = undefined;
        schedule();
      };
      sample().then(done, done);
    }, waitMs);
    timer.unref();
  }

  return {
    watch(leader, memoryBytesMax, onMemory) {
      const startedAtMs = performance.now();
      const watched: Watched = {
        leader,
        startedAtMs,
        memoryBytesMax,
        onMemory,
        seen: new Map(),
        told: false,
        cpuMs: 0,
        memoryPeakBytes: 0,
      };
      watches.set(leader, watched);
      if (hasProcessTable) schedule();
      return {
        async end(reapedCpuMs) {
          watched.told = true;
          if (watches.get(leader) === watched) watches.delete(leader);
          const ownCpuMs = reapedCpuMs ?? (await reapedCpu?.(watched)) ?? 0;
          const cpuMs = Math.max(ownCpuMs, Math.round(watched.cpuMs));
          return { cpuMs, memoryPeakBytes: watched.memoryPeakBytes };
        },
        killSeen() {
          for (const [pid, start] of watched.seen) {
            if (pid !== leader && readFacts(pid)?.start === start) signalProcess(pid, "SIGKILL");
          }
        },
      };
    },
  };
}
