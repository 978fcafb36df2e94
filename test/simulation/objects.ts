/** The object store of a simulated process: calls take time, their caller may die, a removal may come late. */
import type { ObjectStore } from "#ports/object-store.ts";
import type { Kernel, Process } from "./kernel.ts";

const LATE_MS = 120_000;

export interface ObjectFaults {
  readonly process: Process;
  readonly latencyMs: number;
  readonly maybeCrash: (process: Process) => void;
  readonly isLate: () => boolean;
}

export function createObjects(objects: Map<string, string>, kernel: Kernel, faults: ObjectFaults): ObjectStore {
  const { process, maybeCrash } = faults;
  const call = <T>(work: () => T): Promise<T> => process.call(faults.latencyMs, work);
  const store: Pick<ObjectStore, "putIfAbsent" | "list" | "remove" | "get"> = {
    putIfAbsent: (key, body) =>
      call(() => {
        if (objects.has(key)) return "exists";
        objects.set(key, Buffer.from(body).toString());
        maybeCrash(process);
        return "written";
      }),
    list: (prefix, { limit, after = "" }) =>
      call(() => {
        const keys = [...objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort();
        return keys.slice(0, limit).map((key) => ({ key, bytes: 0 }));
      }),
    remove: (key) =>
      call(() => {
        maybeCrash(process);
        if (faults.isLate()) kernel.at(kernel.random.below(LATE_MS), () => void objects.delete(key));
        else objects.delete(key);
      }),
    get: (key) => call(() => (objects.has(key) ? Buffer.from(objects.get(key) as string) : undefined)),
  };
  return store as unknown as ObjectStore;
}
