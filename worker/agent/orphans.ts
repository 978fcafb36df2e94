/**
 * Finds and kills descendants of ended attempts that left their process group (setsid, daemons).
 *
 * Each attempt has a mark in its environment, which descendants inherit. When a process ends, the kernel hands its children to
 * the nearest reaper among *our* ancestors (or process 1), so the roots of everything that escaped are children of those few:
 * reading their children costs some tens of microseconds, which every attempt can pay. Only a find leads to a full walk over
 * /proc. Where the kernel does not list children, the full walk happens each time, and walks are shared by attempts that end
 * together. Not found this way: a descendant that also scrubs its environment and ended before the first sample (usage.ts
 * remembers later ones); with a cgroup of its own per attempt (cgroup.ts) nothing gets away.
 */
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { FOREIGN_MEMORY_MS, GROUP_DEATH_WAIT_MS, ORPHAN_ROUNDS_MAX, UNKNOWN_START_WAIT_MS } from "./limits.ts";
import { hasProcessTable, listAncestors, listChildren, listProcesses, readEnvironment, readFacts, signalProcess } from "./process-table.ts";

export const MARK_VARIABLE = "AIRAVATA_ATTEMPT";

export interface OrphanHunt {
  /** A new mark, live until `end`. */
  begin(): string;
  /** Instead of `end`, when nothing was started. */
  forget(mark: string): void;
  /** Instead of `end`, when it is not known whether something was started: looks everywhere. */
  endUnknown(mark: string): Promise<void>;
  /** Call when the leader has been reaped: kills what is left of the group, then whatever carries a mark that is not live. */
  end(mark: string, group: number): Promise<void>;
}

/** Pids known to belong to others. Forgotten when not confirmed for a while: the number may be somebody else's by then. */
function createForeignPids() {
  let confirmed = new Map<number, number>();
  return {
    has: (pid: number, now: number): boolean => now - (confirmed.get(pid) ?? Number.NEGATIVE_INFINITY) <= FOREIGN_MEMORY_MS,
    confirm(pid: number, now: number): void {
      if (confirmed.size > 65_536) confirmed = new Map();
      confirmed.set(pid, now);
    },
  };
}

/** Of an environment block as /proc shows it. */
function readVariable(environment: string, name: string): string | undefined {
  const text = `\0${environment}`;
  const at = text.indexOf(`\0${name}=`);
  if (at === -1) return undefined;
  const start = at + name.length + 2;
  const end = text.indexOf("\0", start);
  return text.slice(start, end === -1 ? undefined : end);
}

/** Kills the rest of the group; resolves when it is empty or will not become so. */
async function endGroup(group: number): Promise<void> {
  if (!signalProcess(-group, "SIGKILL")) return;
  for (let waitedMs = 0, stepMs = 1; waitedMs < GROUP_DEATH_WAIT_MS; waitedMs += stepMs, stepMs *= 2) {
    await sleep(stepMs);
    if (!signalProcess(-group, "SIGKILL")) return;
  }
}

export function createOrphanHunt(): OrphanHunt {
  const family = randomBytes(9).toString("base64url");
  const live = new Set<string>();
  const foreign = createForeignPids();
  let count = 0;
  let ancestors: readonly number[] = [];
  let ancestorsAtMs = Number.NEGATIVE_INFINITY;

  /** Children of everybody who may have been given an orphan of ours; `undefined` = the kernel does not say. */
  function listAdopted(): number[] | undefined {
    const now = performance.now();
    if (now - ancestorsAtMs > FOREIGN_MEMORY_MS) {
      ancestors = process.pid === 1 ? [1] : listAncestors();
      ancestorsAtMs = now;
    }
    const lists = ancestors.map(listChildren);
    if (lists.every((list) => list === undefined)) return undefined;
    return lists.flatMap((list) => list ?? []);
  }

  /** The marked and not live among `pids`. */
  async function findOrphans(pids: readonly number[]): Promise<number[]> {
    const now = performance.now();
    const found: number[] = [];
    for (const pid of pids) {
      if (pid === process.pid) continue;
      if (foreign.has(pid, now)) {
        foreign.confirm(pid, now);
        continue;
      }
      const environment = await readEnvironment(pid);
      const mark = readVariable(environment, MARK_VARIABLE);
      if (mark?.startsWith(`${family}.`)) {
        if (!live.has(mark)) found.push(pid);
      } else if (environment !== "") foreign.confirm(pid, now);
    }
    return found;
  }

  let walk: Promise<number[]> | undefined;
  let nextWalk: Promise<number[]> | undefined;
  /** A full walk that begins after the call; callers that wait for the same one share it. */
  function walkAll(): Promise<number[]> {
    const start = (): Promise<number[]> => {
      nextWalk = undefined;
      walk = listProcesses().then(findOrphans);
      return walk;
    };
    if (walk === undefined) return start();
    nextWalk ??= walk.then(start, start);
    return nextWalk;
  }

  async function killAll(first: readonly number[]): Promise<void> {
    let orphans = first;
    for (let round = 0; orphans.length > 0 && round < ORPHAN_ROUNDS_MAX; round++) {
      for (const pid of orphans) signalProcess(pid, "SIGKILL");
      await sleep(round + 1);
      orphans = (await walkAll()).filter((pid) => readFacts(pid) !== undefined);
    }
  }

  return {
    begin() {
      const mark = `${family}.${++count}`;
      live.add(mark);
      return mark;
    },
    forget: (mark) => void live.delete(mark),
    async endUnknown(mark) {
      live.delete(mark);
      await sleep(UNKNOWN_START_WAIT_MS);
      await killAll(await walkAll());
    },
    async end(mark, group) {
      await endGroup(group);
      live.delete(mark);
      if (!hasProcessTable) return;
      const adopted = listAdopted();
      const first = adopted === undefined ? await walkAll() : await findOrphans(adopted);
      if (first.length > 0) await killAll(first);
    },
  };
}

/** Kills every process whose environment names a place below `workDir` in this variable: the leavings of an earlier life. Says how many. */
export async function killLeftovers(workDir: string, variable: string): Promise<number> {
  const killed = new Set<number>();
  for (let round = 0; round < ORPHAN_ROUNDS_MAX; round++) {
    let found = 0;
    for (const pid of await listProcesses()) {
      const place = readVariable(await readEnvironment(pid), variable);
      if (pid === process.pid || !place?.startsWith(`${workDir}/`)) continue;
      if (!signalProcess(pid, "SIGKILL")) continue;
      found++;
      killed.add(pid);
    }
    if (found === 0) break;
    await sleep(10);
  }
  return killed.size;
}
