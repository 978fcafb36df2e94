/** What /proc tells about processes (proc(5)). On systems without it every answer is "unknown". */
import { readFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";

export interface ProcessFacts {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  /** Clock ticks since boot: with the pid, the identity of a process. */
  readonly start: number;
  readonly cpuMs: number;
  /** CPU of children it has waited for. */
  readonly childrenCpuMs: number;
  readonly residentBytes: number;
}

export const hasProcessTable = process.platform === "linux";

/** Values of the auxiliary vector (getauxval(3)): page size and clock ticks are not constants across machines. */
const AT_PAGESZ = 6n;
const AT_CLKTCK = 17n;

function readAuxiliary(): { pageBytes: number; ticksPerSecond: number } {
  const found = { pageBytes: 4096, ticksPerSecond: 100 };
  if (!hasProcessTable) return found;
  try {
    const vector = readFileSync("/proc/self/auxv");
    for (let offset = 0; offset + 16 <= vector.length; offset += 16) {
      const type = vector.readBigUInt64LE(offset);
      if (type === AT_PAGESZ) found.pageBytes = Number(vector.readBigUInt64LE(offset + 8));
      if (type === AT_CLKTCK) found.ticksPerSecond = Number(vector.readBigUInt64LE(offset + 8));
    }
  } catch {
    // A hardened kernel hides it; the defaults hold on all common machines.
  }
  return found;
}

const { pageBytes, ticksPerSecond } = readAuxiliary();
const msPerTick = 1000 / ticksPerSecond;

/** Reads synchronously: the kernel answers from memory, and a round trip through the thread pool costs ten times as much. */
export function readFacts(pid: number | "self"): ProcessFacts | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "latin1");
  } catch {
    return undefined;
  }
  // The command may hold spaces and parentheses; the fields begin behind its last one, with field 3.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const field = (number: number): number => Number(fields[number - 3]);
  return {
    pid: pid === "self" ? process.pid : pid,
    parent: field(4),
    group: field(5),
    session: field(6),
    start: field(22),
    cpuMs: (field(14) + field(15)) * msPerTick,
    childrenCpuMs: (field(16) + field(17)) * msPerTick,
    residentBytes: field(24) * pageBytes,
  };
}

export async function listProcesses(): Promise<number[]> {
  if (!hasProcessTable) return [];
  const pids: number[] = [];
  for (const name of await readdir("/proc")) {
    const pid = Number(name);
    if (pid > 0) pids.push(pid);
  }
  return pids;
}

/** `undefined`: the kernel does not offer it (CONFIG_PROC_CHILDREN), or the process is gone. */
export function listChildren(pid: number): number[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1");
    return text.split(" ").flatMap((part) => (part === "" ? [] : [Number(part)]));
  } catch {
    return undefined;
  }
}

/** From this process up to the one without a visible parent, and process 1. */
export function listAncestors(): number[] {
  const found: number[] = [];
  let pid = process.ppid;
  while (pid > 0 && !found.includes(pid)) {
    found.push(pid);
    pid = readFacts(pid)?.parent ?? 0;
  }
  if (!found.includes(1)) found.push(1);
  return found;
}

/**
 * The environment a process was started with, empty when it cannot be read. Asynchronous, unlike the rest: it takes a lock of
 * the process's memory and may hang while that process hangs.
 */
export async function readEnvironment(pid: number): Promise<string> {
  try {
    return await readFile(`/proc/${pid}/environ`, "latin1");
  } catch {
    return "";
  }
}

/** Memory with shared pages divided among their users; `undefined` when it cannot be read. */
export async function readProportionalBytes(pid: number): Promise<number | undefined> {
  try {
    const match = /^Pss:\s+(\d+) kB/m.exec(await readFile(`/proc/${pid}/smaps_rollup`, "latin1"));
    return match === null ? undefined : Number(match[1]) * 1024;
  } catch {
    return undefined;
  }
}

/** Sends a signal; false when there is nobody to receive it (or it is not ours to send). */
export function signalProcess(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
}
