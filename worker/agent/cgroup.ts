/**
 * One cgroup (v2) per attempt, where the machine lets us: exact memory and CPU, a limit the kernel enforces, and a kill that
 * nothing escapes. https://docs.kernel.org/admin-guide/cgroup-v2.html
 *
 * Needs a subtree that is writable and has the memory controller (systemd Delegate=yes, a container with its own cgroup
 * namespace). A cgroup with members cannot give controllers to children, so the agent moves itself into a leaf first; where that
 * is refused, everything is put back and attempts are sampled instead (usage.ts).
 */
import { constants } from "node:fs";
import { access, mkdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface CgroupUsage {
  readonly cpuMs: number;
  /** `undefined`: the kernel does not tell (before 5.19). */
  readonly memoryPeakBytes: number | undefined;
  readonly outOfMemory: boolean;
}

export interface Cgroup {
  /** A process enters by writing 0 to it. */
  readonly entrance: string;
  kill(): Promise<void>;
  readUsage(): Promise<CgroupUsage>;
  remove(): Promise<void>;
}

export interface Cgroups {
  /** `memoryBytesMax` 0 = no limit. */
  create(memoryBytesMax: number): Promise<Cgroup>;
}

const AGENT_LEAF = "airavata-agent";
const KILL_WAIT_MS = 200;

/** The folder of this process's own cgroup in the v2 hierarchy. */
export function parseOwnCgroup(selfCgroup: string, mountInfo: string): string | undefined {
  const path = /^0::(\/.*)$/m.exec(selfCgroup)?.[1];
  for (const line of mountInfo.split("\n")) {
    const [mount = "", filesystem = ""] = line.split(" - ");
    const [, , , root, point] = mount.split(" ");
    if (path === undefined || root === undefined || point === undefined || !filesystem.startsWith("cgroup2 ")) continue;
    if (root === "/") return join(point, path);
    if (path === root || path.startsWith(`${root}/`)) return join(point, path.slice(root.length));
  }
  return undefined;
}

/** One number out of a flat keyed file. */
export function parseKey(text: string, key: string): number {
  return Number(new RegExp(`^${key} (\\d+)$`, "m").exec(text)?.[1] ?? 0);
}

async function removeCgroup(path: string): Promise<void> {
  for (let waitedMs = 0; waitedMs <= KILL_WAIT_MS; waitedMs += 10) {
    try {
      return await rmdir(path);
    } catch {
      await sleep(10); // its dead are not all reaped yet
    }
  }
}

function cgroupAt(path: string): Cgroup {
  const read = (name: string): Promise<string> => readFile(join(path, name), "utf8").catch(() => "");
  return {
    entrance: join(path, "cgroup.procs"),
    async kill() {
      await writeFile(join(path, "cgroup.kill"), "1").catch(() => undefined);
      for (let waitedMs = 0; waitedMs < KILL_WAIT_MS && /^populated 1$/m.test(await read("cgroup.events")); waitedMs += 5) await sleep(5);
    },
    async readUsage() {
      const [stat, peak, events] = await Promise.all([read("cpu.stat"), read("memory.peak"), read("memory.events")]);
      return {
        cpuMs: Math.round(parseKey(stat, "usage_usec") / 1000),
        memoryPeakBytes: peak === "" ? undefined : Number(peak),
        outOfMemory: parseKey(events, "oom_kill") > 0,
      };
    },
    remove: () => removeCgroup(path),
  };
}

/** Attempts' cgroups below `root`, which has the memory controller to give. */
export function createCgroups(root: string): Cgroups {
  let count = 0;
  return {
    async create(memoryBytesMax) {
      const path = join(root, `attempt-${process.pid}-${++count}`);
      await mkdir(path);
      if (memoryBytesMax > 0) {
        await writeFile(join(path, "memory.max"), String(memoryBytesMax));
        await writeFile(join(path, "memory.oom.group"), "1");
        await writeFile(join(path, "memory.swap.max"), "0").catch(() => undefined); // absent without swap accounting
      }
      return cgroupAt(path);
    },
  };
}

/** Prepares this process's own cgroup to hold attempts; `undefined` where that cannot be. */
export async function openOwnCgroups(): Promise<Cgroups | undefined> {
  if (process.platform !== "linux") return undefined;
  try {
    const root = parseOwnCgroup(await readFile("/proc/self/cgroup", "utf8"), await readFile("/proc/self/mountinfo", "utf8"));
    if (root === undefined) return undefined;
    const controllers = await readFile(join(root, "cgroup.controllers"), "utf8");
    if (!controllers.split(/\s/).includes("memory")) return undefined;
    await access(join(root, "cgroup.procs"), constants.W_OK);
    const leaf = join(root, AGENT_LEAF);
    await mkdir(leaf, { recursive: true });
    await writeFile(join(leaf, "cgroup.procs"), String(process.pid));
    try {
      await writeFile(join(root, "cgroup.subtree_control"), "+memory");
      return createCgroups(root);
    } catch {
      await writeFile(join(root, "cgroup.procs"), String(process.pid));
      await rmdir(leaf);
      return undefined;
    }
  } catch {
    return undefined;
  }
}
